\set owner `printf %s "${POSTGRES_USER:-supabase_admin}"`

\connect _supabase
create schema if not exists _supavisor;
alter schema _supavisor owner to :"owner";
\connect postgres
