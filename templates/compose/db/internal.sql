-- The database that the connection pooler keeps its own tables in.
\set owner `printf %s "${POSTGRES_USER:-supabase_admin}"`

create database _supabase with owner :"owner";
