package lint

import (
	"fmt"
	"strings"
	"testing"
	"time"

	pgquery "github.com/wasilibs/go-pgquery"

	"holdfast/stacks/migrate"
)

// large makes a project of n migrations of about size bytes each: tables with
// row level security and policies, indexes, functions, a block, data.
func large(n, size int) []migrate.File {
	files := make([]migrate.File, n)
	for i := range files {
		var b strings.Builder
		for part := 0; b.Len() < size; part++ {
			t := fmt.Sprintf("public.t_%d_%d", i, part)
			fmt.Fprintf(&b, `-- Table %[1]s, as migrations are written: with comments.
create table %[1]s (
  id bigint generated always as identity primary key,
  owner uuid not null default auth.uid() references auth.users (id) on delete cascade,
  title text not null check (length(title) between 1 and 200), -- as shown
  amount numeric(12, 2) not null default 0,
  created_at timestamptz not null default now()
);
create index on %[1]s (owner, created_at desc) where amount > 0;
alter table %[1]s enable row level security;
grant select, insert, update, delete on %[1]s to authenticated;
create policy "owners read" on %[1]s for select to authenticated using (owner = (select auth.uid()));
create policy "owners write" on %[1]s for update to authenticated
  using (owner = (select auth.uid())) with check (owner = (select auth.uid()) and amount >= 0);
create view public.v_%[2]d_%[3]d with (security_invoker = true) as select owner, sum(amount) as amount from %[1]s group by owner;
create function public.f_%[2]d_%[3]d(since timestamptz) returns numeric language plpgsql stable set search_path = '' as $$
begin
  return (select sum(amount) from %[1]s where created_at > since and owner = auth.uid());
end $$;
insert into %[1]s (owner, title, amount) select gen_random_uuid(), 'row ' || n, n from generate_series(1, 3) n;
`, t, i, part)
			if part == 0 && i > 0 {
				fmt.Fprintf(&b, "alter table public.t_%d_0 add column note_%d text;\n", i-1, i)
			}
			if part == 0 && i%10 == 0 {
				fmt.Fprintf(&b, "do $$ begin if not exists (select from pg_type where typname = 's_%d') then create type public.s_%d as enum ('a', 'b'); end if; end $$;\n", i, i)
			}
		}
		version := fmt.Sprint(20260101000000 + i)
		files[i] = migrate.File{Path: "supabase/migrations/" + version + "_t.sql", Version: version, Name: "t", SQL: b.String()}
	}
	return files
}

// The goal is 5 s for 1,000 files of 5 MB, with the grammar loaded in the same
// process: of which the parser's own share is given.
func BenchmarkLintOfAThousandFiles(b *testing.B) {
	files := large(1000, 5<<10)
	bytes := 0
	for _, f := range files {
		bytes += len(f.SQL)
	}
	started := time.Now()
	migrate.Warm()
	loading := time.Since(started)
	for b.Loop() {
		started := time.Now()
		for _, f := range files {
			if _, err := pgquery.Parse(f.SQL); err != nil {
				b.Fatal(err)
			}
		}
		parsing := time.Since(started)
		started = time.Now()
		r := Check(files, Options{})
		all := time.Since(started)
		if len(r.Failing(High)) > 0 {
			b.Fatal(show(r.Failing(High)))
		}
		b.ReportMetric(float64(bytes)/(1<<20), "MB")
		b.ReportMetric((loading + all).Seconds(), "s/all")
		b.ReportMetric(loading.Seconds(), "s/loading-the-grammar")
		b.ReportMetric(parsing.Seconds(), "s/parser-alone")
		b.ReportMetric(float64(all)/float64(parsing), "×parser")
		if total := loading + all; total > 5*time.Second {
			b.Logf("%s is more than the goal of 5 s", total)
		}
	}
}
