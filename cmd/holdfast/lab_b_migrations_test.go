//go:build lab

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sql runs statements in the production database as its superuser.
func sql(t *testing.T, statement string) string {
	t.Helper()
	return strings.TrimSpace(on(t, "production", "docker exec -i supabase-db-1 psql -X -U supabase_admin -d postgres -At <<'SQL'\n"+statement+"\nSQL"))
}

func migration(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "supabase", "migrations", name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestB1ATableWithoutRowLevelSecurityIsRefusedAndNothingOfItIsLeft(t *testing.T) {
	dir := variant(t, func(s string) string { return s + "\n" })
	migration(t, dir, "20261001000000_good.sql", "create table public.good (id int primary key);\nalter table public.good enable row level security;\ncreate policy nobody on public.good for select to authenticated using (false);\n")
	migration(t, dir, "20261002000000_invoices.sql", "-- Invoices.\n\ncreate table public.invoices (id int primary key, total numeric);\ngrant select on public.invoices to anon;\n")
	// The linter sees it in the file, before the servers are changed.
	holdfast(t, "plan", "-C", dir).
		want(t, 1, "20261002000000_invoices.sql:3", "public.invoices", "rls.off", "the database was not touched")
	// What it can't see, because it is put together as it runs, the gate sees.
	migration(t, dir, "20261002000000_invoices.sql", "do $$ begin\n  execute format('create table public.%I (id int primary key, total numeric)', 'invoices');\n  execute format('grant select on public.%I to anon', 'invoices');\nend $$;\n")
	holdfast(t, "deploy", "-C", dir, "--yes", "--no-verify").
		want(t, 1, "public.invoices", "rls.enabled", "rolled back")
	if got := sql(t, "select count(*) from pg_class where relname in ('invoices', 'good'); select count(*) from supabase_migrations.schema_migrations where version >= '20261001000000'"); got != "0\n0" {
		t.Errorf("something of the refused migrations is left: %q", got)
	}
	// Mended, the same files go through.
	migration(t, dir, "20261002000000_invoices.sql", "create table public.invoices (id int primary key, owner uuid not null, total numeric);\nalter table public.invoices enable row level security;\ncreate policy own on public.invoices for select to authenticated using (owner = (select auth.uid()));\ngrant select on public.invoices to authenticated;\ncreate index on public.invoices (owner);\n")
	holdfast(t, "deploy", "-C", dir, "--yes", "--no-verify").want(t, 0)
	if got := sql(t, "select count(*) from supabase_migrations.schema_migrations where version >= '20261001000000'"); got != "2" {
		t.Errorf("the history holds %s of 2 migrations", got)
	}
	// From here on the shared folder has them as well.
	for _, name := range []string{"20261001000000_good.sql", "20261002000000_invoices.sql"} {
		text, err := os.ReadFile(filepath.Join(dir, "supabase", "migrations", name))
		if err != nil {
			t.Fatal(err)
		}
		migration(t, stage.dir, name, string(text))
	}
}

func TestB2ASyntaxErrorIsFoundBeforeTheDatabaseIsTouched(t *testing.T) {
	dir := variant(t, func(s string) string { return s + "\n" })
	migration(t, dir, "20261003000000_typo.sql", "select 1;\n\ncreate tabel public.typo (id int);\n")
	holdfast(t, "deploy", "-C", dir, "--yes", "--no-verify").want(t, 1, "20261003000000_typo.sql:3:8", "tabel")
	if got := sql(t, "select count(*) from supabase_migrations.schema_migrations where version = '20261003000000'"); got != "0" {
		t.Error("the broken migration is in the history")
	}
	holdfast(t, "plan", "-C", stage.dir).want(t, 0, "nothing to change")
}

func TestB3TheGatewayLetsInWhoTheShippedFileLetsInAndRowsFollowThePolicies(t *testing.T) {
	sql(t, `insert into public.invoices values (1, '00000000-0000-0000-0000-000000000001', 10), (2, '00000000-0000-0000-0000-000000000002', 20) on conflict do nothing`)
	// curl is not on the server; the request is made over the published loopback port.
	request := func(path, headers string) string {
		return on(t, "production", `exec 3<>/dev/tcp/127.0.0.1/8000; printf 'GET `+path+` HTTP/1.1\r\nHost: api.lab.test\r\nConnection: close\r\n`+headers+`\r\n' >&3; cat <&3`)
	}
	if got := request("/rest/v1/invoices", ""); !strings.Contains(got, " 401 ") {
		t.Errorf("no key: %s", got)
	}
	if got := request("/rest/v1/invoices", `apikey: wrong\r\n`); !strings.Contains(got, " 401 ") {
		t.Errorf("wrong key: %s", got)
	}
	anon := on(t, "production", `grep -h '^SUPABASE_ANON_KEY=' /opt/holdfast/current/supabase/secrets/*.env | head -1 | cut -d= -f2- | tr -d "'\""`)
	service := on(t, "production", `grep -h '^SUPABASE_SERVICE_KEY=' /opt/holdfast/current/supabase/secrets/*.env | head -1 | cut -d= -f2- | tr -d "'\""`)
	anon, service = strings.TrimSpace(anon), strings.TrimSpace(service)
	if got := request("/rest/v1/invoices?select=id", `apikey: `+anon+`\r\nAuthorization: Bearer `+anon+`\r\n`); strings.Contains(got, `"id"`) {
		t.Errorf("anon reads invoices: %s", got)
	}
	if got := request("/rest/v1/invoices?select=id", `apikey: `+service+`\r\nAuthorization: Bearer `+service+`\r\n`); !strings.Contains(got, `"id"`) {
		t.Errorf("service_role reads nothing: %s", got)
	}
}

func TestB4AWideningIsRefusedUntilItIsAllowedAndTheRestOfTheMigrateVerbsWork(t *testing.T) {
	dir := variant(t, func(s string) string { return s + "\n" })
	const version = "20261004000000"
	migration(t, dir, version+"_shared.sql", "create policy free on public.invoices for select to authenticated using (total = 0);\ncreate index concurrently invoices_total on public.invoices (total);\n")
	holdfast(t, "migrate", "up", "-C", dir, "--dry-run").
		want(t, 1, "public.invoices: authenticated SELECT filtered otherwise", "access.widened", "--allow-widening public.invoices:authenticated:select", "nothing of the rehearsal was kept")
	holdfast(t, "migrate", "up", "-C", dir).want(t, 1, "access.widened", "nothing of this migration was kept")
	if got := sql(t, "select count(*) from pg_policy where polname = 'free'"); got != "0" {
		t.Error("the refused policy is there")
	}
	holdfast(t, "migrate", "up", "-C", dir, "--allow-widening", "public.invoices:authenticated:select").
		want(t, 0, "(allowed)", "CREATE INDEX CONCURRENTLY runs alone", "applied 1")
	holdfast(t, "migrate", "access", "-C", dir).want(t, 0, "public.invoices", "storage.objects", "where ")
	migration(t, dir, version+"_shared.sql", "select 'another';\n")
	holdfast(t, "migrate", "diff-history", "-C", dir).want(t, 2, "-create policy free", "+select 'another'")

	// The pair goes back to what the shared folder says.
	sql(t, "drop policy free on public.invoices; drop index public.invoices_total;")
	holdfast(t, "migrate", "status", "-C", stage.dir).want(t, 0, version+"  in the database only")
	holdfast(t, "migrate", "repair", "-C", stage.dir, "--status", "reverted", version).want(t, 0, "reverted")
	holdfast(t, "plan", "-C", stage.dir).want(t, 0, "nothing to change")
}
