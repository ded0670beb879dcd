package migrate

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	pganalyze "github.com/pganalyze/pg_query_go/v6"
)

// A standing is what the database has of the object that a statement makes or
// drops.
type standing int

const (
	undone standing = iota // the statement has not run, or tells nothing and can run again
	done                   // its effect is there
	broken                 // it was interrupted: an invalid index, a pending detach
)

// A target tells how a statement that runs alone is found to be done, and how
// it is resumed.
type target struct {
	// query returns one integer, a standing; empty: the statement can run again.
	query string
	args  []any
	// tolerant says that the statement is fine with what it finds: IF [NOT] EXISTS.
	tolerant bool
	// mend lists statements that clear away what an interrupted run has left; it
	// takes the same args as query. Empty: none are needed.
	mend string
	// finishes says that mending does what the statement was to do.
	finishes bool
	// patient says that the statement waits for locks without being in the way
	// of others: CONCURRENTLY.
	patient bool
}

// Invalid indexes that an interrupted REINDEX CONCURRENTLY has left
// (REINDEX, "Rebuilding Indexes Concurrently").
const mendReindex = `select format('drop index concurrently if exists %I.%I', n.nspname, c.relname)
	from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
	where not i.indisvalid and c.relname ~ '_cc(new|old)[0-9]*$' and n.nspname not like 'pg\_%'`

// target returns how s is looked at.
func (s statement) target() target {
	switch n := s.node.Node.(type) {
	case *pganalyze.Node_IndexStmt:
		// An index lies in its table's schema.
		const found = ` from pg_class t join pg_class c on c.relnamespace = t.relnamespace join pg_index i on i.indexrelid = c.oid and i.indrelid = t.oid
			join pg_namespace n on n.oid = c.relnamespace where t.oid = to_regclass($1) and c.relname = $2::name`
		return target{
			query:    `select case when i.indisvalid then 1 else 2 end` + found,
			mend:     `select format('drop index concurrently if exists %I.%I', n.nspname, c.relname)` + found + ` and not i.indisvalid`,
			args:     []any{relation(n.IndexStmt.Relation), n.IndexStmt.Idxname},
			tolerant: n.IndexStmt.IfNotExists, patient: true,
		}
	case *pganalyze.Node_DropStmt:
		return target{query: `select case when to_regclass($1) is null then 1 else 0 end`, args: []any{objectName(n.DropStmt.Objects[0])}, tolerant: n.DropStmt.MissingOk, patient: true}
	case *pganalyze.Node_ReindexStmt:
		return target{query: `select 0 where $1 = ''`, mend: mendReindex + ` and $1 = ''`, args: []any{""}, tolerant: true, patient: option(n.ReindexStmt.Params, "concurrently")}
	case *pganalyze.Node_AlterTableStmt:
		for _, cmd := range n.AlterTableStmt.Cmds {
			child := cmd.GetAlterTableCmd().GetDef().GetPartitionCmd().GetName()
			// A row of pg_inherits is gone when the detach is complete.
			return target{
				query: `select coalesce((select case when inhdetachpending then 2 else 0 end from pg_inherits where inhrelid = to_regclass($1) and inhparent = to_regclass($2)), 1)`,
				mend: `select format('alter table %s detach partition %s finalize', inhparent::regclass, inhrelid::regclass)
					from pg_inherits where inhrelid = to_regclass($1) and inhparent = to_regclass($2) and inhdetachpending`,
				args: []any{relation(child), relation(n.AlterTableStmt.Relation)}, finishes: true, patient: true,
			}
		}
	case *pganalyze.Node_AlterEnumStmt:
		var parts pgx.Identifier
		for _, part := range n.AlterEnumStmt.TypeName {
			parts = append(parts, constant(part))
		}
		return target{query: `select 1 from pg_enum where enumtypid = to_regtype($1) and enumlabel = $2::name`, args: []any{parts.Sanitize(), n.AlterEnumStmt.NewVal}, tolerant: n.AlterEnumStmt.SkipIfNewValExists}
	case *pganalyze.Node_CreatedbStmt:
		return target{query: `select 1 from pg_database where datname = $1`, args: []any{n.CreatedbStmt.Dbname}}
	case *pganalyze.Node_DropdbStmt:
		return target{query: `select case when exists (select from pg_database where datname = $1) then 0 else 1 end`, args: []any{n.DropdbStmt.Dbname}, tolerant: n.DropdbStmt.MissingOk}
	case *pganalyze.Node_CreateTableSpaceStmt:
		return target{query: `select 1 from pg_tablespace where spcname = $1`, args: []any{n.CreateTableSpaceStmt.Tablespacename}}
	case *pganalyze.Node_DropTableSpaceStmt:
		return target{query: `select case when exists (select from pg_tablespace where spcname = $1) then 0 else 1 end`, args: []any{n.DropTableSpaceStmt.Tablespacename}, tolerant: n.DropTableSpaceStmt.MissingOk}
	case *pganalyze.Node_CreateSubscriptionStmt:
		return target{query: `select 1 from pg_stat_subscription where subname = $1`, args: []any{n.CreateSubscriptionStmt.Subname}}
	case *pganalyze.Node_DropSubscriptionStmt:
		return target{query: `select case when exists (select from pg_stat_subscription where subname = $1) then 0 else 1 end`, args: []any{n.DropSubscriptionStmt.Subname}, tolerant: n.DropSubscriptionStmt.MissingOk}
	}
	return target{} // VACUUM, CLUSTER, ALTER SYSTEM
}

