package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// Options say how Up applies migrations.
type Options struct {
	// Before is asked at the start of each transaction, before its first
	// statement: what it sees is what Gate compares with. Nil: nobody is asked.
	Before func(ctx context.Context, tx pgx.Tx) error
	// Gate is asked before the commit, in the transaction, as the role that
	// migrates and with its own settings restored. What it returns refuses
	// everything in that transaction. Nil: nobody is asked.
	Gate func(ctx context.Context, tx pgx.Tx, applied []File) error
	// IncludeAll applies migrations older than the newest applied one as well.
	IncludeAll bool
	// Seeds are run behind the migrations, in a transaction of their own, those
	// that have not been.
	Seeds []Seed
	// To is the last version to apply; empty: all that are pending.
	To string
	// DryRun does everything, asks the gate, and rolls back.
	DryRun bool
	// LockTimeout is how long one statement waits for a lock, default 4 s (the
	// Supabase CLI's own). A waiting ALTER TABLE makes every later query on its
	// table wait behind it.
	LockTimeout time.Duration
	// StatementTimeout is how long one statement may run, default 10 minutes. One
	// that runs alone, such as CREATE INDEX CONCURRENTLY, gets six times that.
	StatementTimeout time.Duration
	// Attempts is how often a transaction is tried that could not get its locks,
	// default 5. Between them it waits for Backoff, default 1 s, and each time
	// twice as long, so that those who waited behind it get their turn.
	Attempts int
	Backoff  time.Duration
	// Reconnect opens another connection like the one given to Up. It is called
	// when the connection broke where it can't be told what the database has
	// kept. Nil: the error says that it is not known.
	Reconnect func(ctx context.Context) (*pgx.Conn, error)
	// OnApply is told of each file before its statements are sent.
	OnApply func(File)
	// Tell is told what else happens, in a line: a retry, a statement that runs
	// alone, an interrupted one that is resumed.
	Tell func(string)
}

func (o Options) withDefaults() Options {
	if o.LockTimeout <= 0 {
		o.LockTimeout = 4 * time.Second
	}
	if o.StatementTimeout <= 0 {
		o.StatementTimeout = 10 * time.Minute
	}
	if o.Attempts <= 0 {
		o.Attempts = 5
	}
	if o.Backoff <= 0 {
		o.Backoff = time.Second
	}
	if o.OnApply == nil {
		o.OnApply = func(File) {}
	}
	if o.Tell == nil {
		o.Tell = func(string) {}
	}
	return o
}

// A Result says what Up did.
type Result struct {
	Applied []File // newly applied and committed, in order; also when Up then failed
	Changed []File // applied earlier, and edited since: worth a warning
}

// Up applies all pending files in one transaction. conn must be a direct
// connection (no transaction pooler) as the role "postgres", which owns what
// migrations create, and must not be in a transaction.
//
// Statements that PostgreSQL refuses in a transaction run alone, between two
// transactions: see steps. Only then can a failure leave a part applied; the
// error says which, and the next run goes on from there.
//
// With nothing pending the database is only read, and the gate is not asked. A
// failing statement, a syntax error and a statement that can't be applied are
// reported as *Error.
func Up(ctx context.Context, conn *pgx.Conn, files []File, options Options) (Result, error) {
	r := &run{conn: conn, given: conn, options: options.withDefaults()}
	defer r.close()
	err := locked(ctx, conn, func() error { return r.up(ctx, files) })
	return r.result, err
}

// A run is one call of Up.
type run struct {
	conn    *pgx.Conn // in use: given, or one opened after that broke
	given   *pgx.Conn
	options Options
	result  Result
}

// close ends a connection that the run itself has opened.
func (r *run) close() {
	if r.conn != r.given {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = r.conn.Close(ctx) // nothing depends on it any more
	}
}

