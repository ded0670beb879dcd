package stacks

import (
	"context"
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
// The new container gets the old one's name, which people know.
const replaceScript = `
mine() { docker ps -q "$@" --filter "label=com.docker.compose.project=$project" --filter "label=com.docker.compose.service=$service"; }
health() { docker inspect --format '{{if .State.Health}}{{.State.Health.Status}}{{else}}{{.State.Status}}{{end}}' "$1"; }
compose --dry-run --progress plain -f "$file" up -d --no-build --pull never --no-deps "$service" 2>&1 | grep -q ' Recreate *$' || exit 0
docker rm $(mine -a --filter status=exited --filter status=created --filter status=dead) >/dev/null 2>&1
old= all=0
for c in $(mine); do
  made=$(docker inspect --format '{{index .Config.Labels "com.docker.compose.project.config_files"}}' "$c")
  if [ "$made" = "$PWD/$file" ]; then
    case $(health "$c") in healthy | running) all=$((all + 1)) ;; *) docker rm -f "$c" >/dev/null ;; esac
  else
    case $(health "$c") in healthy | running) ;; *) exit 0 ;; esac
    old="$old $c" all=$((all + 1))
  fi
done
set -- $old
[ $# -gt 0 ] || exit 0
[ "$all" -gt $# ] || all=$((all + 1))
name=$(docker inspect --format '{{.Name}}' "$1")
up -f "$file" --no-recreate --scale "$service=$all" --no-deps "$service" || exit
docker stop "$@" >/dev/null && docker rm "$@" >/dev/null || exit
for c in $(mine); do docker rename "$c" "${name#/}" 2>/dev/null; break; done
exit 0
`

// replace brings a service's new container up before the old one goes.
func (l Launch) replace(ctx context.Context, project Project, service string, timeout time.Duration) error {
	script := l.prologue(l.Release.ID, timeout) + fmt.Sprintf("project=%s service=%s file=%s\n",
		shell.Quote(project.Name), shell.Quote(service), shell.Quote(project.File)) + replaceScript
	progress := &lineWriter{each: l.teller()}
	err := l.Host.Run(ctx, script, nil, io.Discard, progress)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return l.diagnose(ctx, project, err, progress.tail())
}