// relation is a name as SQL has it.
func relation(r *pganalyze.RangeVar) string {
	if r.GetSchemaname() == "" {
		return pgx.Identifier{r.GetRelname()}.Sanitize()
	}
	return pgx.Identifier{r.GetSchemaname(), r.GetRelname()}.Sanitize()
}

// objectName is the same of what DROP names.
func objectName(node *pganalyze.Node) string {
	var parts pgx.Identifier
	for _, item := range node.GetList().GetItems() {
		parts = append(parts, constant(item))
	}
	return parts.Sanitize()
}

// look asks the database how t stands.
func (r *run) look(ctx context.Context, t target) (standing, error) {
	if t.query == "" {
		return undone, nil
	}
	state := undone
	rows, err := r.conn.Query(ctx, t.query, append([]any{pgx.QueryExecModeExec}, t.args...)...)
	if err != nil {
		return undone, err
	}
	_, err = pgx.ForEachRow(rows, []any{&state}, func() error { return nil })
	return state, err
}

// expect refuses a statement that will run alone behind p and would fail there:
// a later run, told only that it may have run, would take it for done.
func (r *run) expect(ctx context.Context, p part, outcome string) error {
	s := p.all[p.to]
	t := s.target()
	state, err := r.look(ctx, t)
	if err != nil {
		return p.file.failed(s, err, outcome)
	}
	if state == done && !t.tolerant {
		e := p.file.refused(s, name(s)+" has nothing to do: what it makes is there already, or what it removes is not", "take it out, or add IF [NOT] EXISTS")
		e.Outcome = outcome
		return e
	}
	return nil
}

// name is what a statement that runs alone is called.
func name(s statement) string {
	if what := standsAlone(s.node); what != "" {
		return what
	}
	return "ALTER TYPE … ADD VALUE"
}

// alone runs one statement outside of a transaction, and records that it has run.
func (r *run) alone(ctx context.Context, p part) error {
	s := p.all[p.from]
	line, _ := position(p.file.SQL, s.offset)
	r.options.Tell(fmt.Sprintf("%s:%d: %s runs alone", p.file.Path, line, name(s)))
	wait := r.options.Backoff
	for attempt := 1; ; attempt++ {
		err := r.aloneOnce(ctx, p, s)
		if err == nil || !contended(err) || attempt >= r.options.Attempts || r.conn.IsClosed() {
			return err
		}
		r.options.Tell(fmt.Sprintf("a lock was not to be had; attempt %d of %d in %v", attempt+1, r.options.Attempts, wait))
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
		wait *= 2
	}
}

