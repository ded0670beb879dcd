package lint

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"holdfast/internal/lab/pgtest"
	"holdfast/stacks/migrate"
)

// told is a connection as the superuser that keeps what PostgreSQL says about
// its own work at DEBUG1: "rewriting table", "verifying table", "building index".
func told(t *testing.T, db *pgtest.Database) (*pgx.Conn, func() string) {
	t.Helper()
	config, err := pgx.ParseConfig(db.URL("supabase_admin", pgtest.Password))
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { said = append(said, n.Message) }
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.PgConn().Conn().Close() })
	run(t, conn, "set client_min_messages = debug1")
	return conn, func() string {
		text := strings.Join(said, "\n")
		said = nil
		return text
	}
}

func run(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func ask(t *testing.T, conn *pgx.Conn, sql string) string {
	t.Helper()
	var answer *string
	if err := conn.QueryRow(t.Context(), sql).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	if answer == nil {
		return ""
	}
	return *answer
}

// claims are what the rules about live databases say that their wrong example
// does: the lock PostgreSQL takes on a relation, whether it writes the table
// anew, and what it says while it works. Of the right example the same is not
// true, but for the lock where its name stands.
var claims = map[string]struct {
	on      string // relation, default private.a
	lock    string // of the wrong example
	right   string // that the right example takes at most; "" not looked at
	rewrite bool
	says    string
}{
	"index.blocking":               {lock: "ShareLock", says: "building index"},
	"index.drop":                   {lock: "AccessExclusiveLock"},
	"index.rebuild":                {lock: "ShareLock", says: "building index"},
	"column.rewrite":               {lock: "AccessExclusiveLock", rewrite: true, says: "rewriting table"},
	"column.type":                  {lock: "AccessExclusiveLock", rewrite: true, says: "rewriting table"},
	"column.not-null":              {lock: "AccessExclusiveLock", says: "verifying table"},
	"constraint.check":             {lock: "AccessExclusiveLock", says: "verifying table"},
	"constraint.foreign-key":       {on: "private.b", lock: "ShareRowExclusiveLock", says: "validating foreign key constraint"},
	"constraint.unique":            {lock: "AccessExclusiveLock", says: "building index"},
	"constraint.validated-at-once": {lock: "AccessExclusiveLock"},
	"table.rewrite":                {lock: "AccessExclusiveLock", rewrite: true, says: "rewriting table"},
	"table.lock":                   {lock: "AccessExclusiveLock", right: "RowShareLock"},
	"matview.refresh":              {on: "private.m", lock: "AccessExclusiveLock", right: "ExclusiveLock"},
	"change.rename":                {lock: "AccessExclusiveLock"},
	"change.drop":                  {lock: "AccessExclusiveLock"},
}

// A rule that warns of a lock PostgreSQL does not take is worth nothing.
func TestPostgreSQLLocksAndRewritesAsTheRulesSay(t *testing.T) {
	db := pgtest.New(t)
	conn, said := told(t, db)
	for _, rule := range Rules() {
		claim, ok := claims[rule.ID]
		if !ok {
			continue
		}
		if claim.on == "" {
			claim.on = "private.a"
		}
		for _, word := range []string{"wrong", "right"} {
			t.Run(rule.ID+"/"+word, func(t *testing.T) {
				sql := rule.Wrong
				if word == "right" {
					sql = rule.Right
				}
				var statements []migrate.Statement
				for _, file := range folder("", sql) {
					list, err := file.Statements()
					if err != nil {
						t.Fatal(err)
					}
					statements = append(statements, list...)
				}
				run(t, conn, "begin")
				defer conn.Exec(t.Context(), "rollback")
				run(t, conn, rule.Given)
				if strings.Contains(rule.Given, "private.b ") {
					run(t, conn, "insert into private.b (id) values (1)")
					run(t, conn, "insert into private.a (id, b) values (1, 1)")
				} else {
					run(t, conn, "insert into private.a (id, b) values (1, 'x')")
				}
				if claim.on == "private.m" {
					run(t, conn, "refresh materialized view private.m")
				}
				// A transaction sees its own new tables without a lock that others
				// could notice, so the example gets one of its own.
				run(t, conn, "commit")
				defer run(t, conn, "drop schema private cascade")
				run(t, conn, "begin")
				defer conn.Exec(t.Context(), "rollback")
				before := ask(t, conn, "select pg_relation_filenode('private.a')::text")
				said()
				last := ""
				for _, s := range statements {
					if s.Alone() != "" {
						return // it can't be looked at from inside a transaction
					}
					said()
					run(t, conn, s.SQL)
					last = said()
				}
				locks := ask(t, conn, fmt.Sprintf("select string_agg(mode, ' ') from pg_locks where pid = pg_backend_pid() and relation = to_regclass('%s')", claim.on))
				rewritten := rule.ID != "change.rename" && ask(t, conn, "select pg_relation_filenode('private.a')::text") != before
				if word == "wrong" {
					if !slices.Contains(strings.Fields(locks), claim.lock) || rewritten != claim.rewrite || !strings.Contains(last, claim.says) {
						t.Errorf("locks %s, rewritten %t, says %q; want %s, %t, %q", locks, rewritten, last, claim.lock, claim.rewrite, claim.says)
					}
					return
				}
				if rewritten || claim.says != "" && strings.Contains(last, claim.says) {
					t.Errorf("the right example does it as well: rewritten %t, says %q", rewritten, last)
				}
				if claim.right != "" && (!strings.Contains(locks, claim.right) || slices.Contains(strings.Fields(locks), claim.lock)) {
					t.Errorf("the right example locks %s, want %s at most", locks, claim.right)
				}
			})
		}
	}
}

func TestAColumnThatIsRequiredFailsOnTheFirstRow(t *testing.T) {
	rule, _ := Lookup("column.required")
	conn := pgtest.New(t).Connect(t, "supabase_admin")
	run(t, conn, rule.Given)
	run(t, conn, "insert into private.a (id) values (1)")
	var pg *pgconn.PgError
	if _, err := conn.Exec(t.Context(), rule.Wrong); !errors.As(err, &pg) || pg.Code != "23502" {
		t.Errorf("got %v, want a not-null violation", err)
	}
	run(t, conn, rule.Right)
}

// What the linter lets pass must not rewrite; what it reports must, or the
// report is a false alarm.
func TestTypeChangesRewriteAsTheLinterSays(t *testing.T) {
	types := []string{"varchar", "varchar(10)", "varchar(20)", "text", "char(5)", "char(9)", "smallint", "integer", "bigint", "real", "double precision",
		"numeric", "numeric(10,2)", "numeric(12,2)", "numeric(12,4)", "timestamp", "timestamp(3)", "timestamptz", "timestamptz(3)", "date",
		"time", "time(3)", "interval", "inet", "cidr", "bit(4)", "varbit", "varbit(4)", "varbit(8)", "json", "jsonb", "uuid", "boolean", "text[]", "varchar(10)[]"}
	conn, said := told(t, pgtest.New(t))
	run(t, conn, "set timezone = 'Europe/Berlin'") // in UTC timestamptz and timestamp are stored alike
	kept, reported, careful := 0, 0, []string{}
	for _, from := range types {
		for _, to := range types {
			run(t, conn, "begin")
			run(t, conn, "create temporary table a (c "+from+")")
			said()
			_, err := conn.Exec(t.Context(), "alter table a alter column c type "+to)
			works := strings.Contains(said(), "ing table") // rewriting or verifying
			run(t, conn, "rollback")
			said()
			if err != nil {
				continue // there is no such cast
			}
			a, b := typeOf(t, from), typeOf(t, to)
			switch keeps := keepsRows(a, b); {
			case keeps && works:
				t.Errorf("from %s to %s rewrites the table, and the linter is silent", from, to)
			case keeps:
				kept++
			case works:
				reported++
			default:
				careful = append(careful, from+" → "+to)
			}
		}
	}
	t.Logf("%d changes keep the rows, %d don't; reported all the same: %s", kept, reported, strings.Join(careful, ", "))
	if kept < 20 || reported < 100 || len(careful) > 0 {
		t.Errorf("kept %d, reported %d, false alarms %q", kept, reported, careful)
	}
}

// typeOf writes a type as the linter does.
func typeOf(t *testing.T, sql string) string {
	t.Helper()
	nodes, err := parse("create table a (c " + sql + ")")
	if err != nil {
		t.Fatal(err)
	}
	return typeText(nodes[0].GetCreateStmt().TableElts[0].GetColumnDef().TypeName)
}

func TestVolatileFunctionsAreThoseThatPostgreSQLCallsVolatile(t *testing.T) {
	conn := pgtest.New(t).Connect(t, "supabase_admin")
	rows, err := conn.Query(t.Context(), `
		select proname::text, bool_and(provolatile = 'v') from pg_proc where pronamespace = 'pg_catalog'::regnamespace and proname = any ($1) group by 1`, volatile)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	var function string
	var is bool
	_, err = pgx.ForEachRow(rows, []any{&function, &is}, func() error {
		found++
		if !is {
			t.Errorf("%s is not volatile", function)
		}
		return nil
	})
	if err != nil || found < 8 {
		t.Fatal(found, err)
	}
	// And the other way round: what somebody might write as a default.
	missing := ask(t, conn, `
		select string_agg(distinct proname, ' ') from pg_proc
		where pronamespace = 'pg_catalog'::regnamespace and provolatile = 'v' and pronargs = 0 and not proretset
			and prorettype::regtype::text in ('uuid', 'double precision', 'timestamp with time zone', 'text', 'bigint', 'bytea')
			and not proname like 'pg\_%' and not proname = any (array['`+strings.Join(volatile, "','")+`'])`)
	if missing != "" {
		t.Errorf("volatile, and not in the list: %s", missing)
	}
}

// The linter reports an ALTER TABLE exactly when PostgreSQL reads or writes the
// whole table for it.
func TestAlterTableIsReportedWhenPostgreSQLWorksThroughTheTable(t *testing.T) {
	given := `create schema private;
create function private.roll() returns int language plpgsql volatile as 'begin return 1; end';
create function private.same() returns int language plpgsql immutable as 'begin return 1; end';
create function private.steady() returns int language plpgsql stable as 'begin return 1; end';
create domain private.short as text check (length(value) < 9);
create domain private.long as text;
create table private.b (id bigint primary key);
create table private.a (id bigint primary key, b text, c varchar(10), d bigint, e timestamptz, f int not null default 1, g int);
create unique index a_c on private.a (c);
create index a_b on private.a (b);`
	conn, said := told(t, pgtest.New(t))
	run(t, conn, given)
	run(t, conn, "insert into private.b values (1); insert into private.a (id, b, c, d) values (1, 'x', 'x', 1)")
	costly := []string{"column.rewrite", "column.type", "column.not-null", "constraint.check", "constraint.foreign-key", "constraint.unique", "table.rewrite"}
	for _, sql := range []string{
		"add column x int", "add column x int default 3", "add column x int not null default 3", "add column x timestamptz default now()",
		"add column x timestamptz default clock_timestamp()", "add column x uuid default gen_random_uuid()", "add column x float default random() * 2",
		"add column x int default private.roll()", "add column x int default private.same()", "add column x int default private.steady()",
		"add column x serial", "add column x bigserial", "add column x int generated always as identity", "add column x int generated always as (f + 1) stored",
		"add column x text check (length(x) < 9)", "add column x bigint references private.b", "add column x bigint default 1 references private.b",
		"add column x int unique", "add column x private.short", "add column x private.long", "add column x text collate \"C\" default 'a'", "add column x date default current_date",
		"alter column d set default 5", "alter column d drop default", "alter column f drop not null", "alter column d set not null", "alter column g set statistics 100",
		"alter column b set storage external", "alter column c type varchar(20)", "alter column c type varchar(5)", "alter column c type text", "alter column f type bigint",
		"alter column d type int", "alter column b type varchar", "alter column b type varchar(9)", "alter column e type timestamptz(3)", "alter column e type timestamptz(6)",
		"alter column c type text using upper(c)", "alter column c type text using c::text", "alter column c type varchar(20) using c", "alter column b type text collate \"C\"",
		"add check (f > 0)", "add check (f > 0) not valid", "add constraint d_b foreign key (d) references private.b", "add constraint d_b foreign key (d) references private.b not valid",
		"add unique (d)", "add constraint c_key unique using index a_c", "add exclude using btree (d with =)", "drop column b", "drop constraint a_pkey",
		"set (fillfactor = 50)", "set unlogged", "set tablespace pg_default", "set access method heap", "replica identity full", "enable row level security", "rename column b to z", "cluster on a_pkey",
	} {
		alter := "alter table private.a " + sql
		var reported []Finding
		for _, f := range reportedBy(given, alter) {
			if slices.Contains(costly, f.Rule) {
				reported = append(reported, f)
			}
		}
		run(t, conn, "begin")
		before := ask(t, conn, "select pg_relation_filenode('private.a')::text")
		said()
		run(t, conn, alter)
		work := said()
		works := strings.Contains(work, "rewriting table") || strings.Contains(work, "verifying table") || strings.Contains(work, "building index") ||
			strings.Contains(work, "validating foreign key") || ask(t, conn, "select pg_relation_filenode('private.a')::text") != before
		run(t, conn, "rollback")
		if alter == "alter table private.a set tablespace pg_default" || alter == "alter table private.a set access method heap" {
			// Nothing to do here, where it has both already; the files don't tell.
			works = true
		}
		if works != (len(reported) > 0) {
			t.Errorf("%s: PostgreSQL says %q, the linter:\n%s", alter, work, show(reported))
		}
	}
}

func reportedBy(given, example string) []Finding {
	return reported(Check(folder(given, example), Options{}))
}

// outsiders are what somebody without a right to it can do after the wrong
// example of a rule, and can't after the right one.
var outsiders = map[string]struct{ role, rows, try string }{
	"rls.off":               {"anon", "insert into public.invoices values (1, '00000000-0000-0000-0000-000000000001')", "select count(*) from public.invoices"},
	"rls.disabled":          {"authenticated", "insert into public.invoices values (1, '00000000-0000-0000-0000-000000000001')", "select count(*) from public.invoices"},
	"policy.open-write":     {"authenticated", "insert into public.notes values (1, '00000000-0000-0000-0000-000000000001'); create policy r on public.notes for select using (true)", "with u as (update public.notes set owner = null returning 1) select count(*) from u"},
	"policy.open-read":      {"anon", "insert into public.notes values (1, '00000000-0000-0000-0000-000000000001')", "select count(*) from public.notes"},
	"policy.no-identity":    {"anon", "insert into public.notes values (1, '00000000-0000-0000-0000-000000000001')", "select count(*) from public.notes"},
	"view.security-invoker": {"anon", "insert into public.invoices values (1, '00000000-0000-0000-0000-000000000001', false)", "select count(*) from public.open_invoices"},
	"view.materialized":     {"anon", "insert into public.invoices values (1, null, true); refresh materialized view public.totals", "select count(*) from public.totals"},
}

func TestAnOutsiderGetsInAsTheRulesSay(t *testing.T) {
	conn := pgtest.New(t).Connect(t, "supabase_admin")
	for id, o := range outsiders {
		rule, _ := Lookup(id)
		for word, example := range map[string]string{"wrong": rule.Wrong, "right": rule.Right} {
			t.Run(id+"/"+word, func(t *testing.T) {
				run(t, conn, "begin")
				defer conn.Exec(t.Context(), "rollback")
				run(t, conn, rule.Given)
				run(t, conn, example)
				run(t, conn, o.rows)
				run(t, conn, "set local role "+o.role)
				seen := 0
				err := conn.QueryRow(t.Context(), o.try).Scan(&seen)
				var pg *pgconn.PgError
				if err != nil && (!errors.As(err, &pg) || pg.Code != "42501") {
					t.Fatal(err)
				}
				if got := err == nil && seen > 0; got != (word == "wrong") {
					t.Errorf("%s: %d rows, %v", o.try, seen, err)
				}
			})
		}
	}
}

// Why a role that a file takes on must be given back.
func TestResetAllLeavesTheRoleAlone(t *testing.T) {
	conn := pgtest.New(t).Connect(t, "postgres")
	run(t, conn, "set role anon")
	run(t, conn, "reset all")
	if got := ask(t, conn, "select current_user::text"); got != "anon" {
		t.Errorf("it is %s", got)
	}
}
