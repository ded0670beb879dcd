#!/bin/sh
# Makes a new cluster look like Supabase's image, in upstream's order: the roles
# and schemas and then init-scripts/ as postgres, who is a superuser so long;
# then that is taken from him, and migrations/ run as supabase_admin.
set -eu
folder=/docker-entrypoint-initdb.d
run() {
  user=$1
  shift
  psql -v ON_ERROR_STOP=1 --no-psqlrc --quiet --no-password --dbname postgres --username "$user" "$@"
}

run supabase_admin <<'SQL'
\set password `printf %s "$POSTGRES_PASSWORD"`
create role postgres superuser login password :'password';
SQL
run postgres --file /usr/share/holdfast-lab/supabase.sql
for file in "$folder"/init-scripts/*.sql; do
  if [ -e "$file" ]; then run postgres --file "$file"; fi
done
run supabase_admin --file /usr/share/holdfast-lab/demote.sql
for file in "$folder"/migrations/*.sql; do
  if [ -e "$file" ]; then run supabase_admin --file "$file"; fi
done
