-- Notes belong to who wrote them; nobody else sees them.
create table public.notes (
  id bigint generated always as identity primary key,
  author uuid not null default auth.uid() references auth.users (id) on delete cascade,
  body text not null check (length(body) <= 10000),
  created_at timestamptz not null default now()
);

-- Policies filter by author: without the index each request reads the table.
create index notes_author on public.notes (author);

alter table public.notes enable row level security;

grant select, insert, update, delete on public.notes to authenticated;

-- The subselect lets the planner ask for the caller once, not once a row.
create policy "authors read their notes" on public.notes
  for select to authenticated using (author = (select auth.uid()));
create policy "authors write their notes" on public.notes
  for insert to authenticated with check (author = (select auth.uid()));
create policy "authors change their notes" on public.notes
  for update to authenticated
  using (author = (select auth.uid())) with check (author = (select auth.uid()));
create policy "authors remove their notes" on public.notes
  for delete to authenticated using (author = (select auth.uid()));
