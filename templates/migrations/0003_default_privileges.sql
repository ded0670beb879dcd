-- What postgres and supabase_admin create in an exposed schema is not granted to
-- anon and authenticated by itself any more: a migration says who may use it.
-- Supabase's image grants everything to them; its hosted platform has stopped
-- doing so (https://supabase.com/changelog/45329). service_role keeps its grants:
-- it is the server's own key. Existing objects are left as they are.
do $$
declare
    owner text;
    target text;
    kind text;
begin
    for owner, target in
        select r.rolname, n.nspname
        from pg_roles r, pg_namespace n
        where r.rolname in ('postgres', 'supabase_admin')
            and n.nspname = any (string_to_array(current_setting('holdfast.exposed_schemas'), ','))
            -- Schemas that services keep for themselves.
            and n.nspname not in ('auth', 'storage', 'realtime', 'graphql', 'graphql_public', 'extensions', 'vault', 'net', 'cron')
    loop
        foreach kind in array array['tables', 'sequences', 'functions'] loop
            execute format('alter default privileges for role %I in schema %I revoke all on %s from anon, authenticated', owner, target, kind);
        end loop;
    end loop;
end $$;

-- PostgreSQL lets everyone execute a new function. Through the API that is an
-- open endpoint, so postgres's functions need a grant. Not for supabase_admin: it
-- owns the extensions, whose functions column defaults rely on.
alter default privileges for role postgres revoke execute on functions from public;
