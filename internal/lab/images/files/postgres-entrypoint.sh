#!/bin/sh
# Starts PostgreSQL as the entry point of Docker's library image does: makes the
# cluster when the data folder is empty, creates user and database, runs what is
# in /docker-entrypoint-initdb.d, then becomes postgres.
#
# The cluster is made in a folder beside its place and moved there when it is
# complete, so a container killed in between begins again.
set -eu

case ${1-} in
'' | -*) set -- postgres "$@" ;;
esac
[ "$1" = postgres ] || exec "$@"

if [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA" /run/postgresql
  chmod 700 "$PGDATA"
  chmod 2775 /run/postgresql
  find "$PGDATA" /run/postgresql ! -user postgres -exec chown postgres:postgres {} +
  if [ -d /etc/postgresql-custom ]; then
    mkdir -p /etc/postgresql-custom/conf.d
    find /etc/postgresql-custom ! -user postgres -exec chown postgres:postgres {} +
  fi
  exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

# The key that upstream's image makes for pgsodium and the vault on first start.
key=/etc/postgresql-custom/pgsodium_root.key
if [ -d /etc/postgresql-custom ] && [ ! -e "$key" ]; then
  (umask 077 && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$key")
fi

if [ ! -e "$PGDATA/PG_VERSION" ]; then
  : "${POSTGRES_PASSWORD:?must be set to make a new cluster}"
  POSTGRES_USER=${POSTGRES_USER:-postgres}
  POSTGRES_DB=${POSTGRES_DB:-$POSTGRES_USER}
  export POSTGRES_USER POSTGRES_DB
  find "$PGDATA" -mindepth 1 -delete
  new=$PGDATA/.new
  printf '%s\n' "$POSTGRES_PASSWORD" |
    initdb -D "$new" --username="$POSTGRES_USER" --pwfile=/dev/stdin --encoding=UTF8 --locale=C.UTF-8 \
      --auth-local=trust --auth-host=scram-sha-256 >/dev/null
  printf 'host all all all scram-sha-256\n' >>"$new/pg_hba.conf"
  printf "listen_addresses = '*'\n" >>"$new/postgresql.conf"

  # Nobody else may meet the half-made cluster: no TCP, and a socket elsewhere.
  PGHOST=$(mktemp -d /tmp/initdb.XXXXXX)
  export PGHOST
  pg_ctl -D "$new" -w -s -l "$PGHOST/log" -o "-c wal_level=logical -c listen_addresses='' -c unix_socket_directories='$PGHOST'" start
  query() { psql -v ON_ERROR_STOP=1 --no-psqlrc --quiet --no-password --username "$POSTGRES_USER" "$@"; }
  if [ "$POSTGRES_DB" != postgres ]; then
    query --dbname postgres --set db="$POSTGRES_DB" <<'SQL'
create database :"db";
SQL
  fi
  for file in /docker-entrypoint-initdb.d/*; do
    case $file in
    *.sh) sh "$file" ;;
    *.sql) query --dbname "$POSTGRES_DB" --file "$file" ;;
    esac
  done
  pg_ctl -D "$new" -w -s -m fast stop
  rm -rf "$PGHOST"
  unset PGHOST

  # PG_VERSION last: with it the cluster counts as made.
  find "$new" -mindepth 1 -maxdepth 1 ! -name PG_VERSION -exec mv {} "$PGDATA/" \;
  mv "$new/PG_VERSION" "$PGDATA/"
  rmdir "$new"
fi

exec "$@"