func (r *run) up(ctx context.Context, files []File) error {
	status, err := ReadStatus(ctx, r.conn, files)
	if err != nil {
		return err
	}
	if err := status.check(r.options.IncludeAll); err != nil {
		return err
	}
	r.result.Changed = status.Changed
	pending, err := upTo(status.Pending, files, r.options.To)
	if err != nil {
		return err
	}
	if len(pending) > 0 {
		if err := r.migrate(ctx, pending, status); err != nil {
			return err
		}
	}
	if r.options.DryRun && len(pending) > 0 && len(r.options.Seeds) > 0 {
		r.options.Tell("the seeds build on what was rolled back, and are left out of the rehearsal")
		return nil
	}
	return r.seed(ctx)
}

// migrate applies pending migrations.
func (r *run) migrate(ctx context.Context, pending []File, status Status) error {
	work := make([]part, len(pending))
	for i, file := range pending {
		statements, err := file.parse()
		if err != nil {
			return err
		}
		work[i] = part{file: file, all: statements, to: len(statements)}
		if at, ok := status.partial(file.Version); ok {
			if err := work[i].resume(at); err != nil {
				return err
			}
			r.options.Tell(fmt.Sprintf("go on with %s at statement %d of %d", file.Path, work[i].from+1, len(statements)))
		}
	}
	if r.options.DryRun {
		return r.rehearse(ctx, work)
	}
	return r.steps(ctx, work)
}

// upTo cuts the pending files behind version.
func upTo(pending, files []File, version string) ([]File, error) {
	if version == "" {
		return pending, nil
	}
	if !slices.ContainsFunc(files, func(f File) bool { return f.Version == version }) {
		return nil, fmt.Errorf("apply migrations up to %s: the folder holds no such version (%s)", version, untouched)
	}
	return slices.DeleteFunc(slices.Clone(pending), func(f File) bool { return f.Version > version }), nil
}

// steps does one step after the other.
func (r *run) steps(ctx context.Context, work []part) error {
	list := steps(work, false)
	for i := 0; i < len(list); i++ {
		s := list[i]
		if s.alone {
			if err := r.alone(ctx, s.parts[0]); err != nil {
				return err
			}
			continue
		}
		err := r.patiently(ctx, s)
		if i == 0 && stateOf(err) == newEnumValue && slices.ContainsFunc(work, part.addsEnumValue) {
			// Known only now: a value is used that this transaction has added.
			r.options.Tell("a new enum value is used before it is committed: it is added on its own first")
			list = steps(work, true)
			err = r.patiently(ctx, list[0])
			s = list[0]
		}
		if err != nil {
			return err
		}
		for _, p := range s.parts {
			if p.last() {
				r.result.Applied = append(r.result.Applied, p.file)
			}
		}
	}
	return nil
}

// rehearse does what can be part of a transaction, asks the gate, and rolls back.
func (r *run) rehearse(ctx context.Context, work []part) error {
	whole := step{}
	for _, p := range work {
		tail := p
		tail.skipAlone = true
		whole.parts = append(whole.parts, tail)
		for _, s := range p.all[p.from:] {
			if what := standsAlone(s.node); what != "" {
				r.options.Tell(fmt.Sprintf("%s: %s runs alone and is left out of the rehearsal", p.file.Path, what))
			}
		}
	}
	return r.patiently(ctx, whole)
}

// patiently tries a transaction again that could not get its locks.
func (r *run) patiently(ctx context.Context, s step) error {
	wait := r.options.Backoff
	for attempt := 1; ; attempt++ {
		err := r.transact(ctx, s)
		if err == nil || !contended(err) || r.conn.IsClosed() || ctx.Err() != nil {
			return err
		}
		if attempt == r.options.Attempts {
			return fmt.Errorf("%w (tried %d times)", err, attempt)
		}
		r.options.Tell(fmt.Sprintf("a lock was not to be had, everything is rolled back; attempt %d of %d in %v: %v", attempt+1, r.options.Attempts, wait, firstLine(err.Error())))
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
		wait *= 2
	}
}

// SQLSTATEs that decide what Up does next.
const (
	lockNotAvailable = "55P03"
	deadlockDetected = "40P01"
	newEnumValue     = "55P04"
)

// contended reports whether the same transaction may well succeed in a moment.
func contended(err error) bool {
	state := stateOf(err)
	return state == lockNotAvailable || state == deadlockDetected
}

