package access

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast/internal/lab/pgtest"
	"holdfast/verify"
	"holdfast/verify/baseline"
	"holdfast/verify/collect/database"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

// former is what the cases change.
const former = `
create table public.invoices (id int primary key, owner uuid, org int);
alter table public.invoices enable row level security;
create policy own on public.invoices to authenticated using (owner = (select auth.uid()));
create policy org on public.invoices as restrictive to authenticated using (org = 1);
create table public.plans (id int); alter table public.plans enable row level security;
create table public.notes (owner uuid, org int); alter table public.notes enable row level security;
create policy own on public.notes to authenticated using (owner = (select auth.uid()));
create view public.mine with (security_invoker) as select * from public.notes where org = 2;
insert into storage.buckets (id, name) values ('papers', 'papers');
create table public.partly (id int, secret text); revoke all on public.partly from anon, authenticated, service_role; grant select (id) on public.partly to anon, authenticated;
create function public.f() returns int language sql return 1;
create function public.closed() returns int language sql return 1; revoke execute on function public.closed() from public, anon, authenticated, service_role;
`

func TestEachChangeOfAccessIsFoundAndJudged(t *testing.T) {
	db := pgtest.New(t)
	conn := db.Connect(t, "postgres")
	// Roles are the cluster's, not the database's.
	admin := db.Connect(t, "supabase_admin")
	exec(t, admin, "create role clerk; grant clerk to authenticator; grant usage on schema public to clerk")
	t.Cleanup(func() { _, _ = admin.Exec(context.Background(), "drop owned by clerk; drop role clerk") })
	exec(t, conn, former)
	before := collect(t, conn)
	for _, c := range []struct {
		name, sql string
		want      []string // "!" marks a widening
	}{
		{"nothing", "create index on public.invoices (owner); alter table public.invoices add note text", nil},
		{"filter gone", "alter policy own on public.invoices using (true); drop policy org on public.invoices", []string{
			"!public.invoices: authenticated SELECT filtered → everything", "!public.invoices: authenticated INSERT filtered → everything",
			"!public.invoices: authenticated UPDATE filtered → everything", "!public.invoices: authenticated DELETE filtered → everything"}},
		{"one more policy", "create policy more on public.invoices for select to authenticated using (id = 7)", []string{"!public.invoices: authenticated SELECT filtered otherwise"}},
		{"one policy less", "create policy more on public.invoices for select to authenticated using (id = 7); drop policy own on public.invoices", []string{
			"!public.invoices: authenticated SELECT filtered otherwise", "public.invoices: authenticated INSERT filtered → nothing",
			"public.invoices: authenticated UPDATE filtered → nothing", "public.invoices: authenticated DELETE filtered → nothing"}},
		{"narrower", "alter policy own on public.invoices using (owner = (select auth.uid()) and id > 5)", []string{
			"public.invoices: authenticated SELECT filtered otherwise", "public.invoices: authenticated INSERT filtered otherwise",
			"public.invoices: authenticated UPDATE filtered otherwise", "public.invoices: authenticated DELETE filtered otherwise"}},
		{"a restriction less", "drop policy org on public.invoices", []string{
			"!public.invoices: authenticated SELECT filtered otherwise", "!public.invoices: authenticated INSERT filtered otherwise",
			"!public.invoices: authenticated UPDATE filtered otherwise", "!public.invoices: authenticated DELETE filtered otherwise"}},
		{"a restriction more", "create policy yet on public.invoices as restrictive for delete using (id = 1)", []string{"public.invoices: authenticated DELETE filtered otherwise"}},
		{"policy added", "create policy read on public.plans for select to anon using (id = 1)", []string{"!public.plans: anon SELECT nothing → filtered: (id = 1)"}},
		{"revoked", "revoke select, truncate on public.plans from anon", []string{
			"public.plans: anon SELECT nothing → denied", "public.plans: anon TRUNCATE everything → denied"}},
		{"rls off", "alter table public.plans disable row level security; revoke all on public.plans from anon", []string{
			"public.plans: anon SELECT nothing → denied", "public.plans: anon INSERT nothing → denied", "public.plans: anon UPDATE nothing → denied", "public.plans: anon DELETE nothing → denied", "public.plans: anon TRUNCATE everything → denied",
			"!public.plans: authenticated SELECT nothing → everything", "!public.plans: authenticated INSERT nothing → everything", "!public.plans: authenticated UPDATE nothing → everything", "!public.plans: authenticated DELETE nothing → everything"}},
		{"view", "create or replace view public.mine with (security_invoker) as select * from public.notes where org = 3", []string{
			"!public.mine: authenticated SELECT filtered otherwise", "!public.mine: service_role SELECT filtered otherwise"}},
		{"policy behind a view", "alter policy own on public.notes using (owner = (select gen_random_uuid()))", []string{
			"!public.mine: authenticated SELECT filtered otherwise", "!public.mine: authenticated INSERT filtered otherwise", "!public.mine: authenticated UPDATE filtered otherwise", "!public.mine: authenticated DELETE filtered otherwise",
			"!public.notes: authenticated SELECT filtered otherwise", "!public.notes: authenticated INSERT filtered otherwise", "!public.notes: authenticated UPDATE filtered otherwise", "!public.notes: authenticated DELETE filtered otherwise"}},
		{"more columns", "grant select (id, secret) on public.partly to anon; grant select on public.partly to authenticated", []string{
			"!public.partly: anon SELECT everything → everything (columns: id → id, secret)", "!public.partly: authenticated SELECT everything → everything (columns: id → all)"}},
		{"fewer columns", "revoke select (id) on public.partly from anon", []string{"public.partly: anon SELECT everything → denied"}},
		{"a role of the project", "grant select on public.plans to clerk; create policy clerk on public.plans for select to clerk using (id = 1)", []string{"!public.plans: clerk SELECT denied → filtered"}},
		{"a role of the project, unplanned", "create function public.g() returns int language sql return 1; revoke execute on function public.g() from public, anon, authenticated, service_role; grant execute on function public.closed(), public.g() to clerk", []string{
			"!public.closed(): clerk EXECUTE denied → everything", "public.g(): clerk EXECUTE absent → everything"}},
		{"published", "create publication shared for table public.invoices", []string{"public.invoices: shared PUBLISH denied → everything"}},
		{"bucket", "update storage.buckets set public = true; insert into storage.buckets (id, name, public) values ('new', 'new', true)", []string{
			"bucket new: anon DOWNLOAD absent → everything", "!bucket papers: anon DOWNLOAD denied → everything"}},
		{"function granted", "grant execute on function public.closed() to anon", []string{"!public.closed(): anon EXECUTE denied → everything"}},
		{"function now definer", "alter function public.f() security definer", []string{
			"!public.f(): anon EXECUTE as its owner (security definer), formerly as the caller", "!public.f(): authenticated EXECUTE as its owner (security definer), formerly as the caller", "!public.f(): clerk EXECUTE as its owner (security definer), formerly as the caller"}},
		{"new table", "create table public.fresh (id int); alter table public.fresh enable row level security; revoke all on public.fresh from anon, service_role; revoke insert, update, delete, truncate on public.fresh from authenticated", []string{"public.fresh: authenticated SELECT absent → nothing"}},
		{"made anew", "drop table public.plans; create table public.plans (id int); revoke all on public.plans from anon, service_role; revoke insert, update, delete, truncate on public.plans from authenticated", []string{
			"public.plans: anon SELECT nothing → denied", "public.plans: anon INSERT nothing → denied", "public.plans: anon UPDATE nothing → denied", "public.plans: anon DELETE nothing → denied", "public.plans: anon TRUNCATE everything → denied",
			"!public.plans: authenticated SELECT nothing → everything", "public.plans: authenticated INSERT nothing → denied", "public.plans: authenticated UPDATE nothing → denied", "public.plans: authenticated DELETE nothing → denied", "public.plans: authenticated TRUNCATE everything → denied",
			"public.plans: service_role SELECT everything → denied", "public.plans: service_role INSERT everything → denied", "public.plans: service_role UPDATE everything → denied", "public.plans: service_role DELETE everything → denied", "public.plans: service_role TRUNCATE everything → denied"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tx, err := conn.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Rollback(t.Context())
			exec(t, conn, c.sql)
			var got []string
			for _, change := range Compare(before, collect(t, tx)) {
				line := Line(change)
				if change.Widening {
					line = "!" + line
				}
				got = append(got, line)
			}
			if !slices.EqualFunc(got, c.want, strings.HasPrefix) {
				t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(c.want, "\n  "))
			}
		})
	}
}