func (r *run) aloneOnce(ctx context.Context, p part, s statement) error {
	t := s.target()
	outcome := fmt.Sprintf("statements 1 to %d of this migration are in the database, this one is not; the next run goes on here", p.from)
	if err := r.enter(ctx, p, t); err != nil {
		return p.file.failed(s, err, outcome)
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if _, err := r.conn.PgConn().Exec(end, "reset session authorization; reset all").ReadAll(); err != nil {
			_ = r.conn.Close(end) // it can't be used for anything else
		}
	}()
	state, err := r.look(ctx, t)
	if err != nil {
		return p.file.failed(s, err, outcome)
	}
	mended, err := r.mend(ctx, p, t)
	if err != nil {
		return p.file.failed(s, err, outcome)
	}
	if p.doubtful && state == done || mended && t.finishes {
		r.options.Tell(p.file.Path + ": " + name(s) + " had run before the interruption")
		return r.ran(ctx, p, s)
	}
	pid := r.conn.PgConn().PID()
	_, err = r.conn.PgConn().ExecParams(ctx, s.sql, nil, nil, nil, nil).Close()
	if err == nil {
		return r.ran(ctx, p, s)
	}
	if !r.conn.IsClosed() {
		if _, failed := r.mend(context.WithoutCancel(ctx), p, t); failed != nil {
			outcome = fmt.Sprintf("statements 1 to %d of this migration are in the database; what this one left behind is cleared away by the next run, which goes on here", p.from)
		}
		return p.file.failed(s, err, outcome)
	}
	return r.interrupted(ctx, p, s, t, pid, err)
}

// interrupted finds out what became of a statement whose connection broke.
func (r *run) interrupted(ctx context.Context, p part, s statement, t target, pid uint32, cause error) error {
	unknown := fmt.Sprintf("statements 1 to %d of this migration are in the database; whether this one is, the next run finds out, and goes on from there", p.from)
	if ctx.Err() != nil {
		return p.file.failed(s, cause, unknown) // whoever interrupted is not kept waiting
	}
	again, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := r.reconnect(again, pid); err != nil {
		return p.file.failed(s, cause, unknown)
	}
	if err := r.enter(ctx, p, t); err != nil {
		return p.file.failed(s, cause, unknown)
	}
	state, err := r.look(ctx, t)
	switch {
	case err != nil || t.query == "":
		return p.file.failed(s, cause, unknown)
	case state == done:
		r.options.Tell(p.file.Path + ": the connection broke; the database was asked, and " + name(s) + " has run")
		return r.ran(ctx, p, s)
	case state == broken:
		return p.file.failed(s, cause, fmt.Sprintf("statements 1 to %d of this migration are in the database, this one is half done; the next run clears that away and goes on here", p.from))
	}
	return p.file.failed(s, cause, fmt.Sprintf("statements 1 to %d of this migration are in the database, this one is not; the next run goes on here", p.from))
}

// enter prepares the session for a statement outside of a transaction.
func (r *run) enter(ctx context.Context, p part, t target) error {
	lock := r.options.LockTimeout
	if t.patient {
		lock = r.options.StatementTimeout
	}
	batch := append([]string{"reset session authorization", "reset all"}, p.settings()...)
	batch = append(batch,
		fmt.Sprintf("set lock_timeout = %d", lock.Milliseconds()),
		fmt.Sprintf("set statement_timeout = %d", 6*r.options.StatementTimeout.Milliseconds()),
		"set client_connection_check_interval = 2000")
	for _, sql := range batch {
		if _, err := r.conn.Exec(ctx, sql, pgx.QueryExecModeExec); err != nil {
			return err
		}
	}
	return nil
}

// mend clears away what an interrupted statement has left, and reports whether
// there was anything.
func (r *run) mend(ctx context.Context, p part, t target) (bool, error) {
	if t.mend == "" {
		return false, nil
	}
	rows, err := r.conn.Query(ctx, t.mend, append([]any{pgx.QueryExecModeExec}, t.args...)...)
	if err != nil {
		return false, err
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return false, err
	}
	for _, sql := range list {
		r.options.Tell(p.file.Path + ": an interrupted run has left something: " + sql)
		if _, err := r.conn.Exec(ctx, sql, pgx.QueryExecModeExec); err != nil {
			return false, err
		}
	}
	return len(list) > 0, nil
}

// ran records that a statement has run alone.
func (r *run) ran(ctx context.Context, p part, s statement) error {
	// The role that the file has set may not write there.
	if _, err := r.conn.Exec(ctx, "reset session authorization", pgx.QueryExecModeExec); err != nil {
		return p.file.failed(s, fmt.Errorf("it has run, which could not be recorded: %w", err), "the next run finds out, and goes on from there")
	}
	_, err := r.conn.Exec(ctx, "update supabase_migrations.holdfast_progress set done = true, updated_at = now() where version = $1", pgx.QueryExecModeExec, p.file.Version)
	if err != nil {
		return p.file.failed(s, fmt.Errorf("it has run, which could not be recorded: %w", err), "the next run finds out, and goes on from there")
	}
	return nil
}
