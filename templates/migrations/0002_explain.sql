-- How PostgreSQL would run a query on a relation as an API role: the plan, with
-- the filters of the policies, or the refusal. Nothing is executed.
--
-- A role that could SET ROLE service_role could read everything, so the auditor
-- is no member of the API roles. Instead each of these functions belongs to an
-- API role and runs as it (SECURITY DEFINER), with a statement that the function
-- builds from a relation and a verb.
do $create$
declare
    api_role text;
begin
    foreach api_role in array array['anon', 'authenticated', 'service_role'] loop
        execute format($function$
            create or replace function holdfast.explain_as_%1$s(relation regclass, verb text) returns json
            language plpgsql security definer set search_path = pg_catalog, pg_temp
            as $body$
            declare
                writable name;
                plan json;
            begin
                -- A column that this role may write, so that a grant on some columns counts.
                select attname into writable from pg_attribute
                where attrelid = relation and attnum > 0 and not attisdropped
                order by has_column_privilege(current_user, relation, attnum, 'update') desc, attnum
                limit 1;
                execute 'explain (format json, costs off, verbose) ' || case verb
                    when 'select' then format('select 1 from %%s', relation)
                    when 'insert' then format('insert into %%s default values', relation)
                    when 'update' then format('update %%s set %%I = default where true', relation, writable)
                    when 'delete' then format('delete from %%s where true', relation)
                end into plan;
                return plan;
            end
            $body$
        $function$, api_role);
        execute format('alter function holdfast.explain_as_%1$s(regclass, text) owner to %1$s', api_role);
        execute format('revoke all on function holdfast.explain_as_%1$s(regclass, text) from public, anon, authenticated, service_role', api_role);
        execute format('grant execute on function holdfast.explain_as_%1$s(regclass, text) to holdfast_auditor', api_role);
    end loop;
end $create$;

-- The storage buckets' settings, which row level security hides from the auditor.
create or replace function holdfast.storage_buckets() returns json
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $body$
declare
    buckets json;
begin
    if to_regclass('storage.buckets') is null then
        return null;
    end if;
    execute $query$
        select coalesce(json_agg(json_build_object('id', id, 'public', coalesce(public, false),
            'file_size_limit', coalesce(file_size_limit, 0), 'allowed_mime_types', coalesce(allowed_mime_types, '{}')) order by id), '[]')
        from storage.buckets
    $query$ into buckets;
    return buckets;
end
$body$;
revoke all on function holdfast.storage_buckets() from public;
grant execute on function holdfast.storage_buckets() to holdfast_auditor;
