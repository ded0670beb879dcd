command -v docker >/dev/null || { echo 'docker is not installed' >&2; exit 1; }
ids=$(docker network ls -q) || exit
# shellcheck disable=SC2086 # a list of ids
docker network inspect --format '{"name":{{json .Name}},"driver":{{json .Driver}},"internal":{{json .Internal}}}' $ids
