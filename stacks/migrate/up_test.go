package migrate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast/internal/lab/pgtest"
)

func TestMain(m *testing.M) {
	if dsn := os.Getenv(victimVariable); dsn != "" {
		victim(dsn)
		return
	}
	os.Exit(pgtest.Run(m))
}

// folder makes files from "<version>_<name>.sql", content, …
func folder(t testing.TB, pairs ...string) []File {
	t.Helper()
	fsys := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		fsys["supabase/migrations/"+pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	files, err := Read(fsys, "supabase/migrations")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// versions names files by their versions.
func versions(files []File) []string {
	var out []string
	for _, f := range files {
		out = append(out, f.Version)
	}
	return out
}

func baseline() Baseline {
	return Baseline{Schemas: []string{"public", "graphql_public"}, AuditorPassword: "auditor-0123456789"}
}

// query returns one row's one value as text.
func query(t testing.TB, conn *pgx.Conn, sql string, args ...any) string {
	t.Helper()
	var value *string
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&value); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	if value == nil {
		return "null"
	}
	return *value
}

// nothingLeft fails the test when the database has any trace of a run.
func nothingLeft(t testing.TB, db *pgtest.Database, table string) {
	t.Helper()
	conn := db.Connect(t, "postgres")
	if got := query(t, conn, "select to_regclass($1)::text", table); got != "null" {
		t.Errorf("table %s was kept", table)
	}
	if got := query(t, conn, "select to_regclass('supabase_migrations.schema_migrations')::text"); got != "null" {
		if n := query(t, conn, "select count(*)::text from supabase_migrations.schema_migrations"); n != "0" {
			t.Errorf("%s rows of history were kept", n)
		}
	}
	if got := query(t, conn, "select count(*)::text from pg_locks where locktype = 'advisory'"); got != "0" {
		t.Errorf("%s advisory locks were kept", got)
	}
}

var invoices = []string{
	"20260101000000_invoices.sql", `-- Invoices of a customer.
create table public.invoices (id bigint generated always as identity primary key, owner uuid not null);
alter table public.invoices enable row level security;
create policy own on public.invoices using (owner = (select auth.uid()));
`,
	"20260102000000_note.sql", `alter table public.invoices add note text default 'a;b';
insert into public.invoices (owner) values ('00000000-0000-0000-0000-000000000001');
-- the end
`,
}

func TestUpAppliesWhatIsPendingAndASecondRunDoesNothing(t *testing.T) {
	db := pgtest.New(t)
	conn := db.Connect(t, "postgres")
	files := folder(t, invoices...)

	result, err := Up(t.Context(), conn, files, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := versions(result.Applied); fmt.Sprint(got) != "[20260101000000 20260102000000]" {
		t.Errorf("applied %v", got)
	}
	if got := query(t, conn, "select note from public.invoices"); got != "a;b" {
		t.Errorf("note is %q", got)
	}
	if got := query(t, conn, `select string_agg(version || ' ' || name || ' ' || cardinality(statements), ', ' order by version) from supabase_migrations.schema_migrations`); got != "20260101000000 invoices 3, 20260102000000 note 2" {
		t.Errorf("history is %q", got)
	}
	if got := query(t, conn, `select statements[1] from supabase_migrations.schema_migrations order by version limit 1`); !strings.HasPrefix(got, "-- Invoices of a customer.\ncreate table") || strings.HasSuffix(got, ";") {
		t.Errorf("the first statement is recorded as %q", got)
	}

	asked := false
	again, err := Up(t.Context(), conn, files, Options{Gate: func(context.Context, pgx.Tx, []File) error { asked = true; return nil }})
	if err != nil || len(again.Applied) != 0 || len(again.Changed) != 0 || asked {
		t.Errorf("the second run applied %v, changed %v, gate asked: %v, error %v", again.Applied, again.Changed, asked, err)
	}
}

func TestUpContinuesAHistoryThatTheCLIMade(t *testing.T) {
	db := pgtest.New(t)
	conn := db.Connect(t, "postgres")
	// What pkg/migration/history.go creates and inserts, and a column that hosted projects have.
	for _, sql := range []string{
		"create schema supabase_migrations",
		"create table supabase_migrations.schema_migrations (version text not null primary key, created_by text)",
		"alter table supabase_migrations.schema_migrations add column statements text[]",
		"alter table supabase_migrations.schema_migrations add column name text",
		"create table public.invoices (owner uuid)",
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	files := folder(t, "20260101000000_invoices.sql", "create table public.invoices (owner uuid);\n", "20260102000000_note.sql", "alter table public.invoices add note text;")
	if _, err := conn.Exec(t.Context(), insertHistory, "20260101000000", "invoices", []string{"create table public.invoices (owner uuid)"}); err != nil {
		t.Fatal(err)
	}
	result, err := Up(t.Context(), conn, files, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Applied) != 1 || result.Applied[0].Name != "note" || len(result.Changed) != 0 {
		t.Errorf("applied %v, changed %v", versions(result.Applied), versions(result.Changed))
	}
}

func TestStatusTellsWhatDiffers(t *testing.T) {
	db := pgtest.New(t)
	conn := db.Connect(t, "postgres")
	if _, err := Up(t.Context(), conn, folder(t, "2_b.sql", "select 2;", "4_d.sql", "select 4"), Options{}); err != nil {
		t.Fatal(err)
	}
	status, err := ReadStatus(t.Context(), conn, folder(t, "2_b.sql", "select 22", "3_c.sql", "select 3", "5_e.sql", "select 5"))
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint("pending ", versions(status.Pending), " out of order ", versions(status.OutOfOrder), " changed ", versions(status.Changed), " remote only ", status.RemoteOnly)
	if want := "pending [3 5] out of order [3] changed [2] remote only [4]"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestUpRefusesAHistoryThatDoesNotMatch(t *testing.T) {
	db := pgtest.New(t)
	conn := db.Connect(t, "postgres")
	if _, err := Up(t.Context(), conn, folder(t, "20260103000000_c.sql", "create table public.c (); alter table public.c enable row level security"), Options{}); err != nil {
		t.Fatal(err)
	}
	_, err := Up(t.Context(), conn, folder(t, "20260104000000_d.sql", "create table public.d ()"), Options{})
	mustSay(t, err, "the folder does not hold: 20260103000000", "repair --status reverted 20260103000000")

	older := folder(t, "20260102000000_b.sql", "create table public.b ()", "20260103000000_c.sql", "create table public.c ()")
	_, err = Up(t.Context(), conn, older, Options{})
	mustSay(t, err, "older than the newest applied migration: supabase/migrations/20260102000000_b.sql", "--include-all")
	if got := query(t, conn, "select to_regclass('public.b')::text"); got != "null" {
		t.Error("the older migration was applied")
	}
	result, err := Up(t.Context(), conn, older, Options{IncludeAll: true})
	if err != nil || len(result.Applied) != 1 {
		t.Errorf("with IncludeAll: applied %v, %v", versions(result.Applied), err)
	}
}

func mustSay(t testing.TB, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error %q does not say %q", err, part)
		}
	}
}

func TestAFailureLeavesNothingAndNamesItsPlace(t *testing.T) {
	first := "create table public.invoices (id int);\nalter table public.invoices enable row level security;\n"
	cases := []struct {
		name, sql, place string
		says             []string
	}{
		{"syntax error", "select 1;\n\nselect 'é', from x;", ":3:13: ", []string{`syntax error at or near "from"`, "the database was not touched"}},
		{"missing table", "-- ü\n/* a comment; with a semicolon */ select 1;\n\n  insert into public.invoices\n  select * from foo;", ":5:17: ", []string{`relation "foo" does not exist`, "nothing of the 2 pending migrations was kept"}},
		{"missing column", "select 1; select 'ä', nope from public.invoices;", ":1:23: ", []string{`column "nope" does not exist`}},
		{"run time", "select 1;\nselect 1/0;", ":2:1: ", []string{"division by zero"}},
		{"constraint", "insert into public.invoices values (1);\nalter table public.invoices add primary key (id); insert into public.invoices values (1);", ":2:51: ", []string{"duplicate key value", "Key (id)=(1) already exists"}},
		{"in a function", "do $$ begin\nperform nope();\nend $$;", ":1:1: ", []string{"nope() does not exist", "in PL/pgSQL function inline_code_block line 2"}},
		{"commit in a block", "do $$ begin commit; end $$;", ":1:1: ", []string{"invalid transaction termination", "all pending migrations are one transaction"}},
		{"begin", "begin;\ncreate table x ();\ncommit;", ":1:1: ", []string{"BEGIN is not allowed", "the database was not touched"}},
		{"commit", "create table x ();\n commit;", ":2:2: ", []string{"COMMIT is not allowed"}},
		{"rollback", "select 1;rollback;", ":1:10: ", []string{"ROLLBACK is not allowed"}},
		{"concurrently", "select 1;\n-- fast\ncreate index concurrently on public.invoices (id);", ":3:1: ", []string{"CREATE INDEX CONCURRENTLY without a name", "give the index a name"}},
		{"discard", "discard all", ":1:1: ", []string{"DISCARD is not allowed"}},
		{"copy", "create table c (a int);\ncopy c from stdin;\n1\n2\n\\.\nselect 1;", ":2:1: ", []string{"COPY from standard input", "use INSERT"}},
		{"copy without data", "copy public.invoices from stdin;", ":1:1: ", []string{"COPY from standard input"}},
		{"psql", "select 1;\n\\i other.sql\nselect 2;", ":2:1: ", []string{`"\\i" is a command of psql`}},
		{"enum value", "create type public.mood as enum ('a');", "", nil}, // fine: used as the base below
		{"lock", "lock table public.invoices in access exclusive mode; select pg_sleep(20);", ":1:54: ", []string{"statement timeout", "longer than"}},
		{"deferred constraint", "create table public.a (id int primary key); create table public.b (a int references public.a deferrable initially deferred);\ninsert into public.b values (7);", ": ", []string{"violates foreign key constraint"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			db := pgtest.New(t)
			files := folder(t, "1_first.sql", first, "2_second.sql", c.sql)
			result, err := Up(t.Context(), db.Connect(t, "postgres"), files, Options{StatementTimeout: 3 * time.Second})
			if c.says == nil {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			mustSay(t, err, append(c.says, "supabase/migrations/2_second.sql"+c.place)...)
			var located *Error
			if !errors.As(err, &located) {
				t.Errorf("the error is a %T", err)
			}
			if len(result.Applied) != 0 {
				t.Errorf("claims to have applied %v", versions(result.Applied))
			}
			nothingLeft(t, db, "public.invoices")
		})
	}
}

func TestANewEnumValueUsedByALaterFileIsAddedFirst(t *testing.T) {
	db := pgtest.New(t)
	conn := db.Connect(t, "postgres")
	files := folder(t, "1_type.sql", "create type public.mood as enum ('sad');")
	if _, err := Up(t.Context(), conn, files, Options{}); err != nil {
		t.Fatal(err)
	}
	files = append(files, folder(t, "2_add.sql", "alter type public.mood add value 'glad';", "3_use.sql", "create table public.m (m public.mood default 'glad');")...)
	var told []string
	result, err := Up(t.Context(), conn, files, Options{Tell: func(line string) { told = append(told, line) }})
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Applied) != 2 || !strings.Contains(strings.Join(told, "\n"), "a new enum value is used before it is committed") {
		t.Errorf("applied %v, told %q", versions(result.Applied), told)
	}
	if got := query(t, conn, "select count(*)::text from supabase_migrations.holdfast_progress"); got != "0" {
		t.Errorf("%s files count as begun", got)
	}
}

func TestTheGateSeesTheResultAndItsRefusalLeavesNothing(t *testing.T) {
	db := pgtest.New(t)
	conn := db.Connect(t, "postgres")
	// The first file tries to leave traps for the gate behind.
	files := folder(t, "1_open.sql", "create table public.open (id int);\nset search_path = ''; set statement_timeout = '200ms'; set role anon;")
	refusal := errors.New("public.open has no row level security")
	_, err := Up(t.Context(), conn, files, Options{Gate: func(ctx context.Context, tx pgx.Tx, applied []File) error {
		var rls bool
		var user, path string
		if err := tx.QueryRow(ctx, `select relrowsecurity, current_user, current_setting('search_path') from pg_class where oid = 'open'::regclass`).Scan(&rls, &user, &path); err != nil {
			return err
		}
		if rls || user != "postgres" || !strings.Contains(path, "public") || len(applied) != 1 {
			t.Errorf("the gate sees rls %v, user %s, search_path %s, applied %v", rls, user, path, applied)
		}
		return refusal
	}})
	if !errors.Is(err, refusal) {
		t.Fatalf("got %v", err)
	}
	mustSay(t, err, "(nothing of this migration was kept)")
	nothingLeft(t, db, "public.open")

	// The same connection is good for the corrected file.
	files = folder(t, "1_open.sql", "create table public.open (id int); alter table public.open enable row level security;")
	if _, err := Up(t.Context(), conn, files, Options{}); err != nil {
		t.Fatal(err)
	}
}

func TestABackendKilledInTheMiddleLeavesNothing(t *testing.T) {
	db := pgtest.New(t)
	conn := db.Connect(t, "postgres")
	files := folder(t, "1_slow.sql", "create table public.slow (id int);\nselect pg_sleep(30);")
	pid := conn.PgConn().PID()
	admin := db.Connect(t, "supabase_admin")
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		for range 200 {
			var sleeping bool
			_ = admin.QueryRow(t.Context(), "select exists (select from pg_stat_activity where pid = $1 and query like '%pg_sleep%')", pid).Scan(&sleeping)
			if sleeping {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		_, _ = admin.Exec(t.Context(), "select pg_terminate_backend($1)", pid)
	}()
	_, err := Up(t.Context(), conn, files, Options{})
	<-killed
	mustSay(t, err, "supabase/migrations/1_slow.sql: the connection to the database was lost", "nothing of this migration was kept")
	watch := db.Connect(t, "postgres")
	for range 500 { // the session is told before it has ended
		if query(t, watch, "select count(*)::text from pg_stat_activity where pid = $1", pid) == "0" {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	nothingLeft(t, db, "public.slow")

	// The next run does it.
	if _, err := Up(t.Context(), db.Connect(t, "postgres"), folder(t, "1_slow.sql", "create table public.slow (id int)"), Options{}); err != nil {
		t.Fatal(err)
	}
}

func TestAnInterruptLeavesNothing(t *testing.T) {
	db := pgtest.New(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := Up(ctx, db.Connect(t, "postgres"), folder(t, "1_slow.sql", "create table public.slow (id int);\nselect pg_sleep(30);"), Options{})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	// The server notices the closed connection when it next writes or checks; the table is invisible at once.
	if got := query(t, db.Connect(t, "postgres"), "select to_regclass('public.slow')::text"); got != "null" {
		t.Error("the table was kept")
	}
}

func TestASecondRunAtTheSameTimeIsRefusedAndToldWhoItIs(t *testing.T) {
	db := pgtest.New(t)
	first, second := db.Connect(t, "postgres"), db.Connect(t, "postgres")
	files := folder(t, invoices...)
	_, err := Up(t.Context(), first, files, Options{Gate: func(ctx context.Context, _ pgx.Tx, _ []File) error {
		_, err := Up(ctx, second, files, Options{})
		mustSay(t, err, "another run is migrating this database", fmt.Sprintf("process %d of postgres", first.PgConn().PID()), untouched)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if result, err := Up(t.Context(), second, files, Options{}); err != nil || len(result.Applied) != 0 {
		t.Errorf("afterwards: applied %v, %v", versions(result.Applied), err)
	}
}

func TestALockedTableEndsTheRunInTime(t *testing.T) {
	db := pgtest.New(t)
	conn := db.Connect(t, "postgres")
	if _, err := Up(t.Context(), conn, folder(t, invoices...), Options{}); err != nil {
		t.Fatal(err)
	}
	blocker := db.Connect(t, "postgres")
	tx, err := blocker.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background())
	if _, err := tx.Exec(t.Context(), "select * from public.invoices"); err != nil {
		t.Fatal(err)
	}
	files := folder(t, append(invoices, "20260103000000_more.sql", "select 1;\nalter table public.invoices add more int;")...)
	_, err = Up(t.Context(), conn, files, Options{LockTimeout: 50 * time.Millisecond, Attempts: 2, Backoff: time.Millisecond})
	mustSay(t, err, "tried 2 times", "20260103000000_more.sql:2:1: canceling statement due to lock timeout", "another session holds a lock")
}

func TestOneFilesSettingsDoNotReachTheNext(t *testing.T) {
	db := pgtest.New(t)
	conn := db.Connect(t, "postgres")
	files := folder(t,
		"1_dump.sql", "select set_config('search_path', '', false); set check_function_bodies = off; create table public.a (id int primary key);",
		"2_next.sql", "create table b (a int references a deferrable initially deferred); insert into b values (1); insert into a values (1);",
	)
	if _, err := Up(t.Context(), conn, files, Options{}); err != nil {
		t.Fatal(err)
	}
	if got := query(t, conn, "show search_path"); !strings.Contains(got, "public") {
		t.Errorf("after the run, search_path is %q", got)
	}
	if got := query(t, conn, "show lock_timeout"); got != "0" {
		t.Errorf("after the run, lock_timeout is %q", got)
	}
}
