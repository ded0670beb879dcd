package migrate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// commit ends the transaction. When the connection breaks between the COMMIT
// and its answer, the database is asked over another one what became of it.
func (r *run) commit(ctx context.Context, tx pgx.Tx, outcome string) error {
	var xid string
	if err := tx.QueryRow(ctx, "select pg_current_xact_id()::text", pgx.QueryExecModeExec).Scan(&xid); err != nil {
		return fmt.Errorf("commit the migrations: %w (%s)", err, outcome)
	}
	pid := r.conn.PgConn().PID()
	err := tx.Commit(ctx)
	if err == nil {
		return nil
	}
	if !r.conn.IsClosed() {
		return fmt.Errorf("commit the migrations: %w (%s)", err, outcome)
	}
	committed, asked := r.askAgain(ctx, xid, pid)
	switch {
	case asked != nil:
		return fmt.Errorf("the connection broke during the commit: %w (and the database could not be asked what it has kept, all or nothing: %w; \"holdfast migrate status\" tells, once it can be reached)", err, asked)
	case !committed:
		return fmt.Errorf("the connection broke during the commit: %w (the database was asked: %s)", err, outcome)
	}
	r.options.Tell("the connection broke during the commit; the database was asked and has committed")
	return nil
}

// How long a database that restarts, or a session that is still ending, is
// waited for.
const patience = 60 * time.Second

// askAgain opens another connection and asks whether transaction xid of the
// session pid was committed. The run goes on with that connection, which then
// holds the lock.
func (r *run) askAgain(ctx context.Context, xid string, pid uint32) (committed bool, err error) {
	// Also after Ctrl-C: the truth is worth a moment.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := r.reconnect(ctx, pid); err != nil {
		return false, err
	}
	// The session has ended, since its lock could be had: the answer is final.
	var state *string
	if err := r.conn.QueryRow(ctx, "select pg_xact_status($1::text::xid8)", pgx.QueryExecModeExec, xid).Scan(&state); err != nil {
		return false, err
	}
	if state == nil || *state == "in progress" {
		return false, errors.New("it does not know the transaction's state")
	}
	return *state == "committed", nil
}

// reconnect replaces a broken connection and takes over its lock, which a
// session keeps until it has ended. The one that lost its client is ended: it
// might wait for a COMMIT that never comes.
func (r *run) reconnect(ctx context.Context, pid uint32) error {
	if r.options.Reconnect == nil {
		return errors.New("there is no way to connect again")
	}
	var last error
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 3*time.Second) {
		conn, err := r.options.Reconnect(ctx)
		if err == nil {
			var got bool
			err = conn.QueryRow(ctx, "select pg_try_advisory_lock($1)", pgx.QueryExecModeExec, lockKey).Scan(&got)
			if err == nil && got {
				r.close()
				r.conn = conn
				return nil
			}
			if err == nil {
				err = errors.New("the session that broke has not ended yet")
				// It is this role's own. What it was told before is done first:
				// signals are looked at when the server waits or checks for them.
				_, _ = conn.Exec(ctx, "select pg_terminate_backend(pid) from pg_stat_activity where pid = $1 and state like 'idle in transaction%'", pgx.QueryExecModeExec, int32(pid))
			}
			_ = conn.Close(ctx)
		}
		last = err
		select {
		case <-ctx.Done():
			return last
		case <-time.After(wait):
		}
	}
}