func TestAWideningIsAFindingUnlessItIsAllowed(t *testing.T) {
	rules, err := baseline.Load(nil, "")
	if err != nil {
		t.Fatal(err)
	}
	db := pgtest.New(t)
	conn := db.Connect(t, "postgres")
	exec(t, conn, former)
	before := collect(t, conn)
	exec(t, conn, "create policy more on public.invoices for select to authenticated using (id = 7)")
	found := func(allow ...string) (on []string, unused int) {
		facts := collect(t, conn)
		facts.AccessChanges = Compare(before, facts)
		var list []Allowance
		for _, text := range allow {
			a, err := ParseAllowance(text)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, a)
		}
		unused = len(Allow(facts.AccessChanges, list))
		result := rules.Evaluate(&verify.Facts{Version: verify.Version, Database: facts}, time.Now(), verify.LayerDatabase)
		for _, f := range result.Findings {
			if f.Rule == "access.widened" {
				on = append(on, f.On)
			}
		}
		return on, unused
	}
	if on, _ := found(); !slices.Equal(on, []string{"public.invoices:authenticated:select"}) {
		t.Errorf("found %v", on)
	}
	for _, allow := range []string{"public.invoices:authenticated:select", "public.invoices:*:SELECT", "public.invoices:authenticated:*"} {
		if on, unused := found(allow); len(on) > 0 || unused > 0 {
			t.Errorf("%s: found %v", allow, on)
		}
	}
	for _, allow := range []string{"public.invoices:anon:select", "public.invoice:authenticated:select", "public.invoices:authenticated:insert"} {
		if on, unused := found(allow); len(on) != 1 || unused != 1 {
			t.Errorf("%s: found %v, unused %d", allow, on, unused)
		}
	}
}

