-- The role that the verifier and the audit server log in as. It reads the
-- catalog and plans queries as the API roles would run them, and sees no row of
-- any table. What it may do is granted here and nowhere else.
do $$
begin
    if not exists (select from pg_roles where rolname = 'holdfast_auditor') then
        create role holdfast_auditor;
    end if;
    -- The verifier is computed by the client: no password is ever in SQL.
    execute format(
        'alter role holdfast_auditor login noinherit nosuperuser nocreatedb nocreaterole noreplication nobypassrls connection limit 5 password %L',
        current_setting('holdfast.auditor_verifier'));
end $$;

-- Guards against accidents; what holds against intent is that nothing is granted.
alter role holdfast_auditor set default_transaction_read_only = on;
alter role holdfast_auditor set statement_timeout = '60s';
alter role holdfast_auditor set lock_timeout = '5s';
alter role holdfast_auditor set idle_in_transaction_session_timeout = '60s';
alter role holdfast_auditor set search_path = pg_catalog;

revoke all on schema holdfast from public;
grant usage on schema holdfast to holdfast_auditor;
grant select on holdfast.migrations to holdfast_auditor;

-- Versions alone: the statements of a migration may hold data.
do $$
begin
    if to_regclass('supabase_migrations.schema_migrations') is not null then
        grant usage on schema supabase_migrations to holdfast_auditor;
        grant select (version) on supabase_migrations.schema_migrations to holdfast_auditor;
        if exists (select from pg_attribute where attrelid = 'supabase_migrations.schema_migrations'::regclass and attname = 'name' and not attisdropped) then
            grant select (name) on supabase_migrations.schema_migrations to holdfast_auditor;
        end if;
    end if;
end $$;
