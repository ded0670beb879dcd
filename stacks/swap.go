package stacks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"holdfast/internal/shell"
)

// replaceScript starts the new container of a service beside the old one, waits
// until it is healthy, and only then stops the old one, which finishes the
// requests it has. Compose can only stop first. It does nothing where nothing
// would be recreated, and where no healthy container serves that a request could
// go to meanwhile: then Compose may as well do it.
//
// A run that was killed leaves both containers; the next one goes on from there.
// The new container gets the name that people know, whatever its number.
//
// Until it is healthy the new container is started by this script alone, three times
// at most: under its restart policy one that crashes would come and go for as long as
// is waited, each time under an address that the proxy is told of.
const replaceScript = `
mine() { docker ps -q "$@" --filter "label=com.docker.compose.project=$project" --filter "label=com.docker.compose.service=$service"; }
is() { docker inspect --format "$2" "$1"; }
health() { is "$1" '{{if .State.Health}}{{.State.Health.Status}}{{else}}{{.State.Status}}{{end}}'; }
# Creates the container that lacks, starts it, and waits.
start() {
  compose --progress plain -f "$file" create --no-build --pull never --no-recreate --scale "$service=$1" "$service" || return
  new=$(mine -a --filter status=created) && [ -n "$new" ] || return
  name=$(is "$new" '{{.Name}}') policy=$(is "$new" '{{.HostConfig.RestartPolicy.Name}}')
  docker update --restart no "$new" >/dev/null && docker start "$new" >/dev/null || return
  echo " Container ${name#/}  Started" >&2
  end=$(($(date +%s) + wait)) crashes=0
  while [ "$(date +%s)" -lt "$end" ]; do
    case $(is "$new" '{{.State.Status}}')-$(health "$new") in
      running-healthy | running-running)
        docker update --restart "$policy" "$new" >/dev/null
        echo " Container ${name#/}  Healthy" >&2
        return ;;
      running-unhealthy) return 1 ;;
      exited-* | dead-*)
        crashes=$((crashes + 1))
        [ "$crashes" -lt 3 ] || return
        sleep 1
        docker start "$new" >/dev/null || return ;;
    esac
    sleep 0.3
  done
  return 1
}
compose --dry-run --progress plain -f "$file" up -d --no-build --pull never --no-deps "$service" 2>&1 | grep -q ' Recreate *$' || exit 0
gone=$(mine -a --filter status=exited --filter status=created --filter status=dead)
[ -z "$gone" ] || docker rm $gone >/dev/null || exit
old= new=
for c in $(mine); do
  made=$(is "$c" '{{index .Config.Labels "com.docker.compose.project.config_files"}}')
  case $made-$(health "$c") in
    "$PWD/$file"-healthy | "$PWD/$file"-running) new=$c ;;
    "$PWD/$file"-*) docker rm -f "$c" >/dev/null || exit ;;
    *-healthy | *-running) old="$old $c" ;;
    *) exit 0 ;;
  esac
done
set -- $old
[ $# -gt 0 ] || exit 0
[ -n "$new" ] || start $(($# + 1)) || exit 1
docker stop "$@" >/dev/null && docker rm "$@" >/dev/null || exit
docker rename "$new" "$project-$service-1" 2>/dev/null
exit 0
`

// withdrawScript removes the container that was started beside a healthy one. Compose
// would do it the other way round: of two it keeps the one whose settings are not the
// wanted ones, to recreate it (2.26, convergence.go).
const withdrawScript = `
for c in $(docker ps -aq --filter "label=com.docker.compose.project=$project" --filter "label=com.docker.compose.service=$service"); do
  case $(docker inspect --format '{{index .Config.Labels "com.docker.compose.project.config_files"}}' "$c") in
    "$PWD/$file") new="$new $c" ;;
    *) old="$old $c" ;;
  esac
done
[ -z "$old" ] || [ -z "$new" ] || docker rm -f $new >/dev/null
`

// replace brings a service's new container up before the old one goes. When it does
// not get healthy, it is gone again, and the old one runs as before.
func (l Launch) replace(ctx context.Context, project Project, service string, timeout time.Duration) error {
	words := fmt.Sprintf("project=%s service=%s file=%s old= new=\n", shell.Quote(project.Name), shell.Quote(service), shell.Quote(project.File))
	progress := &lineWriter{each: l.teller()}
	err := l.Host.Run(ctx, l.prologue(timeout)+words+replaceScript, nil, io.Discard, progress)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	failure := l.diagnose(ctx, project, err, progress.tail())
	return errors.Join(failure, l.script(ctx, "remove what did not get healthy", l.prologue(timeout)+words+withdrawScript))
}
