# Registers the database as Supavisor's one tenant, when it is not registered yet.
# A tenant that exists is left as it is: a new password or host needs the tenant
# removed first.
{:ok, _} = Application.ensure_all_started(:supavisor)

{:ok, version} =
  case Supavisor.Repo.query!("select version()") do
    %{rows: [[text]]} -> Supavisor.Helpers.parse_pg_version(text)
  end

tenant = System.fetch_env!("POOLER_TENANT_ID")
pool_size = System.fetch_env!("POOLER_DEFAULT_POOL_SIZE")

unless Supavisor.Tenants.get_tenant_by_external_id(tenant) do
  {:ok, _} =
    Supavisor.Tenants.create_tenant(%{
      "external_id" => tenant,
      "db_host" => System.fetch_env!("POSTGRES_HOST"),
      "db_port" => System.fetch_env!("POSTGRES_PORT"),
      "db_database" => System.fetch_env!("POSTGRES_DB"),
      "require_user" => false,
      "auth_query" => "SELECT * FROM pgbouncer.get_auth($1)",
      "default_max_clients" => System.fetch_env!("POOLER_MAX_CLIENT_CONN"),
      "default_pool_size" => pool_size,
      "default_parameter_status" => %{"server_version" => version},
      "users" => [
        %{
          "db_user" => "pgbouncer",
          "db_password" => System.fetch_env!("POSTGRES_PASSWORD"),
          "mode_type" => System.fetch_env!("POOLER_POOL_MODE"),
          "pool_size" => pool_size,
          "is_manager" => true
        }
      ]
    })
end
