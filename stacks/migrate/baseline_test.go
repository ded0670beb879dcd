package migrate

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"holdfast/internal/lab/pgtest"
)

// prepared returns a database with the baseline migrations applied.
func prepared(t testing.TB) *pgtest.Database {
	t.Helper()
	db := pgtest.New(t)
	if _, err := baseline().Up(t.Context(), db.Connect(t, "supabase_admin")); err != nil {
		t.Fatal(err)
	}
	return db
}

// auditor connects over TCP, with the password.
func auditor(t testing.TB, db *pgtest.Database, password string) (*pgx.Conn, error) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db.URL("holdfast_auditor", password))
	if err == nil {
		t.Cleanup(func() { _ = conn.Close(t.Context()) })
	}
	return conn, err
}

func code(err error) string {
	var pg *pgconn.PgError
	errors.As(err, &pg)
	if pg == nil {
		return ""
	}
	return pg.Code
}

func TestBaselineRunsOnceAndAgainWhenAParameterChanges(t *testing.T) {
	db := pgtest.New(t)
	conn := db.Connect(t, "supabase_admin")
	b := baseline()
	applied, err := b.Up(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	if len(applied) != 5 || applied[0] != "0001_auditor" {
		t.Errorf("applied %v", applied)
	}
	if again, err := b.Up(t.Context(), conn); err != nil || len(again) != 0 {
		t.Errorf("the second run applied %v, %v", again, err)
	}
	sums, err := b.Checksums()
	if err != nil {
		t.Fatal(err)
	}
	recorded := map[string]string{}
	rows, _ := conn.Query(t.Context(), "select version, checksum from holdfast.migrations")
	var version, checksum string
	if _, err := pgx.ForEachRow(rows, []any{&version, &checksum}, func() error { recorded[version] = checksum; return nil }); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(sums, recorded) {
		t.Errorf("Checksums and the history differ:\n%v\n%v", sums, recorded)
	}

	b.Schemas = []string{"graphql_public", "public"}
	if again, err := b.Up(t.Context(), conn); err != nil || len(again) != 0 {
		t.Errorf("another order of schemas applied %v, %v", again, err)
	}
	b.Schemas = append(b.Schemas, "api")
	if again, err := b.Up(t.Context(), conn); err != nil || !slices.Equal(again, []string{"0003_default_privileges", "0004_new_tables_under_rls"}) {
		t.Errorf("a new exposed schema applied %v, %v", again, err)
	}
	b.AuditorPassword = "another-0123456789"
	if again, err := b.Up(t.Context(), conn); err != nil || !slices.Equal(again, []string{"0001_auditor"}) {
		t.Errorf("a new password applied %v, %v", again, err)
	}
	if _, err := auditor(t, db, "another-0123456789"); err != nil {
		t.Errorf("the new password does not work: %v", err)
	}
	if _, err := auditor(t, db, "auditor-0123456789"); code(err) != "28P01" {
		t.Errorf("with the old password: %v", err)
	}
}

func TestAFailingBaselineScriptKeepsNothingAndShowsNoVerifier(t *testing.T) {
	db := pgtest.New(t)
	conn := db.Connect(t, "supabase_admin")
	b := baseline()
	b.Scripts = fstest.MapFS{
		"1_fine.sql":   {Data: []byte("create table public.fine ();")},
		"2_broken.sql": {Data: []byte("select current_setting('holdfast.auditor_verifier')::int;")},
	}
	_, err := b.Up(t.Context(), conn)
	mustSay(t, err, "baseline migration 2_broken", "nothing of the baseline migrations was kept")
	if got := query(t, conn, "select to_regclass('public.fine')::text || to_regnamespace('holdfast')::text"); got != "null" {
		t.Error("something was kept")
	}
}

func TestPostgreSQLTakesTheVerifierForThePassword(t *testing.T) {
	db := pgtest.New(t)
	conn := db.Connect(t, "supabase_admin")
	verifier, err := scramVerifierWith("pencil", []byte("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "create role scram_probe login password '"+verifier+"'"); err != nil {
		t.Fatal(err)
	}
	if got := query(t, conn, "select rolpassword from pg_authid where rolname = 'scram_probe'"); got != verifier {
		t.Errorf("PostgreSQL took the verifier for a password: %s", got)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = conn.Exec(t.Context(), "drop role scram_probe") })
	for password, works := range map[string]bool{"pencil": true, "Pencil": false} {
		c, err := pgx.Connect(t.Context(), db.URL("scram_probe", password))
		if (err == nil) != works {
			t.Errorf("password %q: %v", password, err)
		}
		if c != nil {
			c.Close(t.Context())
		}
	}
	for _, bad := range []string{"", "päss", "a\nb"} {
		if _, err := ScramVerifier(bad); err == nil || strings.Contains(err.Error(), "päss") {
			t.Errorf("password %q: %v", bad, err)
		}
	}
}

func TestTheAuditorSeesPlansAndNoRows(t *testing.T) {
	db := prepared(t)
	files := folder(t, "1_a.sql", `
		create table public.invoices (id int primary key, owner uuid);
		alter table public.invoices enable row level security;
		create policy own on public.invoices to authenticated using (owner = (select auth.uid()));
		grant select, insert, update, delete on public.invoices to authenticated, service_role;
		create table public.open (id int); grant all on public.open to anon;`)
	if _, err := Up(t.Context(), db.Connect(t, "postgres"), files, Options{}); err != nil {
		t.Fatal(err)
	}
	conn, err := auditor(t, db, baseline().AuditorPassword)
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		"select * from public.invoices",
		"select * from public.open",
		"select statements from supabase_migrations.schema_migrations",
		"select * from auth.users",
		"select * from storage.objects",
		"select rolpassword from pg_authid",
		"set role service_role",
		"set role anon",
		"select holdfast.guard_new_tables()",
	} {
		if _, err := conn.Exec(t.Context(), sql); err == nil {
			t.Errorf("the auditor may: %s", sql)
		}
	}
	if _, err := conn.Exec(t.Context(), "create temporary table x ()"); code(err) != "25006" {
		t.Errorf("the auditor's transactions are not read-only: %v", err)
	}
	if got := query(t, conn, "select version || name from supabase_migrations.schema_migrations"); got != "1a" {
		t.Errorf("the auditor reads the history as %q", got)
	}
	plan := query(t, conn, "select holdfast.explain_as_authenticated('public.invoices', 'select')::text")
	if !strings.Contains(plan, "owner") || !strings.Contains(plan, "Filter") {
		t.Errorf("the plan shows no policy: %s", plan)
	}
	if _, err := conn.Exec(t.Context(), "select holdfast.explain_as_anon('public.invoices', 'delete')"); code(err) != "42501" {
		t.Errorf("anon's delete: %v", err)
	}
	for _, verb := range []string{"select", "insert", "update", "delete"} {
		if _, err := conn.Exec(t.Context(), "select holdfast.explain_as_service_role('public.invoices', $1)", verb); err != nil {
			t.Errorf("%s as service_role: %v", verb, err)
		}
	}
	// The functions run as API roles, which must not get at them.
	for _, role := range []string{"anon", "authenticated", "service_role"} {
		if got := query(t, db.Connect(t, "supabase_admin"), "select (has_function_privilege($1::text, 'holdfast.explain_as_'||$1::text||'(regclass, text)', 'execute') or has_schema_privilege($1::text, 'holdfast', 'usage'))::text", role); got != "false" {
			t.Errorf("%s may call its explain function", role)
		}
	}
}

