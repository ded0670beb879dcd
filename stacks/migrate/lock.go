package migrate

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// lockKey is the advisory lock that one run of migrations holds; the bytes of
// "holdfast". The Supabase CLI takes none, so it is not kept out.
const lockKey int64 = 0x686f6c6466617374

// locked runs do while this session alone migrates the database. The lock ends
// with the session: a killed run leaves none behind. A database that can't be
// written to is refused before.
func locked(ctx context.Context, conn *pgx.Conn, do func() error) error {
	var standby, readOnly, got bool
	err := conn.QueryRow(ctx, "select pg_is_in_recovery(), current_setting('transaction_read_only')::boolean, pg_try_advisory_lock($1)", pgx.QueryExecModeExec, lockKey).Scan(&standby, &readOnly, &got)
	switch {
	case err != nil:
		return fmt.Errorf("lock the database for migrations: %w (%s)", err, untouched)
	case standby:
		return fmt.Errorf("this server is a read-only replica: migrate its primary (%s)", untouched)
	case readOnly:
		return fmt.Errorf("the database takes no writes: default_transaction_read_only is on, by hand or because its disk is full (%s)", untouched)
	case !got:
		return fmt.Errorf("another run is migrating this database%s: wait for it to end, or end its session (%s)", holder(ctx, conn), untouched)
	}
	err = do()
	if conn.IsClosed() {
		return err
	}
	unlock, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if _, failed := conn.Exec(unlock, "select pg_advisory_unlock($1)", pgx.QueryExecModeExec, lockKey); failed != nil {
		_ = conn.Close(unlock) // which frees the lock as well
	}
	return err
}

// holder describes the session that has the lock; "" when it can't be told.
func holder(ctx context.Context, conn *pgx.Conn) string {
	var who string
	err := conn.QueryRow(ctx, `
		select format(' (process %s of %s, connected since %s)', a.pid, coalesce(a.usename, 'an unknown role'),
			coalesce(to_char(a.backend_start at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"'), 'an unknown time'))
		from pg_locks l join pg_stat_activity a using (pid)
		where l.locktype = 'advisory' and l.granted and l.objsubid = 1
			and l.database = (select oid from pg_database where datname = current_database())
			and (l.classid::bigint << 32 | l.objid::bigint) = $1
		limit 1`, pgx.QueryExecModeExec, lockKey).Scan(&who)
	if err != nil {
		return "" // it may have ended meanwhile
	}
	return who
}