// stateOf returns the SQLSTATE of PostgreSQL's error in err, or "".
func stateOf(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// createHistory makes the CLI's history table (pkg/migration/history.go) and
// lets the auditor compare versions. It alters only what is missing: the table
// may belong to another role, which the CLI once ran as.
const createHistory = `
do $$
declare
	history regclass;
begin
	if to_regclass('supabase_migrations.schema_migrations') is null then
		create schema if not exists supabase_migrations;
		create table supabase_migrations.schema_migrations (version text not null primary key, statements text[], name text);
	end if;
	history := 'supabase_migrations.schema_migrations';
	if (select count(*) from pg_attribute where attrelid = history and attname in ('statements', 'name') and not attisdropped) < 2 then
		alter table supabase_migrations.schema_migrations add column if not exists statements text[], add column if not exists name text;
	end if;
	-- Statements may hold data: they stay closed to the auditor.
	if exists (select from pg_roles where rolname = 'holdfast_auditor')
		and pg_has_role((select relowner from pg_class where oid = history), 'member')
	then
		grant usage on schema supabase_migrations to holdfast_auditor;
		grant select (version, name) on supabase_migrations.schema_migrations to holdfast_auditor;
	end if;
end $$`

const insertHistory = `insert into supabase_migrations.schema_migrations (version, name, statements) values ($1, $2, $3)`

// transact does one step in one transaction, once.
func (r *run) transact(ctx context.Context, s step) (err error) {
	outcome := r.outcome(s)
	files := s.files()
	tx, err := r.conn.Begin(ctx)
	if err != nil {
		return fmt.Errorf("begin the migrations' transaction: %w (%s)", err, outcome)
	}
	conn := r.conn
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = tx.Rollback(end) // after a commit it does nothing; a broken session has ended already
		// A migration's SET without LOCAL outlives the commit. A session that
		// can't be reset is not used again; that takes nothing back.
		if _, failed := conn.Exec(end, "reset all"); failed != nil {
			_ = conn.Close(end)
		}
	}()
	if _, err := conn.PgConn().Exec(ctx, strings.Join(append(r.options.reset(), createHistory), ";\n")).ReadAll(); err != nil {
		return fmt.Errorf("prepare the migrations' transaction: %w (%s)", err, outcome)
	}
	if r.options.Before != nil {
		if err := r.options.Before(ctx, tx); err != nil {
			return fmt.Errorf("%w (%s)", err, outcome)
		}
	}
	for _, p := range s.parts {
		if p.from == 0 && (p.hash == "" || p.to > 0) {
			r.options.OnApply(p.file)
		}
		if err := r.apply(ctx, p, outcome); err != nil {
			return err
		}
	}
	if p := s.parts[len(s.parts)-1]; !p.last() && !p.skipAlone {
		if err := r.expect(ctx, p, outcome); err != nil {
			return err
		}
	}
	if _, err := conn.PgConn().Exec(ctx, strings.Join(r.options.reset(), ";\n")).ReadAll(); err != nil {
		return fmt.Errorf("prepare the gate: %w (%s)", err, outcome)
	}
	if r.options.Gate != nil {
		if err := r.options.Gate(ctx, tx, files); err != nil {
			return fmt.Errorf("%w (%s)", err, outcome)
		}
	}
	if r.options.DryRun {
		return nil
	}
	return r.commit(ctx, tx, outcome)
}

