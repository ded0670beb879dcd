-- Reads what services keep in tables that may not exist. The answer goes into a
-- setting of this transaction: a DO block returns nothing, and a function would
-- have to be created.
do $collect$
declare
    storage json;
    versions json := '[]';
    baseline json := '{}';
    known boolean := true;
begin
    -- Storage: the table itself where its row level security does not hide the
    -- rows, or what the baseline migrations made for the auditor.
    if not exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'storage' and c.relname = 'buckets') then
        storage := json_build_object('present', false, 'buckets', '[]'::json);
    else
        begin
            if (select rolsuper or rolbypassrls from pg_roles where rolname = current_user) then
                execute $query$
                    select json_agg(json_build_object('id', id, 'public', public, 'file_size_limit', file_size_limit, 'allowed_mime_types', allowed_mime_types) order by id)
                    from storage.buckets
                $query$ into storage;
            else
                execute 'select holdfast.storage_buckets()' into storage;
            end if;
            storage := json_build_object('present', true, 'buckets', coalesce((
                select json_agg(json_build_object('name', b ->> 'id', 'public', coalesce((b ->> 'public')::boolean, false),
                    'size_limit', coalesce((b ->> 'file_size_limit')::bigint, 0), 'mime_types', coalesce(nullif((b -> 'allowed_mime_types')::text, 'null')::json, '[]'::json)))
                from json_array_elements(storage) b), '[]'::json));
        exception when insufficient_privilege or undefined_function or undefined_table or undefined_column or invalid_schema_name then
            storage := null; -- not observed
        end;
    end if;

    -- The histories of migrations.
    begin
        if exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'supabase_migrations' and c.relname = 'schema_migrations') then
            execute $query$ select coalesce(json_agg(version order by version collate "C"), '[]') from supabase_migrations.schema_migrations $query$ into versions;
        end if;
        if exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'holdfast' and c.relname = 'migrations') then
            execute $query$ select coalesce(json_object_agg(version, checksum), '{}') from holdfast.migrations $query$ into baseline;
        end if;
    exception when insufficient_privilege then
        known := false;
    end;
    perform set_config('holdfast.services', json_build_object('storage', storage,
        'migrations', case when known then json_build_object('versions', versions, 'baseline', baseline) end)::text, true);
end
$collect$