func TestNewTablesAndFunctionsAreNotGrantedToTheAPIRoles(t *testing.T) {
	db := prepared(t)
	for _, owner := range []string{"postgres", "supabase_admin"} {
		conn := db.Connect(t, owner)
		if _, err := conn.Exec(t.Context(), "create table public.t_"+owner+" (id serial)"); err != nil {
			t.Fatal(err)
		}
		for _, role := range []string{"anon", "authenticated"} {
			if got := query(t, conn, "select (has_table_privilege($1, 'public.t_'||$2, 'select, insert, update, delete, truncate, references, trigger') or has_sequence_privilege($1, 'public.t_'||$2||'_id_seq', 'usage, select, update'))::text", role, owner); got != "false" {
				t.Errorf("%s may use a new table of %s", role, owner)
			}
		}
	}
	conn := db.Connect(t, "postgres")
	if _, err := conn.Exec(t.Context(), "create function public.f() returns int language sql return 1"); err != nil {
		t.Fatal(err)
	}
	if got := query(t, conn, "select has_function_privilege('anon', 'public.f()', 'execute')::text"); got != "false" {
		t.Error("anon may call a new function")
	}
	if got := query(t, conn, "select has_table_privilege('service_role', 'public.t_postgres', 'select')::text"); got != "true" {
		t.Error("service_role lost its default grants")
	}
}

func TestTheEventTriggerPutsNewTablesUnderRLSWhoeverCreatesThem(t *testing.T) {
	db := prepared(t)
	admin := db.Connect(t, "supabase_admin")
	for _, sql := range []string{
		"grant create on schema public to supabase_storage_admin",
		"create schema private authorization postgres",
	} {
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	cases := []struct {
		role, sql, table string
		rls              string
	}{
		{"postgres", "create table public.a (id int)", "public.a", "true"},
		{"postgres", "create table public.b as select 1 as id", "public.b", "true"},
		{"postgres", "select 1 as id into public.c", "public.c", "true"},
		{"postgres", `create table public."D d" (id int) partition by range (id)`, `public."D d"`, "true"},
		{"postgres", `create table public.d1 partition of public."D d" for values from (1) to (2)`, "public.d1", "true"},
		{"supabase_storage_admin", "create table public.e (id int)", "public.e", "true"}, // may read nothing of holdfast
		{"supabase_admin", "create table public.f (id int)", "public.f", "true"},
		{"postgres", "create table private.g (id int)", "private.g", "false"},
		{"supabase_auth_admin", "create table auth.h (id int)", "auth.h", "false"},
		{"postgres", "begin; set local holdfast.migration = 'on'; create table public.i (id int); commit", "public.i", "false"},
	}
	for _, c := range cases {
		conn := db.Connect(t, c.role)
		if _, err := conn.PgConn().Exec(t.Context(), c.sql).ReadAll(); err != nil {
			t.Errorf("%s: %v", c.sql, err)
			continue
		}
		if got := query(t, conn, "select relrowsecurity::text from pg_class where oid = $1::regclass", c.table); got != c.rls {
			t.Errorf("as %s: %s: row level security is %s", c.role, c.sql, got)
		}
	}
	// A migration run by Holdfast stays as it is written.
	if _, err := Up(t.Context(), db.Connect(t, "postgres"), folder(t, "1_j.sql", "create table public.j (id int)", "2_k.sql", "create table public.k (id int)"), Options{}); err != nil {
		t.Fatal(err)
	}
	if got := query(t, admin, "select bool_or(relrowsecurity)::text from pg_class where relname in ('j', 'k')"); got != "false" {
		t.Error("the trigger changed a migration's table")
	}
}
