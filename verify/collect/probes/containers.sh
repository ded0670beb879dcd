# One JSON object a line for each container of a Compose project. The format
# leaves environment values, commands and health check texts on the server:
# they may hold secrets.
command -v docker >/dev/null || { echo 'docker is not installed' >&2; exit 1; }
ids=$(docker ps -aq --filter label=com.docker.compose.project) || exit
[ -n "$ids" ] || exit 0
# shellcheck disable=SC2086 # a list of ids
docker inspect --type container --format '{"id":{{json .ID}},"name":{{json .Name}},"project":{{json (index .Config.Labels "com.docker.compose.project")}},"service":{{json (index .Config.Labels "com.docker.compose.service")}},"oneoff":{{json (index .Config.Labels "com.docker.compose.oneoff")}},"image":{{json .Config.Image}},"image_id":{{json .Image}},"state":{{json .State.Status}},"exit_code":{{json .State.ExitCode}},"health":{{if .State.Health}}{{json .State.Health.Status}}{{else}}""{{end}},"restarts":{{json .RestartCount}},"user":{{json .Config.User}},"host":{{json .HostConfig}},"mounts":{{json .Mounts}},"networks":[{{range $name, $n := .NetworkSettings.Networks}}{{json $name}},{{end}}null],"env":[{{range .Config.Env}}{{json (index (split . "=") 0)}},{{end}}null]}' $ids
