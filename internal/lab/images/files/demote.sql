-- From here on postgres is what it is in a running Supabase: able to do much,
-- and no superuser.
\set password `printf %s "$POSTGRES_PASSWORD"`
alter role supabase_admin password :'password';
grant anon, authenticated, service_role to postgres with admin option;
grant pg_monitor, pg_signal_backend, pg_read_all_data to postgres;
alter role postgres nosuperuser createdb createrole login replication bypassrls;
