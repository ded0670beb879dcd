package database

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast/internal/lab/pgtest"
	"holdfast/templates"
	"holdfast/verify"
	"holdfast/verify/baseline"
)

// A twin is one way to break a rule, and its look-alike that must stay silent.
// The SQL runs as postgres; behind "-- admin" as the superuser.
type twin struct {
	rule, subject string
	unsafe, safe  string
}

const (
	table = "create table public.t (id int primary key, owner uuid, status text); "
	own   = table + "alter table public.t enable row level security; "
)

var twins = []twin{
	{"rls.enabled", "public.t", table, own},
	{"rls.enabled", "public.p", "create table public.p (id int) partition by range (id)", "create table public.p (id int) partition by range (id); alter table public.p enable row level security"},
	{"rls.enabled", "public.t", table + "grant insert on public.t to anon", "create schema private; create table private.t (id int)"},
	{"rls.partitions", "hidden.c",
		"create schema hidden; create table public.p (id int) partition by range (id); alter table public.p enable row level security; create table hidden.c partition of public.p for values from (1) to (2); grant select on hidden.c to anon",
		"create schema hidden; create table public.p (id int) partition by range (id); alter table public.p enable row level security; create table hidden.c partition of public.p for values from (1) to (2); alter table hidden.c enable row level security; grant select on hidden.c to anon"},
	{"rls.policies-in-force", "private.t", "create schema private; create table private.t (id int); create policy p on private.t using (true)",
		"create schema private; create table private.t (id int); create policy p on private.t using (true); alter table private.t enable row level security"},
	{"rls.owner", "public.t", own + "-- admin\ncreate role app login; alter table public.t owner to app", own + "-- admin\ncreate role app login; alter table public.t owner to app; alter table public.t force row level security"},
	{"rls.has-policy", "public.t", own + "grant select on public.t to anon", own},
	{"access.anon-read", "public.t", own + "grant select on public.t to anon; create policy p on public.t for select using (true)",
		own + "grant select on public.t to anon; create policy p on public.t for select to authenticated using (true)"},
	{"access.anon-read", "public.v", own + "create view public.v as select * from public.t; grant select on public.v to anon",
		own + "create view public.v with (security_invoker) as select * from public.t; grant select on public.v, public.t to anon"},
	{"access.anon-read", "public.t", own + "grant select (id) on public.t to anon; create policy p on public.t using (true)", own + "grant select (id) on public.t to anon; create policy p on public.t using (id = 1)"},
	{"access.anon-write", "public.t", own + "grant insert on public.t to anon; create policy p on public.t for insert with check (true)",
		own + "grant insert on public.t to anon; create policy p on public.t for insert with check (status = 'new')"},
	{"access.anon-write", "public.t", table + "grant delete on public.t to anon", own + "grant delete on public.t to anon"},
	{"access.stranger-write", "public.t", own + "grant update, delete on public.t to authenticated; create policy p on public.t using (true)",
		own + "grant update, delete on public.t to authenticated; create policy p on public.t using (owner = (select auth.uid()))"},
	{"access.stranger-read", "public.t", own + "grant select on public.t to authenticated; create policy p on public.t for select to authenticated using (true)",
		own + "grant select on public.t to authenticated; create policy p on public.t for select to authenticated using (owner = (select auth.uid()))"},
	{"access.plans", "public.t", own + "grant select on public.t to anon; create policy p on public.t using (exists (select from public.t x where x.id = 1))",
		own + "create table public.m (id int); alter table public.m enable row level security; grant select on public.t, public.m to anon; create policy p on public.t using (exists (select from public.m x where x.id = 1))"},
	{"rls.user-metadata", "public.t: p", own + "create policy p on public.t using ((select auth.jwt()) -> 'user_metadata' ->> 'role' = 'admin')",
		own + "create policy p on public.t using ((select auth.jwt()) -> 'app_metadata' ->> 'role' = 'admin')"},
	{"rls.user-metadata", "public.t: p", own + "create function public.is_admin() returns boolean language sql stable set search_path = '' as $$ select (auth.jwt() -> 'user_metadata' ->> 'role') = 'admin' $$; create policy p on public.t using ((select public.is_admin()))",
		own + "create function public.is_admin() returns boolean language sql stable set search_path = '' as $$ select (auth.jwt() -> 'app_metadata' ->> 'role') = 'admin' $$; create policy p on public.t using ((select public.is_admin()))"},
	{"rls.user-metadata", "public.t: p", own + "create function public.is_admin() returns boolean language sql stable set search_path = '' return (auth.jwt() -> 'user_metadata' ->> 'role') = 'admin'; create policy p on public.t using ((select public.is_admin()))",
		own + "create policy p on public.t using (status = 'user')"},
	{"rls.anonymous-way-in", "public.t: p", own + "create policy p on public.t using ((select auth.uid()) is null or owner = (select auth.uid()))",
		own + "create policy p on public.t using (owner is null or owner = (select auth.uid()))"},
	{"rls.anonymous-way-in", "public.t: p", own + "create policy p on public.t using (auth.uid() is null or owner = auth.uid())",
		own + "create policy p on public.t using (auth.uid() is not null and (status = 'x' or owner = auth.uid()))"},
	{"rls.always-true", "public.t: p", own + "create policy p on public.t for update using (owner = (select auth.uid())) with check (true)",
		own + "create policy p on public.t for update using (owner = (select auth.uid()))"},
	{"rls.always-true", "public.t: p", own + "create policy p on public.t for delete to authenticated using (1 = 1)", own + "create policy p on public.t for select using (true)"},
	{"rls.always-true", "public.t: p", own + "create policy p on public.t using ((('a') = 'a'))", own + "create policy p on public.t as restrictive using (true)"},
	{"rls.ownership-kept", "public.t: p", own + "create policy p on public.t for update using (owner = (select auth.uid())) with check (status = 'draft')",
		own + "create policy p on public.t for update using (owner = (select auth.uid()) and status = 'draft') with check (owner = (select auth.uid()))"},
	{"rls.init-plan", "public.t: p", own + "create policy p on public.t using (owner = auth.uid())", own + "create policy p on public.t using (owner = (select auth.uid()))"},
	{"rls.init-plan", "public.t: p", own + "create policy p on public.t using (status = current_setting('app.x'))", own + "create policy p on public.t using (((select auth.jwt()) ->> 'a') = (select auth.jwt() ->> 'b'))"},
	{"rls.one-permissive-policy", "public.t: a", own + "create policy a on public.t for select using (id = 1); create policy b on public.t using (id = 2)",
		own + "create policy a on public.t for select to anon using (id = 1); create policy b on public.t for select to authenticated using (id = 2); create policy c on public.t for insert with check (id = 3); create policy d on public.t as restrictive using (id = 3)"},
	{"views.bypass", "public.v", own + "create view public.v as select * from public.t; grant select on public.v to authenticated",
		own + "create view public.v with (security_invoker = on) as select * from public.t; grant select on public.v to authenticated"},
	{"views.bypass", "public.v", own + "create schema private; create view private.w as select * from public.t; create view public.v with (security_invoker) as select * from private.w; grant select on public.v to anon",
		own + "create schema private; create view private.w with (security_invoker) as select * from public.t; create view public.v as select * from private.w; grant select on public.v to anon"},
	{"views.security-invoker", "public.v", "create schema private; create table private.t (id int); create view public.v as select * from private.t; grant select on public.v to anon",
		"create schema private; create table private.t (id int); create view public.v as select * from private.t"},
	{"views.auth-users", "public.v", "create view public.v as select id, email from auth.users; grant select on public.v to authenticated",
		"create view public.v with (security_invoker) as select id, email from auth.users; grant select on public.v to authenticated"},
	{"views.materialized", "public.m", own + "create materialized view public.m as select * from public.t; grant select on public.m to anon", own + "create materialized view public.m as select * from public.t"},
	{"tables.foreign", "public.f", "-- admin\ncreate foreign data wrapper w; create server s foreign data wrapper w; create foreign table public.f (id int) server s; grant select on public.f to anon",
		"-- admin\ncreate foreign data wrapper w; create server s foreign data wrapper w; create foreign table public.f (id int) server s"},
	{"functions.definer-callable", "public.f", "create function public.f() returns int language sql security definer set search_path = '' return 1; grant execute on function public.f() to anon",
		"create function public.f() returns int language sql security definer set search_path = '' return 1; create function public.g() returns trigger language plpgsql security definer set search_path = '' as 'begin return new; end'; grant execute on function public.g() to anon"},
	{"functions.definer-search-path", "public.f", "create function public.f() returns int language sql security definer return 1", "create function public.f() returns int language sql security definer set search_path = '' return 1"},
	{"functions.search-path", "public.f", "create function public.f() returns int language sql return 1", "create function public.f() returns int language sql set search_path = pg_catalog return 1"},
	{"functions.planted", "private.f", "create schema private; create schema loose; grant create on schema loose to authenticated; create function private.f() returns int language sql security definer set search_path = pg_catalog, \"loose\" return 1",
		"create schema private; create schema loose; grant usage on schema loose to authenticated; create function private.f() returns int language sql security definer set search_path = pg_catalog, \"loose\" return 1"},
	{"functions.outgoing", "net.dblink", "-- admin\ncreate schema net; create extension dblink schema net; grant usage on schema net to anon", "-- admin\ncreate schema net; create extension dblink schema net"},
	{"schemas.create", "loose", "create schema loose; grant create on schema loose to public", "create schema loose; grant usage on schema loose to public; grant create on schema loose to service_role"},
	{"schemas.extensions", "public.citext", "-- admin\ncreate extension citext schema public", "-- admin\ncreate extension citext schema extensions"},
	{"grants.truncate", "public.t", own + "grant all on public.t to authenticated", own + "grant select, insert, update, delete on public.t to authenticated"},
	{"grants.auth-tables", "auth.users", "-- admin\ngrant select (email) on auth.users to authenticated", "-- admin\ngrant select on auth.users to service_role"},
	{"grants.vault-views", "vault.decrypted_secrets", "-- admin\ncreate schema vault; create view vault.decrypted_secrets as select 1 as secret; grant select on vault.decrypted_secrets to anon",
		"-- admin\ncreate schema vault; create view vault.decrypted_secrets as select 1 as secret; grant select on vault.decrypted_secrets to service_role"},
	{"grants.defaults", "postgres: tables to anon", "alter default privileges in schema public grant select on tables to anon", "create schema private; alter default privileges in schema private grant select on tables to anon; alter default privileges in schema public grant select on tables to service_role"},
	{"grants.defaults", "postgres: functions to public", "alter default privileges grant execute on functions to public", "alter default privileges grant usage on types to public"},
	{"roles.exempt", "app", "-- admin\ncreate role app login bypassrls", "-- admin\ncreate role app bypassrls; create role web login"},
	{"roles.membership", "app", "-- admin\ncreate role mid; grant service_role to mid; create role app login; grant mid to app", "-- admin\ncreate role app login; grant anon, authenticated to app"},
	{"roles.membership", "authenticated", "-- admin\ngrant service_role to authenticated", "-- admin\ngrant anon to authenticated"},
	{"roles.authenticator", "authenticator", "-- admin\ngrant supabase_admin to authenticator", "-- admin\ncreate role tenant; grant tenant to authenticator"},
	{"roles.statement-timeout", "anon", "-- admin\nalter role anon reset statement_timeout", "-- admin\nalter role anon set statement_timeout = '5s'"},
	{"database.secret-settings", "app.settings.jwt_secret", "-- admin\ndo $$ begin execute format('alter database %I set app.settings.jwt_secret = %L', current_database(), 'abc'); end $$",
		"-- admin\ndo $$ begin execute format('alter database %I set app.settings.jwt_exp = 3600', current_database()); end $$"},
	{"database.guard", "environment", "-- admin\nalter event trigger holdfast_guard_new_tables disable", "-- admin\ncreate function public.e() returns event_trigger language plpgsql set search_path = '' as 'begin end'; create event trigger other on ddl_command_end execute function public.e()"},
	{"database.password-encryption", "environment", "-- admin\nset local password_encryption = md5", "-- admin\nset local password_encryption = 'scram-sha-256'"},
	{"publications.all-tables", "everything", "-- admin\ncreate publication everything for all tables", own + "-- admin\ncreate publication some_tables for table public.t"},
	{"publications.rls", "public.t", table + "-- admin\nalter publication supabase_realtime add table public.t", own + "-- admin\nalter publication supabase_realtime add table public.t"},
	{"publications.old-rows", "public.t", own + "alter table public.t replica identity full;\n-- admin\nalter publication supabase_realtime add table public.t", own + "alter table public.t replica identity full"},
	{"storage.anonymous-upload", "storage.objects: p", "-- admin\ncreate policy p on storage.objects for insert to anon with check (bucket_id = 'avatars')",
		"-- admin\ncreate policy p on storage.objects for insert with check (bucket_id = 'avatars' and owner_id = (select auth.uid())::text)"},
	{"storage.listing", "storage.objects: p", "-- admin\ncreate policy p on storage.objects for select using (bucket_id = 'avatars')", "-- admin\ncreate policy p on storage.objects for select to authenticated using (bucket_id = 'avatars')"},
	{"storage.limits", "avatars", "-- admin\ninsert into storage.buckets (id, name, public) values ('avatars', 'avatars', true)",
		"-- admin\ninsert into storage.buckets (id, name, public, file_size_limit, allowed_mime_types) values ('avatars', 'avatars', true, 1000, '{image/png}')"},
	{"realtime.open-channels", "realtime.messages: p", "-- admin\ncreate policy p on realtime.messages for select to authenticated using (true)", "-- admin\ncreate policy p on realtime.messages for select to authenticated using (topic = (select auth.uid())::text)"},
	{"auditor.powerless", "environment", own + "grant select on public.t to public", own + "grant select on public.t to authenticated"},
	{"auditor.powerless", "environment", "-- admin\ngrant service_role to holdfast_auditor", "-- admin\ngrant usage on schema extensions to holdfast_auditor"},
	{"tables.sensitive-columns", "public.k", "create table public.k (id int primary key, api_key text); alter table public.k enable row level security; grant select on public.k to anon; create policy p on public.k using (id = 1)",
		"create table public.k (id int primary key, api_key text, tokenizer text); alter table public.k enable row level security; grant select on public.k to authenticated; create policy p on public.k to authenticated using (id = 1)"},
	{"tables.auth-foreign-keys", "public.t", own + "-- admin\ngrant references on auth.users to postgres; alter table public.t add email varchar references auth.users (email)",
		own + "-- admin\nalter table public.t add foreign key (owner) references auth.users (id)"},
	{"tables.primary-key", "public.k", "create table public.k (id int)", table},
	{"tables.foreign-key-indexes", "public.c", table + "create table public.c (id int primary key, t int references public.t)", table + "create table public.c (id int primary key, t int references public.t); create index on public.c (t, id)"},
	{"extensions.current", "extensions.pg_trgm", "-- admin\ncreate extension pg_trgm schema extensions version '1.5'", "-- admin\ncreate extension pg_trgm schema extensions"},
	{"triggers.sign-up", "new_user", "-- admin\ncreate function public.f() returns trigger language plpgsql set search_path = '' as $$ begin insert into public.profiles values (new.id, new.raw_user_meta_data ->> 'role'); return new; end $$; create trigger new_user after insert on auth.users for each row execute function public.f()",
		"-- admin\ncreate function public.f() returns trigger language plpgsql set search_path = '' as $$ begin insert into public.profiles values (new.id, new.raw_user_meta_data ->> 'full_name'); return new; end $$; create trigger new_user after insert on auth.users for each row execute function public.f()"},
}

