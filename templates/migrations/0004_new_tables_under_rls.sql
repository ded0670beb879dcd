-- A table that is created in an exposed schema gets row level security at once:
-- by Studio, psql, the Supabase CLI or anything else. In a migration run by
-- Holdfast (holdfast.migration = on) it does not: there the gate refuses the
-- table instead, so that the migration's text says what the database does.
--
-- The schemas are written into the function, because it runs as whoever creates
-- the table and must not depend on what that role may read.
do $create$
begin
    execute format($function$
        create or replace function holdfast.guard_new_tables() returns event_trigger
        language plpgsql set search_path = pg_catalog, pg_temp
        as $body$
        declare
            created record;
        begin
            if current_setting('holdfast.migration', true) = 'on' then
                return;
            end if;
            for created in
                select ddl.objid::regclass as relation
                from pg_event_trigger_ddl_commands() ddl
                join pg_class c on c.oid = ddl.objid
                where ddl.object_type = 'table' and not ddl.in_extension
                    and c.relkind in ('r', 'p') and not c.relrowsecurity
                    and ddl.schema_name = any (string_to_array(%L, ','))
            loop
                execute format('alter table %%s enable row level security', created.relation);
                raise notice 'holdfast: row level security is on for %%; add policies for who may see its rows', created.relation;
            end loop;
        end
        $body$
    $function$, array_to_string(array(
        select unnest(string_to_array(current_setting('holdfast.exposed_schemas'), ','))
        except
        select unnest(array['auth', 'storage', 'realtime', 'graphql', 'graphql_public', 'extensions', 'vault', 'net', 'cron'])
        order by 1), ','));

    -- Event triggers need no EXECUTE to fire; nobody else has a use for it.
    revoke all on function holdfast.guard_new_tables() from public;

    if not exists (select from pg_event_trigger where evtname = 'holdfast_guard_new_tables') then
        create event trigger holdfast_guard_new_tables on ddl_command_end
            when tag in ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO')
            execute function holdfast.guard_new_tables();
    end if;
    alter event trigger holdfast_guard_new_tables enable;
end $create$;
