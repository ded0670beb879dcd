package migrate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast/internal/lab/pgtest"
)

// apart is a migration with a statement that PostgreSQL refuses in a transaction.
var apart = []string{
	"1_people.sql", "create table public.people (id int, mail text); alter table public.people enable row level security; insert into public.people select i, 'm' || i from generate_series(1, 50) i;",
	"2_index.sql", `create schema app; alter table public.people set schema app;
set search_path = app;
-- Built without keeping anyone out.
create unique index concurrently people_mail on people (mail);
alter table people add constraint people_mail unique using index people_mail;`,
	"3_after.sql", "create table public.after (); alter table public.after enable row level security; vacuum app.people",
}

func history(t testing.TB, conn *pgx.Conn) string {
	t.Helper()
	return query(t, conn, "select coalesce(string_agg(version, ' ' order by version), '') from supabase_migrations.schema_migrations")
}

func TestStatementsThatRefuseATransactionRunBetweenGatedOnes(t *testing.T) {
	db := pgtest.New(t)
	conn := db.Connect(t, "postgres")
	var told []string
	gates := 0
	result, err := Up(t.Context(), conn, folder(t, apart...), Options{
		Tell: func(line string) { told = append(told, line) },
		Gate: func(ctx context.Context, tx pgx.Tx, _ []File) error { gates++; return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(versions(result.Applied)); got != "[1 2 3]" || gates != 3 {
		t.Errorf("applied %s with %d gates", got, gates)
	}
	if got := strings.Join(told, "\n"); got != "supabase/migrations/2_index.sql:4: CREATE INDEX CONCURRENTLY runs alone\nsupabase/migrations/3_after.sql:1: VACUUM runs alone" {
		t.Errorf("told:\n%s", got)
	}
	if got := query(t, conn, "select conname::text from pg_constraint where conrelid = 'app.people'::regclass"); got != "people_mail" {
		t.Errorf("the constraint is %s", got)
	}
	if got := history(t, conn); got != "1 2 3" {
		t.Errorf("the history has %s", got)
	}
	if got := query(t, conn, "select cardinality(statements)::text from supabase_migrations.schema_migrations where version = '2'"); got != "5" {
		t.Errorf("%s statements are recorded", got)
	}
	if got := query(t, conn, "select current_setting('search_path') || current_setting('lock_timeout')"); strings.Contains(got, "app") || !strings.HasSuffix(got, "0") {
		t.Errorf("the session is left with %s", got)
	}
}

func TestAFailedConcurrentIndexIsClearedAwayAndTheMendedFileGoesOn(t *testing.T) {
	db := pgtest.New(t)
	conn := db.Connect(t, "postgres")
	files := folder(t, "1_people.sql", "create table public.people (mail text); insert into public.people values ('a'), ('a');",
		"2_index.sql", "alter table public.people add note text;\ncreate unique index concurrently people_mail on public.people (mail);\nselect 1;")
	result, err := Up(t.Context(), conn, files, Options{})
	mustSay(t, err, "2_index.sql:2:1: could not create unique index", "statements 1 to 1 of this migration are in the database, this one is not; the next run goes on here")
	if got := fmt.Sprint(versions(result.Applied), history(t, conn)); got != "[1]1" {
		t.Errorf("applied and recorded: %s", got)
	}
	if got := query(t, conn, "select count(*)::text from pg_index where not indisvalid"); got != "0" {
		t.Errorf("%s invalid indexes are left", got)
	}
	status, err := ReadStatus(t.Context(), conn, files)
	if err != nil || fmt.Sprint(status.Partial) != "[2]" {
		t.Errorf("begun: %v, %v", status.Partial, err)
	}

	// What has run must not be edited; what has not may be.
	edited := folder(t, "1_people.sql", files[0].SQL, "2_index.sql", strings.Replace(files[1].SQL, "note text", "note int", 1))
	_, err = Up(t.Context(), conn, edited, Options{})
	mustSay(t, err, "2_index.sql: its first 2 statements are in the database, and they were changed since", "repair --status reverted 2")
	_, err = Up(t.Context(), conn, files[:1], Options{})
	mustSay(t, err, "an interrupted run has begun migration 2, which the folder does not hold")

	if _, err := conn.Exec(t.Context(), "delete from public.people"); err != nil {
		t.Fatal(err)
	}
	mended := folder(t, "1_people.sql", files[0].SQL, "2_index.sql", strings.Replace(files[1].SQL, "select 1", "select 2", 1))
	if result, err = Up(t.Context(), conn, mended, Options{}); err != nil || fmt.Sprint(versions(result.Applied)) != "[2]" {
		t.Fatalf("applied %v, %v", versions(result.Applied), err)
	}
	if got := query(t, conn, "select indisvalid::text from pg_index where indexrelid = 'public.people_mail'::regclass"); got != "true" {
		t.Error("the index is not valid")
	}
}

func TestAnInterruptedStatementIsFoundToHaveRunOrIsRunAgain(t *testing.T) {
	files := folder(t, "1_people.sql", "create table public.people (mail text); create table public.log (id int) partition by list (id); create table public.log_1 partition of public.log for values in (1); create type public.mood as enum ('sad'); create index old on public.people (mail);",
		"2_apart.sql", "")
	for _, c := range []struct{ name, sql, meanwhile, check string }{
		{"index built", "create index concurrently people_mail on public.people (mail)", "create index people_mail on public.people (mail)", "select to_regclass('public.people_mail')::text"},
		{"index not built", "create index concurrently people_mail on public.people (mail)", "", "select to_regclass('public.people_mail')::text"},
		{"index invalid", "create index concurrently if not exists people_mail on public.people (mail)", "create index people_mail on public.people (mail); -- admin\nupdate pg_index set indisvalid = false where indexrelid = 'public.people_mail'::regclass", "select max(c.relname::text) from pg_index i join pg_class c on c.oid = indexrelid where indisvalid and relname = 'people_mail'"},
		{"index dropped", "drop index concurrently public.old", "drop index public.old", "select coalesce(to_regclass('public.old')::text, 'gone')"},
		{"reindex left one", "reindex table concurrently public.people", "create index old_ccnew on public.people (mail); -- admin\nupdate pg_index set indisvalid = false where indexrelid = 'public.old_ccnew'::regclass", "select coalesce(to_regclass('public.old_ccnew')::text, 'gone')"},
		{"detach pending", "alter table public.log detach partition public.log_1 concurrently", "-- admin\nupdate pg_inherits set inhdetachpending = true where inhrelid = 'public.log_1'::regclass", "select count(*)::text from pg_inherits where inhrelid = 'public.log_1'::regclass having count(*) = 0"},
		{"detached", "alter table public.log detach partition public.log_1 concurrently", "alter table public.log detach partition public.log_1", "select count(*)::text from pg_inherits where inhrelid = 'public.log_1'::regclass having count(*) = 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := pgtest.New(t)
			conn := db.Connect(t, "postgres")
			files := []File{files[0], {Path: files[1].Path, Version: "2", Name: "apart", SQL: c.sql}}
			if _, err := Up(t.Context(), conn, files[:1], Options{}); err != nil {
				t.Fatal(err)
			}
			// An earlier run has come to the statement, and no further is known.
			statements, err := files[1].parse()
			if err != nil {
				t.Fatal(err)
			}
			begun := part{file: files[1], all: statements}
			own, admin, _ := strings.Cut(c.meanwhile, "-- admin\n")
			if _, err := conn.Exec(t.Context(), createProgress); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Exec(t.Context(), upsertProgress, "2", 1, false, begun.checksum(1)); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.PgConn().Exec(t.Context(), own).ReadAll(); err != nil {
				t.Fatal(err)
			}
			if _, err := db.Connect(t, "supabase_admin").PgConn().Exec(t.Context(), admin).ReadAll(); err != nil {
				t.Fatal(err)
			}
			if _, err := Up(t.Context(), conn, files, Options{}); err != nil {
				t.Fatal(err)
			}
			if got := history(t, conn); got != "1 2" {
				t.Errorf("the history has %s", got)
			}
			if got := query(t, conn, c.check); got == "null" || got == "" {
				t.Errorf("afterwards: %s", got)
			}
		})
	}
}

func TestAStatementWithNothingToDoIsRefusedBeforeItCouldBeTakenForDone(t *testing.T) {
	db := pgtest.New(t)
	conn := db.Connect(t, "postgres")
	files := folder(t, "1_a.sql", "create table public.a (id int); create index a_id on public.a (id);", "2_b.sql", "create index concurrently a_id on public.a (id)")
	_, err := Up(t.Context(), conn, files, Options{})
	mustSay(t, err, "2_b.sql:1:1: CREATE INDEX CONCURRENTLY has nothing to do", "nothing of the 2 pending migrations was kept")
	nothingLeft(t, db, "public.a")
}

func TestALockTimeoutIsTriedAgainAndTold(t *testing.T) {
	db := pgtest.New(t)
	conn := db.Connect(t, "postgres")
	if _, err := Up(t.Context(), conn, folder(t, invoices...), Options{}); err != nil {
		t.Fatal(err)
	}
	blocker, err := db.Connect(t, "postgres").Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := blocker.Exec(t.Context(), "select * from public.invoices"); err != nil {
		t.Fatal(err)
	}
	var told []string
	files := folder(t, append(invoices, "20260103000000_more.sql", "alter table public.invoices add more int;")...)
	result, err := Up(t.Context(), conn, files, Options{LockTimeout: 50 * time.Millisecond, Backoff: 10 * time.Millisecond, Tell: func(line string) {
		told = append(told, line)
		if len(told) == 2 {
			_ = blocker.Rollback(context.Background())
		}
	}})
	if err != nil || len(result.Applied) != 1 {
		t.Fatalf("applied %v, %v", versions(result.Applied), err)
	}
	if len(told) != 2 || !strings.Contains(told[1], "attempt 3 of 5 in 20ms") {
		t.Errorf("told %q", told)
	}
}

func TestADryRunAsksTheGateAndKeepsNothing(t *testing.T) {
	db := pgtest.New(t)
	conn := db.Connect(t, "postgres")
	var told []string
	asked := false
	result, err := Up(t.Context(), conn, folder(t, append(apart[:2:2], "2_apart.sql", "vacuum; select 1")...), Options{DryRun: true, Tell: func(line string) { told = append(told, line) },
		Gate: func(ctx context.Context, tx pgx.Tx, files []File) error {
			asked = len(files) == 2
			return tx.QueryRow(ctx, "select from public.people limit 1").Scan()
		}})
	if err != nil || !asked || len(result.Applied) != 0 {
		t.Errorf("asked %v, applied %v, %v", asked, versions(result.Applied), err)
	}
	if got := strings.Join(told, "\n"); got != "supabase/migrations/2_apart.sql: VACUUM runs alone and is left out of the rehearsal" {
		t.Errorf("told %s", got)
	}
	nothingLeft(t, db, "public.people")
}

func TestOnlyVersionsUpToOneAreApplied(t *testing.T) {
	db := pgtest.New(t)
	conn := db.Connect(t, "postgres")
	files := folder(t, "1_a.sql", "select 1", "2_b.sql", "select 2", "3_c.sql", "select 3")
	if _, err := Up(t.Context(), conn, files, Options{To: "4"}); err == nil || !strings.Contains(err.Error(), "the folder holds no such version") {
		t.Errorf("got %v", err)
	}
	if _, err := Up(t.Context(), conn, files, Options{To: "2"}); err != nil {
		t.Fatal(err)
	}
	if got := history(t, conn); got != "1 2" {
		t.Errorf("the history has %s", got)
	}
}

func TestAReadOnlyDatabaseIsRefusedAtOnce(t *testing.T) {
	db := pgtest.New(t)
	conn := db.Connect(t, "postgres")
	if _, err := conn.Exec(t.Context(), "set default_transaction_read_only = on"); err != nil {
		t.Fatal(err)
	}
	_, err := Up(t.Context(), conn, folder(t, invoices...), Options{})
	mustSay(t, err, "the database takes no writes", untouched)
	if errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