func TestAMistypedAllowanceIsRefused(t *testing.T) {
	for _, text := range []string{"", "public.invoices", "public.invoices:anon", "invoices:anon:select", "public.*:anon:select", "public.invoices::select", "public.invoices:anon:read", "papers:anon:download"} {
		if a, err := ParseAllowance(text); err == nil {
			t.Errorf("%q is taken for %+v", text, a)
		}
	}
	if _, err := ParseAllowance("bucket papers:anon:download"); err != nil {
		t.Error(err)
	}
	if a, err := ParseAllowance("public.total(integer, text):anon:execute"); err != nil || a.Object != "public.total(integer, text)" {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestTheTableShowsEachObjectAndRole(t *testing.T) {
	db := pgtest.New(t)
	conn := db.Connect(t, "postgres")
	exec(t, conn, former)
	var b strings.Builder
	if err := Table(&b, Cells(collect(t, conn))); err != nil {
		t.Fatal(err)
	}
	squeezed := strings.Join(strings.Fields(b.String()), " ")
	for _, line := range []string{
		"object           role           select      insert      update      delete",
		"public.f()       anon           execute (function)",
		"storage.objects anon nothing nothing nothing nothing",
		"realtime.messages service_role everything everything everything",
		"public.invoices  anon           nothing     nothing     nothing     nothing     TRUNCATE too",
		"public.invoices  service_role   everything  everything  everything  everything  TRUNCATE too",
		"public.mine      authenticated  filtered    filtered    filtered    filtered    where ",
	} {
		if !strings.Contains(squeezed, strings.Join(strings.Fields(line), " ")) {
			t.Errorf("no line %q in\n%s", line, b.String())
		}
	}
}

func exec(t testing.TB, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
		t.Fatalf("%s\n%v", sql, err)
	}
}

func collect(t testing.TB, q database.Querier) *verify.Database {
	t.Helper()
	facts, err := database.Collect(t.Context(), q, database.Options{Schemas: []string{"public"}})
	if err != nil {
		t.Fatal(err)
	}
	return facts
}
