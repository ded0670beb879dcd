package migrate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// Options say how Up applies migrations.
type Options struct {
	// Gate is asked before the commit, in the transaction, as the role that
	// migrates and with its own settings restored. What it returns refuses all
	// pending migrations. Nil: nobody is asked.
	Gate func(ctx context.Context, tx pgx.Tx, applied []File) error
	// IncludeAll applies migrations older than the newest applied one as well.
	IncludeAll bool
	// LockTimeout is how long one statement waits for a lock, default 10 s. A
	// waiting ALTER TABLE makes every later query on its table wait behind it.
	LockTimeout time.Duration
	// StatementTimeout is how long one statement may run, default 10 minutes.
	StatementTimeout time.Duration
	// OnApply is told of each file before its statements are sent.
	OnApply func(File)
}

// A Result says what Up did.
type Result struct {
	Applied []File // newly applied, in order; empty when nothing was pending
	Changed []File // applied earlier, and edited since: worth a warning
}

// Up applies all pending files in one transaction. conn must be a direct
// connection (no transaction pooler) as the role "postgres", which owns what
// migrations create, and must not be in a transaction.
//
// With nothing pending the database is only read, and the gate is not asked.
// Any failure leaves the database as it was; a failing statement, a syntax error
// and a statement that can't be part of the transaction are reported as *Error.
func Up(ctx context.Context, conn *pgx.Conn, files []File, options Options) (Result, error) {
	if options.LockTimeout <= 0 {
		options.LockTimeout = 10 * time.Second
	}
	if options.StatementTimeout <= 0 {
		options.StatementTimeout = 10 * time.Minute
	}
	var result Result
	err := locked(ctx, conn, func() error {
		status, err := ReadStatus(ctx, conn, files)
		if err != nil {
			return err
		}
		if err := status.check(options.IncludeAll); err != nil {
			return err
		}
		result.Changed = status.Changed
		if len(status.Pending) == 0 {
			return nil
		}
		parsed := make([][]statement, len(status.Pending))
		for i, file := range status.Pending {
			if parsed[i], err = file.parse(); err != nil {
				return err
			}
		}
		if err := apply(ctx, conn, status.Pending, parsed, options); err != nil {
			return err
		}
		result.Applied = status.Pending
		return nil
	})
	return result, err
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

// apply runs everything in one transaction.
func apply(ctx context.Context, conn *pgx.Conn, files []File, parsed [][]statement, options Options) (err error) {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return fmt.Errorf("begin the migrations' transaction: %w", err)
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = tx.Rollback(end) // after a commit it does nothing; a broken session has ended already
		if err == nil {
			// A migration's SET without LOCAL outlives the commit.
			_, err = conn.Exec(end, "reset all")
		}
	}()
	if _, err := conn.PgConn().Exec(ctx, strings.Join(append(options.reset(), createHistory), ";\n")).ReadAll(); err != nil {
		return fmt.Errorf("prepare the migrations' transaction: %w (%s)", err, nothingKept(len(files)))
	}
	for i, file := range files {
		if options.OnApply != nil {
			options.OnApply(file)
		}
		if err := applyFile(ctx, conn, file, parsed[i], options, nothingKept(len(files))); err != nil {
			return err
		}
	}
	if options.Gate != nil {
		if _, err := conn.PgConn().Exec(ctx, strings.Join(options.reset(), ";\n")).ReadAll(); err != nil {
			return fmt.Errorf("prepare the gate: %w (%s)", err, nothingKept(len(files)))
		}
		if err := options.Gate(ctx, tx, files); err != nil {
			return fmt.Errorf("%w (%s)", err, nothingKept(len(files)))
		}
	}
	if err := tx.Commit(ctx); err != nil {
		if conn.IsClosed() {
			return fmt.Errorf("the connection broke during the commit: %w (the database has either all or none of it: run again, the history tells)", err)
		}
		return fmt.Errorf("commit the migrations: %w (%s)", err, nothingKept(len(files)))
	}
	return nil
}

// applyFile sends one file's statements in one round trip.
func applyFile(ctx context.Context, conn *pgx.Conn, file File, statements []statement, options Options, outcome string) error {
	batch := &pgconn.Batch{}
	before := options.reset()
	for _, sql := range before {
		batch.ExecParams(sql, nil, nil, nil, nil)
	}
	for _, s := range statements {
		batch.ExecParams(s.sql, nil, nil, nil, nil)
	}
	// Deferred constraints are checked where the CLI, which commits each file,
	// has them checked: at the end of the file.
	batch.ExecParams("set constraints all immediate", nil, nil, nil, nil)
	list, err := conn.TypeMap().Encode(pgtype.TextArrayOID, pgtype.TextFormatCode, file.record(statements), nil)
	if err != nil {
		return fmt.Errorf("%s: record its statements: %w", file.Path, err)
	}
	batch.ExecParams("reset session authorization", nil, nil, nil, nil)
	batch.ExecParams("reset all", nil, nil, nil, nil)
	batch.ExecParams(insertHistory, [][]byte{[]byte(file.Version), []byte(file.Name), list}, []uint32{pgtype.TextOID, pgtype.TextOID, pgtype.TextArrayOID}, nil, nil)

	results := conn.PgConn().ExecBatch(ctx, batch)
	done := 0
	for results.NextResult() {
		if _, err := results.ResultReader().Close(); err != nil {
			break // Close below returns the same error
		}
		done++
	}
	err = results.Close()
	if err == nil {
		return nil
	}
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || conn.IsClosed() {
		return &Error{Path: file.Path, Message: "the connection to the database was lost: " + err.Error(), Outcome: outcome, Err: err}
	}
	if at := done - len(before); at >= 0 && at < len(statements) {
		return file.failed(statements[at], err, outcome)
	}
	return &Error{Path: file.Path, Message: pg.Message, Code: pg.Code, Detail: pg.Detail, Hint: pg.Hint, Outcome: outcome, Err: err}
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
		// Tells the event trigger on new tables that the gate is watching here.
		"set local holdfast.migration = 'on'",
	}
}

func nothingKept(files int) string {
	if files == 1 {
		return "nothing of this migration was kept"
	}
	return fmt.Sprintf("nothing of the %d pending migrations was kept", files)
}
