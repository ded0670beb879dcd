-- Runs once, when the data folder is empty. The roles exist in the image
-- without passwords; all of them take the one from the environment.
\set password `printf %s "$POSTGRES_PASSWORD"`

alter role supabase_admin with password :'password';
alter role authenticator with password :'password';
alter role pgbouncer with password :'password';
alter role supabase_auth_admin with password :'password';
alter role supabase_storage_admin with password :'password';
