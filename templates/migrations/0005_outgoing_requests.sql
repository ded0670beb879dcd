-- pg_net lets SQL send HTTP requests from inside the server's network, and
-- Supabase's image lets anon and authenticated call it. Webhooks don't need
-- that: their trigger function runs as its owner.
do $$
begin
    if exists (select from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'pg_net')
        and exists (select from pg_namespace where nspname = 'net')
    then
        revoke usage on schema net from public, anon, authenticated;
    end if;
end $$;
