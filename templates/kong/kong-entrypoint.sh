#!/bin/sh
# Fills the API keys into the gateway's configuration, inside the container, and
# starts the gateway. The filled-in file is on a tmpfs that only this container sees.
#
# Every $NAME in the template stands between double quotes and must be set: a
# placeholder that stayed would be a key that anyone who read this file could use.
set -eu

template=${KONG_TEMPLATE:-/home/kong/kong.yml}
[ $# -gt 0 ] || set -- /entrypoint.sh kong docker-start

# These four become part of Lua code below, so nothing but what keys and tokens
# are made of may be in them.
check() {
  case $2 in
  '' | *[!A-Za-z0-9._-]*)
    echo "kong-entrypoint: $1 is empty or has a character that no key has" >&2
    exit 1
    ;;
  esac
}
check SUPABASE_ANON_KEY "${SUPABASE_ANON_KEY-}"
check SUPABASE_SERVICE_KEY "${SUPABASE_SERVICE_KEY-}"
check SUPABASE_PUBLISHABLE_KEY "${SUPABASE_PUBLISHABLE_KEY-}"
check SUPABASE_SECRET_KEY "${SUPABASE_SECRET_KEY-}"

# The services behind the gateway know JSON Web Tokens, not opaque keys
# (sb_publishable_…, sb_secret_…): those are exchanged here for the token of the
# same role. A user's own token in Authorization is left alone.
# shellcheck disable=SC2089 # the quotes are Lua's
LUA_AUTH_EXPR="\$((headers.authorization ~= nil and headers.authorization:sub(1, 10) ~= 'Bearer sb_' and headers.authorization) or (headers.apikey == '$SUPABASE_SECRET_KEY' and 'Bearer $SUPABASE_SERVICE_KEY') or (headers.apikey == '$SUPABASE_PUBLISHABLE_KEY' and 'Bearer $SUPABASE_ANON_KEY') or headers.apikey)"
# Browsers can't set headers on a WebSocket; the key comes in the query.
# shellcheck disable=SC2089
LUA_RT_WS_EXPR="\$((query_params.apikey == '$SUPABASE_SECRET_KEY' and '$SUPABASE_SERVICE_KEY') or (query_params.apikey == '$SUPABASE_PUBLISHABLE_KEY' and '$SUPABASE_ANON_KEY') or query_params.apikey)"
# Functions see the exchanged key in a header of its own.
# shellcheck disable=SC2089
LUA_FUNCTIONS_EXPR="\$((headers.apikey == '$SUPABASE_SECRET_KEY' and '$SUPABASE_SERVICE_KEY') or (headers.apikey == '$SUPABASE_PUBLISHABLE_KEY' and '$SUPABASE_ANON_KEY') or nil)"
# shellcheck disable=SC2090
export LUA_AUTH_EXPR LUA_RT_WS_EXPR LUA_FUNCTIONS_EXPR

umask 077
LC_ALL=C awk '
  # quoted returns a value as it is written between double quotes in YAML.
  function quoted(name, value,    i, c, out) {
    if (!(name in ENVIRON) || value == "") refuse(name " is not set")
    for (i = 1; i <= length(value); i++) {
      c = substr(value, i, 1)
      if (c < " " || c == "\177") refuse(name " has a line break or another control character")
      if (c == "\\" || c == "\"") out = out "\\"
      out = out c
    }
    return out
  }
  function refuse(why) {
    print "kong-entrypoint: " why > "/dev/stderr"
    failed = 1
    exit 1
  }
  {
    out = ""
    rest = $0
    while (match(rest, /\$[A-Z_][A-Z0-9_]*/)) {
      name = substr(rest, RSTART + 1, RLENGTH - 1)
      out = out substr(rest, 1, RSTART - 1) quoted(name, ENVIRON[name])
      rest = substr(rest, RSTART + RLENGTH)
    }
    print out rest
  }
  END { if (failed) exit 1 }
' "$template" >"$KONG_DECLARATIVE_CONFIG"

exec "$@"
