-- Realtime's own tables, beside the application's.
\set owner `printf %s "${POSTGRES_USER:-supabase_admin}"`

create schema if not exists _realtime;
alter schema _realtime owner to :"owner";
