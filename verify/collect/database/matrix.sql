-- Plans one query a verb for each relation of holdfast.relations as each role of
-- holdfast.roles. The answers go into a setting of this transaction: a DO block
-- returns nothing, and a function would have to be created.
do $collect$
declare
    schemas text[] := current_setting('holdfast.schemas')::text[];
    relations oid[] := current_setting('holdfast.relations')::oid[];
    before text := current_setting('role');
    can_become boolean := current_setting('server_version_num')::int >= 160000;
    api_role text;
    relation record;
    verb text;
    writable name;
    query text;
    plan json;
    cells text[] := '{}';
    direct boolean;
    planned boolean;
    columns json;
begin
    foreach api_role in array current_setting('holdfast.roles')::text[] loop
        if not exists (select from pg_roles where rolname = api_role) then
            continue; -- reported by the reader
        end if;
        direct := pg_has_role(current_user, api_role, case when can_become then 'set' else 'member' end);
        -- Roles of the project that this one may not become: what their privileges
        -- and policies say is told by the catalog.
        planned := direct or api_role in ('anon', 'authenticated', 'service_role');
        perform set_config('request.jwt.claims', json_build_object('role', api_role, 'sub', gen_random_uuid())::text, true);
        -- Functions that the planner evaluates must find what a request would.
        perform set_config('search_path', array_to_string(array(select quote_ident(s) from unnest(schemas || 'public'::text || 'extensions'::text) s), ', '), true);
        if direct then
            perform set_config('role', api_role, true);
        end if;
        for relation in
            select c.oid, n.nspname as schema, c.relname as name, c.relkind as kind
            from pg_class c join pg_namespace n on n.oid = c.relnamespace
            where c.oid = any (relations)
            order by n.nspname, c.relname
        loop
            begin
                writable := null;
                if direct then
                    -- A column that this role may write, so that a grant on some columns counts.
                    select a.attname into writable from pg_attribute a
                    where a.attrelid = relation.oid and a.attnum > 0 and not a.attisdropped
                    order by has_column_privilege(api_role, relation.oid, a.attnum, 'update') desc, a.attnum
                    limit 1;
                end if;
                foreach verb in array array['select', 'insert', 'update', 'delete'] loop
                    columns := null;
                    if verb <> 'delete' and not has_table_privilege(api_role, relation.oid, verb) then
                        select json_agg(a.attname order by a.attname) into columns from pg_attribute a
                        where a.attrelid = relation.oid and a.attnum > 0 and not a.attisdropped and has_column_privilege(api_role, relation.oid, a.attnum, verb);
                    end if;
                    -- Planning a query on a foreign table may call its server, so the
                    -- privilege alone is looked at; nothing writes to a materialized view.
                    if relation.kind = 'f' or relation.kind = 'm' and verb <> 'select' or not planned then
                        cells := cells || json_build_object('schema', relation.schema, 'name', relation.name, 'role', api_role, 'verb', verb, 'columns', columns,
                            'state', case when (relation.kind <> 'm' or verb = 'select') and has_schema_privilege(api_role, relation.schema, 'usage')
                                and (has_table_privilege(api_role, relation.oid, verb) or verb <> 'delete' and has_any_column_privilege(api_role, relation.oid, verb)) then '' else '42501' end)::text;
                        continue;
                    end if;
                    begin
                        if direct then
                            -- "where true" satisfies pg-safeupdate, which forbids its absence.
                            query := 'explain (format json, costs off, verbose) ' || case verb
                                when 'select' then format('select 1 from %I.%I', relation.schema, relation.name)
                                when 'insert' then format('insert into %I.%I default values', relation.schema, relation.name)
                                when 'update' then format('update %I.%I set %I = default where true', relation.schema, relation.name, writable)
                                when 'delete' then format('delete from %I.%I where true', relation.schema, relation.name)
                            end;
                            -- A table without columns has nothing to update.
                            if query is null then
                                raise insufficient_privilege;
                            end if;
                            execute query into plan;
                        else
                            execute format('select holdfast.explain_as_%s($1, $2)', api_role) into plan using relation.oid::regclass, verb;
                        end if;
                        cells := cells || json_build_object('schema', relation.schema, 'name', relation.name, 'role', api_role, 'verb', verb, 'columns', columns, 'state', '', 'plan', plan)::text;
                    exception
                    when lock_not_available or deadlock_detected or insufficient_resources then
                        raise; -- says nothing about access: the whole observation is tried again
                    when others then
                        if not direct and sqlerrm ~ 'schema "?holdfast|function (holdfast\.)?explain_as_' then
                            raise exception 'the role % may neither become % nor call holdfast.explain_as_%', current_user, api_role, api_role;
                        end if;
                        cells := cells || json_build_object('schema', relation.schema, 'name', relation.name, 'role', api_role, 'verb', verb, 'state', sqlstate, 'message', sqlerrm)::text;
                    end;
                end loop;
                -- A planned relation stays locked until its subtransaction is rolled
                -- back, and the server has room for some thousand locks.
                raise exception using errcode = 'HF000';
            exception when sqlstate 'HF000' then
                null; -- what was put into variables stays
            end;
        end loop;
        perform set_config('role', before, true);
    end loop;
    perform set_config('search_path', '', true);
    perform set_config('holdfast.matrix', '[' || array_to_string(cells, ',') || ']', true);
end
$collect$
