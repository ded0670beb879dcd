-- The catalog as one JSON document; its keys are those of verify.Database.
-- $1: the exposed schemas, text[].
with
settings as (
    -- Services keep these for themselves; rules about the project leave them out.
    select array['auth', 'storage', 'realtime', '_realtime', '_analytics', '_supavisor', '_supabase', 'supabase_functions',
        'supabase_migrations', 'extensions', 'graphql', 'graphql_public', 'vault', 'net', 'cron', 'pgsodium', 'pgsodium_masks',
        'pgbouncer', 'pgmq', 'pgtle', 'topology', 'tiger', 'tiger_data', 'holdfast'] as services,
        -- Extensions that reach other machines, the server's files or its clock.
        array['dblink', 'http', 'pg_net', 'pg_cron', 'postgres_fdw', 'file_fdw', 'adminpack', 'pg_file_settings', 'plpython3u', 'plperlu', 'wrappers'] as outgoing
),
spaces as (
    select n.oid, n.nspname as name, n.nspowner, n.nspname = any ($1::text[]) as exposed, n.nspname = any (s.services) as service
    from pg_namespace n, settings s
    where n.nspname not in ('pg_catalog', 'information_schema') and n.nspname not like 'pg\_toast%' and n.nspname not like 'pg\_temp%'
),
api as (select oid, rolname as name from pg_roles where rolname in ('anon', 'authenticated', 'service_role')),
members as (
    select e.classid, e.objid, x.extname as name
    from pg_depend e join pg_extension x on x.oid = e.refobjid
    where e.refclassid = 'pg_extension'::regclass and e.deptype = 'e'
),
relations as (
    select c.oid, n.name as schema, c.relname as name, c.relkind, c.relowner, n.exposed, n.service, c.relrowsecurity, c.relforcerowsecurity,
        c.relreplident, c.relispartition, c.reloptions, pg_get_userbyid(c.relowner) as owner,
        coalesce((select m.name from members m where m.classid = 'pg_class'::regclass and m.objid = c.oid), '') as extension,
        case c.relkind when 'r' then 'table' when 'p' then 'partitioned' when 'f' then 'foreign' when 'v' then 'view' else 'materialized' end as kind
    from pg_class c join spaces n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'f', 'v', 'm')
),
grants as (
    select r.oid, jsonb_build_object('anon', '[]'::jsonb, 'authenticated', '[]'::jsonb, 'service_role', '[]'::jsonb) || jsonb_object_agg(a.name, (
        select coalesce(jsonb_agg(p order by i), '[]')
        from unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) with ordinality as privilege (p, i)
        where has_table_privilege(a.oid, r.oid, p)
            or p in ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES') and has_any_column_privilege(a.oid, r.oid, p)
    )) as grants
    from relations r, api a
    group by r.oid
),
foreign_keys as (
    select k.conrelid, jsonb_agg(jsonb_build_object(
        'name', k.conname,
        'columns', (select jsonb_agg(a.attname order by i) from unnest(k.conkey) with ordinality as c (n, i) join pg_attribute a on a.attrelid = k.conrelid and a.attnum = c.n),
        'target', t.relname_full,
        'target_primary', exists (select from pg_constraint p where p.conrelid = k.confrelid and p.contype = 'p' and p.conkey @> k.confkey and p.conkey <@ k.confkey),
        'on_delete', case k.confdeltype when 'a' then 'no action' when 'r' then 'restrict' when 'c' then 'cascade' when 'n' then 'set null' else 'set default' end,
        'indexed', exists (
            select from pg_index x
            where x.indrelid = k.conrelid and x.indpred is null
                and (x.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey and (x.indkey::int2[])[0:cardinality(k.conkey) - 1] <@ k.conkey)
        ) order by k.conname) as keys
    from pg_constraint k
    join lateral (select n.nspname || '.' || c.relname as relname_full from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = k.confrelid) t on true
    where k.contype = 'f'
    group by k.conrelid
),
tables as (
    select coalesce(jsonb_agg(jsonb_build_object(
        'schema', r.schema, 'name', r.name, 'kind', r.kind, 'owner', r.owner, 'extension', r.extension, 'exposed', r.exposed,
        'rls_enabled', r.relrowsecurity, 'rls_forced', r.relforcerowsecurity, 'grants', g.grants,
        'policies', (select coalesce(jsonb_agg(p.polname order by p.polname), '[]') from pg_policy p where p.polrelid = r.oid),
        'columns', case when r.service and not r.exposed then '[]' else (
            select coalesce(jsonb_agg(jsonb_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'not_null', a.attnotnull) order by a.attnum), '[]')
            from pg_attribute a where a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped) end,
        'primary_key', exists (select from pg_constraint k where k.conrelid = r.oid and k.contype = 'p'),
        'parent', coalesce(p.name, ''), 'parent_rls', coalesce(p.rls, false),
        'replica_identity', case r.relreplident when 'd' then 'default' when 'f' then 'full' when 'i' then 'index' else 'nothing' end,
        'published_by', (select coalesce(jsonb_agg(t.pubname order by t.pubname), '[]') from pg_publication_tables t where t.schemaname = r.schema and t.tablename = r.name),
        'foreign_keys', coalesce((select keys from foreign_keys k where k.conrelid = r.oid), '[]')
        ) order by r.schema, r.name), '[]') as list
    from relations r
    join grants g on g.oid = r.oid
    left join lateral (
        select n.nspname || '.' || c.relname as name, c.relrowsecurity as rls
        from pg_inherits i join pg_class c on c.oid = i.inhparent join pg_namespace n on n.oid = c.relnamespace
        where i.inhrelid = r.oid and r.relispartition
    ) p on true
    where r.relkind in ('r', 'p', 'f')
),
views as (
    select coalesce(jsonb_agg(jsonb_build_object(
        'schema', r.schema, 'name', r.name, 'kind', r.kind, 'owner', r.owner, 'extension', r.extension, 'exposed', r.exposed,
        'security_invoker', coalesce((select (option_value)::boolean from pg_options_to_table(r.reloptions) where option_name = 'security_invoker'), false),
        'grants', g.grants, 'reads', '[]'::jsonb, 'bypasses', '[]'::jsonb
        ) order by r.schema, r.name), '[]') as list
    from relations r join grants g on g.oid = r.oid
    where r.relkind in ('v', 'm')
),
edges as (
    select coalesce(jsonb_agg(distinct jsonb_build_object('view', v.schema || '.' || v.name, 'reads', r.schema || '.' || r.name)), '[]') as list
    from relations v
    join pg_rewrite w on w.ev_class = v.oid
    join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid and d.refclassid = 'pg_class'::regclass and d.refobjid <> v.oid
    join relations r on r.oid = d.refobjid
    where v.relkind in ('v', 'm')
),
bodies as (
    select f.oid, coalesce(pg_get_function_sqlbody(f.oid), f.prosrc) as body from pg_proc f join spaces n on n.oid = f.pronamespace
),
policies as (
    select coalesce(jsonb_agg(jsonb_build_object(
        'schema', r.schema, 'table', r.name, 'name', p.polname, 'exposed', r.exposed,
        'command', case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete' else 'all' end,
        'roles', (select jsonb_agg(case when o = 0 then 'public' else pg_get_userbyid(o) end) from unnest(p.polroles) o),
        'permissive', p.polpermissive,
        'using', coalesce(pg_get_expr(p.polqual, p.polrelid), ''), 'check', coalesce(pg_get_expr(p.polwithcheck, p.polrelid), ''),
        'helpers', coalesce(h.names, '[]'),
        'user_metadata', coalesce(h.user_metadata, false) or concat(pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)) ~* 'user_metadata|raw_user_meta_data',
        'lost_columns', '[]'::jsonb
        ) order by r.schema, r.name, p.polname), '[]') as list
    from pg_policy p
    join relations r on r.oid = p.polrelid
    left join lateral (
        select jsonb_agg(distinct n.name || '.' || f.proname) as names, bool_or(b.body ~* 'user_metadata|raw_user_meta_data') as user_metadata
        from pg_depend d
        join pg_proc f on f.oid = d.refobjid
        join spaces n on n.oid = f.pronamespace and not n.service
        join bodies b on b.oid = f.oid
        where d.classid = 'pg_policy'::regclass and d.objid = p.oid and d.refclassid = 'pg_proc'::regclass
    ) h on true
),
functions as (
    select coalesce(jsonb_agg(jsonb_build_object(
        'schema', n.name, 'name', f.proname, 'arguments', oidvectortypes(f.proargtypes), 'owner', pg_get_userbyid(f.proowner), 'language', l.lanname,
        'extension', coalesce(m.name, ''), 'exposed', n.exposed, 'service', n.service, 'security_definer', f.prosecdef,
        'trigger', f.prorettype in ('trigger'::regtype, 'event_trigger'::regtype),
        'search_path_set', path.value is not null,
        'search_path', (select coalesce(jsonb_agg(part) filter (where part <> ''), '[]') from (select trim(both '" ' from p) as part from unnest(string_to_array(path.value, ',')) p) parts),
        'executable_by', (select coalesce(jsonb_agg(a.name order by a.name), '[]') from api a
            where a.name <> 'service_role' and has_function_privilege(a.oid, f.oid, 'execute') and has_schema_privilege(a.oid, n.oid, 'usage')),
        'callers', (select coalesce(jsonb_agg(c.name order by c.name), '[]') from unnest(current_setting('holdfast.roles')::text[]) c (name), pg_roles r
            where r.rolname = c.name and has_function_privilege(r.oid, f.oid, 'execute') and has_schema_privilege(r.oid, n.oid, 'usage')),
        'outgoing', coalesce(m.name = any (s.outgoing), false)
        ) order by n.name, f.proname, f.oid), '[]') as list
    from pg_proc f
    join spaces n on n.oid = f.pronamespace
    join pg_language l on l.oid = f.prolang
    cross join settings s
    left join members m on m.classid = 'pg_proc'::regclass and m.objid = f.oid
    left join lateral (select substr(c, length('search_path=') + 1) as value from unnest(f.proconfig) c where c like 'search\_path=%') path on true
    where m.name is null or m.name = any (s.outgoing)
),
memberships as (
    -- Since PostgreSQL 16 a membership may give neither the privileges nor SET ROLE.
    select m.member, m.roleid from pg_auth_members m
    where coalesce((to_jsonb(m) ->> 'set_option')::boolean, true) or coalesce((to_jsonb(m) ->> 'inherit_option')::boolean, true)
),
becomes as (
    with recursive walk as (
        select member, roleid from memberships
        union
        select w.member, m.roleid from walk w join memberships m on m.member = w.roleid
    )
    select * from walk
),
roles as (
    select coalesce(jsonb_agg(jsonb_build_object(
        'name', r.rolname, 'login', r.rolcanlogin, 'superuser', r.rolsuper, 'bypass_rls', r.rolbypassrls, 'create_role', r.rolcreaterole,
        'create_db', r.rolcreatedb, 'replication', r.rolreplication, 'inherit', r.rolinherit, 'connection_limit', r.rolconnlimit,
        'statement_timeout', coalesce((select substr(c, length('statement_timeout=') + 1) from unnest(r.rolconfig) c where c like 'statement\_timeout=%'), ''),
        'member_of', (select coalesce(jsonb_agg(pg_get_userbyid(b.roleid) order by 1), '[]') from becomes b where b.member = r.oid)
        ) order by r.rolname), '[]') as list
    from pg_roles r where r.rolname not like 'pg\_%'
),
default_acls as (
    select d.defaclrole as owner, d.defaclnamespace as space, d.defaclobjtype as kind, d.defaclacl as acl from pg_default_acl d
    union all
    -- Without an entry PostgreSQL lets everyone execute what the project's owner creates.
    select r.oid, 0, 'f', acldefault('f', r.oid) from pg_roles r
    where r.rolname = 'postgres' and not exists (select from pg_default_acl d where d.defaclrole = r.oid and d.defaclnamespace = 0 and d.defaclobjtype = 'f')
),
default_privileges as (
    select coalesce(jsonb_agg(jsonb_build_object('owner', owner, 'schema', schema, 'kind', kind, 'role', role, 'privileges', privileges, 'exposed', exposed) order by owner, schema, kind, role), '[]') as list
    from (
        select pg_get_userbyid(d.owner) as owner, coalesce(n.nspname, '') as schema,
            case d.kind when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'functions' when 'T' then 'types' else 'schemas' end as kind,
            case when x.grantee = 0 then 'public' else pg_get_userbyid(x.grantee) end as role,
            jsonb_agg(x.privilege_type order by x.privilege_type) as privileges,
            coalesce(n.nspname = any ($1::text[]), d.space = 0) as exposed
        from default_acls d
        left join pg_namespace n on n.oid = d.space
        cross join lateral aclexplode(d.acl) x
        where x.grantee = 0 or x.grantee in (select oid from api)
        group by d.owner, d.space, n.nspname, d.kind, x.grantee
    ) each_one
),
auditor as (
    select jsonb_build_object(
        'present', exists (select from pg_roles where rolname = 'holdfast_auditor'),
        'readable', coalesce((
            select jsonb_agg(r.schema || '.' || r.name order by r.schema, r.name)
            from relations r join spaces n on n.name = r.schema, pg_roles a
            where a.rolname = 'holdfast_auditor' and has_schema_privilege(a.oid, n.oid, 'usage')
                and (has_table_privilege(a.oid, r.oid, 'select')
                    or has_any_column_privilege(a.oid, r.oid, 'select') and (r.schema, r.name) <> ('supabase_migrations', 'schema_migrations'))
                and (r.schema, r.name) <> ('holdfast', 'migrations')), '[]'),
        'writable', coalesce((
            select jsonb_agg(r.schema || '.' || r.name order by r.schema, r.name)
            from relations r join spaces n on n.name = r.schema, pg_roles a
            where a.rolname = 'holdfast_auditor' and has_schema_privilege(a.oid, n.oid, 'usage')
                and (has_table_privilege(a.oid, r.oid, 'insert, update, delete, truncate') or has_any_column_privilege(a.oid, r.oid, 'insert, update'))), '[]')
    ) as fact
)
select jsonb_build_object(
    'version', split_part(current_setting('server_version'), ' ', 1),
    'version_number', current_setting('server_version_num')::int,
    'settings', (
        select jsonb_object_agg(name, setting) from pg_settings
        where name in ('ssl', 'password_encryption', 'row_security', 'log_statement', 'log_connections', 'log_disconnections', 'listen_addresses', 'idle_in_transaction_session_timeout', 'wal_level', 'fsync', 'full_page_writes')),
    'secret_settings', (
        select coalesce(jsonb_agg(distinct split_part(c, '=', 1)), '[]')
        from pg_db_role_setting s, unnest(s.setconfig) c
        where s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
            and split_part(c, '=', 1) ~* '(secret|password|passwd|token|api_?key|service_(role_)?key|private)' and split_part(c, '=', 1) like '%.%'),
    'schemas', (
        select coalesce(jsonb_agg(jsonb_build_object('name', n.name, 'owner', pg_get_userbyid(n.nspowner), 'exposed', n.exposed, 'service', n.service,
            'create', (select coalesce(jsonb_agg(a.name order by a.name), '[]') from api a where a.name <> 'service_role' and has_schema_privilege(a.oid, n.oid, 'create')),
            'usage', (select coalesce(jsonb_agg(a.name order by a.name), '[]') from api a where a.name <> 'service_role' and has_schema_privilege(a.oid, n.oid, 'usage'))
            ) order by n.name), '[]') from spaces n),
    'tables', (select list from tables),
    'views', (select list from views),
    'edges', (select list from edges),
    'policies', (select list from policies),
    'functions', (select list from functions),
    'roles', (select list from roles),
    'default_privileges', (select list from default_privileges),
    'extensions', (
        select coalesce(jsonb_agg(jsonb_build_object('name', e.extname, 'schema', n.nspname, 'version', e.extversion, 'default', coalesce(a.default_version, '')) order by e.extname), '[]')
        from pg_extension e join pg_namespace n on n.oid = e.extnamespace left join pg_available_extensions a on a.name = e.extname),
    'publications', (
        select coalesce(jsonb_agg(jsonb_build_object('name', p.pubname, 'all_tables', p.puballtables,
            'tables', (select coalesce(jsonb_agg(t.schemaname || '.' || t.tablename order by 1), '[]') from pg_publication_tables t where t.pubname = p.pubname)) order by p.pubname), '[]')
        from pg_publication p),
    'event_triggers', (
        select coalesce(jsonb_agg(jsonb_build_object('name', e.evtname, 'event', e.evtevent, 'owner', pg_get_userbyid(e.evtowner),
            'function', n.nspname || '.' || f.proname, 'enabled', e.evtenabled <> 'D') order by e.evtname), '[]')
        from pg_event_trigger e join pg_proc f on f.oid = e.evtfoid join pg_namespace n on n.oid = f.pronamespace),
    'triggers', (
        select coalesce(jsonb_agg(jsonb_build_object('name', t.tgname, 'function', n.name || '.' || f.proname,
            'trusts_user', b.body ~* 'raw_user_meta_data\s*(->>?|#>>?)\s*''\{?[^'']*(role|admin|permission|claim|tenant|plan|tier)') order by t.tgname), '[]')
        from pg_trigger t join relations r on r.oid = t.tgrelid join pg_proc f on f.oid = t.tgfoid join spaces n on n.oid = f.pronamespace join bodies b on b.oid = f.oid
        where r.schema = 'auth' and r.name = 'users' and not t.tgisinternal),
    'auditor', (select fact from auditor)
)
