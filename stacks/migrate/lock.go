package migrate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// lockKey is the advisory lock that one run of migrations holds; the bytes of
// "holdfast". The Supabase CLI takes none, so it is not kept out.
const lockKey int64 = 0x686f6c6466617374

// locked runs do while this session alone migrates the database. The lock ends
// with the session: a killed run leaves none behind.
func locked(ctx context.Context, conn *pgx.Conn, do func() error) error {
	var got bool
	if err := conn.QueryRow(ctx, "select pg_try_advisory_lock($1)", pgx.QueryExecModeExec, lockKey).Scan(&got); err != nil {
		return fmt.Errorf("lock the database for migrations: %w", err)
	}
	if !got {
		return fmt.Errorf("another run is migrating this database%s: wait for it to end, or end its session (%s)", holder(ctx, conn), untouched)
	}
	err := do()
	if conn.IsClosed() {
		return err
	}
	unlock, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_, failed := conn.Exec(unlock, "select pg_advisory_unlock($1)", pgx.QueryExecModeExec, lockKey)
	return errors.Join(err, failed)
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
