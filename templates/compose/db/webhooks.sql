-- Database webhooks: the trigger function that Studio's webhooks call, on top of
-- pg_net. Unlike upstream, the API's roles get no right to send HTTP requests
-- themselves: net.http_get and net.http_post would let whoever holds the anon
-- key reach every address the database can reach.
do $do$
begin
  if not exists (select from pg_available_extensions where name = 'pg_net') then
    raise notice 'pg_net is not available: database webhooks stay off';
    return;
  end if;

  create extension if not exists pg_net schema extensions;

  if not exists (select from pg_roles where rolname = 'supabase_functions_admin') then
    create role supabase_functions_admin login noinherit createrole noreplication;
  end if;
  grant supabase_functions_admin to postgres;

  create schema if not exists supabase_functions authorization supabase_admin;
  alter role supabase_functions_admin set search_path = supabase_functions;
  grant usage on schema supabase_functions to postgres, anon, authenticated, service_role;

  create table if not exists supabase_functions.migrations (
    version text primary key,
    inserted_at timestamptz not null default now()
  );
  insert into supabase_functions.migrations (version) values ('initial') on conflict do nothing;

  create table if not exists supabase_functions.hooks (
    id bigserial primary key,
    hook_table_id integer not null,
    hook_name text not null,
    created_at timestamptz not null default now(),
    request_id bigint
  );
  create index if not exists supabase_functions_hooks_request_id_idx
    on supabase_functions.hooks (request_id);
  create index if not exists supabase_functions_hooks_h_table_id_h_name_idx
    on supabase_functions.hooks (hook_table_id, hook_name);

  -- Arguments of the trigger: url, method, headers, params, timeout in ms.
  create or replace function supabase_functions.http_request() returns trigger
    language plpgsql security definer set search_path = '' as $body$
  declare
    url text := nullif(tg_argv[0], 'null');
    method text := nullif(tg_argv[1], 'null');
    headers jsonb := coalesce(nullif(tg_argv[2], 'null'), '{"Content-Type": "application/json"}')::jsonb;
    params jsonb := coalesce(nullif(tg_argv[3], 'null'), '{}')::jsonb;
    timeout_ms integer := coalesce(nullif(tg_argv[4], 'null'), '1000')::integer;
    request bigint;
  begin
    if url is null or method is null then
      raise exception 'a webhook needs a url and a method';
    end if;
    case method
      when 'GET' then
        request := net.http_get(url, params, headers, timeout_ms);
      when 'POST' then
        request := net.http_post(url,
          jsonb_build_object('type', tg_op, 'schema', tg_table_schema, 'table', tg_table_name,
            'record', case when tg_op = 'DELETE' then null else to_jsonb(new) end,
            'old_record', case when tg_op = 'INSERT' then null else to_jsonb(old) end),
          params, headers, timeout_ms);
      else
        raise exception 'a webhook''s method is GET or POST, not %', method;
    end case;
    insert into supabase_functions.hooks (hook_table_id, hook_name, request_id)
      values (tg_relid, tg_name, request);
    return coalesce(new, old);
  end
  $body$;

  alter table supabase_functions.migrations owner to supabase_functions_admin;
  alter table supabase_functions.hooks owner to supabase_functions_admin;
  alter function supabase_functions.http_request() owner to supabase_functions_admin;
  grant all on schema supabase_functions to supabase_functions_admin;
  revoke all on function supabase_functions.http_request() from public;
  grant execute on function supabase_functions.http_request() to postgres, service_role;

  grant usage on schema net to supabase_functions_admin, postgres, service_role;
  revoke all on all functions in schema net from public, anon, authenticated;
  grant execute on all functions in schema net to supabase_functions_admin, postgres, service_role;
end
$do$;