// apply sends one part of a file in one round trip.
func (r *run) apply(ctx context.Context, p part, outcome string) error {
	batch := &pgconn.Batch{}
	before := append(r.options.reset(), p.settings()...)
	for _, sql := range before {
		batch.ExecParams(sql, nil, nil, nil, nil)
	}
	statements := p.statements()
	for _, s := range statements {
		batch.ExecParams(s.sql, nil, nil, nil, nil)
	}
	// Deferred constraints are checked where the CLI, which commits each file,
	// has them checked: at the end of the file.
	batch.ExecParams("set constraints all immediate", nil, nil, nil, nil)
	batch.ExecParams("reset session authorization", nil, nil, nil, nil)
	batch.ExecParams("reset all", nil, nil, nil, nil)
	if err := p.record(r.conn, batch); err != nil {
		return err
	}
	results := r.conn.PgConn().ExecBatch(ctx, batch)
	done := 0
	for results.NextResult() {
		if _, err := results.ResultReader().Close(); err != nil {
			break // Close below returns the same error
		}
		done++
	}
	err := results.Close()
	if err == nil {
		return nil
	}
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || r.conn.IsClosed() {
		return &Error{Path: p.file.Path, Message: "the connection to the database was lost: " + err.Error(), Outcome: outcome, Err: err}
	}
	if at := done - len(before); at >= 0 && at < len(statements) {
		return p.file.failed(statements[at], err, outcome)
	}
	e := &Error{Path: p.file.Path, Message: pg.Message, Code: pg.Code, Detail: pg.Detail, Hint: pg.Hint, Outcome: outcome, Err: err}
	if hint, ok := hints[pg.Code]; ok {
		e.Hint = hint
	}
	return e
}

// record adds to batch what the database remembers of a part: the CLI's row
// when the file is complete, how far it has come when it is not.
func (p part) record(conn *pgx.Conn, batch *pgconn.Batch) error {
	if p.hash != "" {
		p.recordSeed(batch)
		return nil
	}
	if !p.last() {
		p.recordProgress(batch)
		return nil
	}
	if p.from > 0 || p.resumed {
		p.forgetProgress(batch)
	}
	list, err := conn.TypeMap().Encode(pgtype.TextArrayOID, pgtype.TextFormatCode, p.file.record(p.all), nil)
	if err != nil {
		return fmt.Errorf("%s: record its statements: %w", p.file.Path, err)
	}
	batch.ExecParams(insertHistory, [][]byte{[]byte(p.file.Version), []byte(p.file.Name), list}, []uint32{pgtype.TextOID, pgtype.TextOID, pgtype.TextArrayOID}, nil, nil)
	return nil
}

// reset are the statements that give each file, and the gate, the session as it
// was at the start, whatever SET the file before left behind.
func (o Options) reset() []string {
	return []string{
		"reset session authorization", // and the role with it
		"reset all",
		// Files expect constraints as after a commit: deferrable ones deferred.
		"set constraints all deferred",
		fmt.Sprintf("set local lock_timeout = %d", o.LockTimeout.Milliseconds()),
		fmt.Sprintf("set local statement_timeout = %d", o.StatementTimeout.Milliseconds()),
		noticeDisconnect,
		// Tells the event trigger on new tables that the gate is watching here.
		"set local holdfast.migration = 'on'",
	}
}

// noticeDisconnect has the server end a statement whose client is gone within
// two seconds; without it a killed run would keep its locks until it is done.
const noticeDisconnect = "set local client_connection_check_interval = 2000"

// outcome says what the database keeps when a step fails.
func (r *run) outcome(s step) string {
	if r.options.DryRun {
		return "nothing of the rehearsal was kept"
	}
	files := s.files()
	if s.parts[0].hash != "" {
		return "nothing of the seeds was kept; the migrations are complete"
	}
	this := fmt.Sprintf("nothing of the %d pending migrations was kept", len(files))
	if len(files) == 1 {
		this = "nothing of this migration was kept"
		if p := s.parts[0]; p.from > 0 {
			this = fmt.Sprintf("of this migration, statements 1 to %d are in the database; the next run goes on behind them", p.from)
		}
	} else if p := s.parts[0]; p.from > 0 {
		this = fmt.Sprintf("statements 1 to %d of %s are in the database, of the other %d pending migrations nothing; the next run goes on from there", p.from, p.file.Path, len(files)-1)
	}
	if n := len(r.result.Applied); n > 0 {
		var paths []string
		for _, f := range r.result.Applied {
			paths = append(paths, f.Path)
		}
		return fmt.Sprintf("%s is committed; %s", strings.Join(paths, ", "), this)
	}
	return this
}