// prepared is a database with Holdfast's baseline migrations.
func prepared(t testing.TB) *pgtest.Database {
	t.Helper()
	db := pgtest.New(t)
	conn := db.Connect(t, "supabase_admin")
	exec(t, conn, `create schema if not exists holdfast; create table if not exists holdfast.migrations (version text, name text, checksum text)`)
	if _, err := conn.Exec(t.Context(), "select set_config('holdfast.exposed_schemas', 'public', false), set_config('holdfast.auditor_verifier', $1, false)", pgtest.Password); err != nil {
		t.Fatal(err)
	}
	names, err := fs.Glob(templates.FS, "migrations/*.sql")
	if err != nil || len(names) == 0 {
		t.Fatal("no baseline migrations", err)
	}
	for _, name := range names {
		sql, err := fs.ReadFile(templates.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		exec(t, conn, string(sql))
	}
	return db
}

// findings evaluates the database rules and returns "rule subject" lines.
func findings(t testing.TB, b *baseline.Baseline, facts *verify.Database) map[string]string {
	t.Helper()
	found := map[string]string{}
	result := b.Evaluate(&verify.Facts{Version: verify.Version, Database: facts}, time.Now(), verify.LayerDatabase)
	for _, f := range result.Findings {
		if f.Verdict == baseline.Error {
			t.Errorf("%s could not be decided: %s", f.Rule, f.Message)
		}
		if strings.Contains(f.Message, "<nil>") || strings.ContainsAny(f.Fix, "{}") && !strings.Contains(f.Fix, "'{") {
			t.Errorf("%s: message %q, fix %q", f.Rule, f.Message, f.Fix)
		}
		found[f.Rule+" "+f.On] = f.Message
	}
	return found
}

// tryOut runs SQL in a transaction that is rolled back, and collects in it.
func tryOut(t testing.TB, conn *pgx.Conn, sql string) *verify.Database {
	t.Helper()
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	own, admin, _ := strings.Cut(sql, "-- admin\n")
	exec(t, conn, "set local holdfast.migration = 'on'; set local role postgres; "+own)
	exec(t, conn, "reset role; "+admin)
	return collect(t, conn)
}

func TestADatabasePreparedByHoldfastHasNoFindings(t *testing.T) {
	db := prepared(t)
	b := load(t)
	exec(t, db.Connect(t, "postgres"), own+"grant select on public.t to authenticated; create policy own on public.t to authenticated using (owner = (select auth.uid()))")
	for _, role := range []string{"postgres", "supabase_admin"} {
		for finding, message := range findings(t, b, collect(t, db.Connect(t, role))) {
			t.Errorf("as %s: %s: %s", role, finding, message)
		}
	}
}

func load(t testing.TB) *baseline.Baseline {
	t.Helper()
	b, err := baseline.Load(nil, "")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEveryRuleFindsTheUnsafeAndNotItsSafeTwin(t *testing.T) {
	db := prepared(t)
	b := load(t)
	conn := db.Connect(t, "supabase_admin")
	tested := map[string]bool{}
	for i, w := range twins {
		tested[w.rule] = true
		t.Run(fmt.Sprintf("%02d %s", i, w.rule), func(t *testing.T) {
			id := w.rule + " " + w.subject
			unsafe := findings(t, b, tryOut(t, conn, w.unsafe))
			if _, ok := unsafe[id]; !ok {
				t.Errorf("%s is not found in\n%s\nbut %v", id, w.unsafe, unsafe)
			}
			for finding, message := range findings(t, b, tryOut(t, conn, w.safe)) {
				if strings.HasPrefix(finding, w.rule+" ") {
					t.Errorf("a false alarm in\n%s\n%s: %s", w.safe, finding, message)
				}
			}
		})
	}
	for _, r := range b.Rules() {
		// What a migration changes is in verify/access.
		if r.Layer == verify.LayerDatabase && !tested[r.ID] && r.ID != "access.widened" {
			t.Errorf("the rule %s has no way to break it", r.ID)
		}
	}
}

func TestAPlainSupabaseDatabaseIsFoundOut(t *testing.T) {
	// What upstream ships and Holdfast changes.
	db := pgtest.New(t)
	found := findings(t, load(t), collect(t, db.Connect(t, "postgres")))
	for _, want := range []string{"grants.defaults postgres: tables to anon", "grants.defaults supabase_admin: functions to authenticated", "grants.defaults postgres: functions to public", "database.guard environment"} {
		if _, ok := found[want]; !ok {
			t.Errorf("%s is not found", want)
		}
	}
}

func TestTheAuditorSeesWhatASuperuserSees(t *testing.T) {
	db := prepared(t)
	exec(t, db.Connect(t, "postgres"), sample+"insert into storage.buckets (id, name) values ('b', 'b');")
	auditor := collect(t, db.Connect(t, "holdfast_auditor"))
	admin := collect(t, db.Connect(t, "supabase_admin"))
	if a, b := matrixText(auditor), matrixText(admin); a != b {
		t.Errorf("the auditor's matrix\n%s\nthe superuser's\n%s", a, b)
	}
	if auditor.Storage == nil || len(auditor.Storage.Buckets) != 1 || auditor.Migrations == nil {
		t.Errorf("the auditor sees storage %v, migrations %v", auditor.Storage, auditor.Migrations)
	}
	if len(auditor.Policies) != len(admin.Policies) || len(auditor.Functions) != len(admin.Functions) || len(auditor.Roles) != len(admin.Roles) {
		t.Error("the auditor sees less of the catalog than a superuser")
	}
}
