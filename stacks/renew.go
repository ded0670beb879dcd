package stacks

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"holdfast/internal/shell"
)

// Remove stops a service of a project and takes its container away, so that the
// next start makes a new one whatever has changed. Its volumes stay.
func (l Launch) Remove(ctx context.Context, project, service string) error {
	script := `set -e
c=$(docker ps -aq --filter label=com.docker.compose.project=` + shell.Quote(project) + ` --filter label=com.docker.compose.service=` + shell.Quote(service) + `)
[ -z "$c" ] || { docker stop $c; docker rm $c; } >/dev/null`
	var stderr bytes.Buffer
	if err := l.Host.Run(ctx, script, nil, io.Discard, &stderr); err != nil {
		return fmt.Errorf("stop %s/%s: %w", project, service, explain(err, stderr.String()))
	}
	return nil
}

// Query runs SQL, as a superuser, in the database of a project's PostgreSQL that
// listens to nobody outside of its network. What it is given goes in on standard
// input: no list of processes shows it.
func (l Launch) Query(ctx context.Context, project, service, database, sql string) error {
	script := `set -e
c=$(docker ps -q --filter label=com.docker.compose.project=` + shell.Quote(project) + ` --filter label=com.docker.compose.service=` + shell.Quote(service) + `)
[ -n "$c" ] || { echo "it does not run" >&2; exit 1; }
exec docker exec -i "$c" psql -X -q -v ON_ERROR_STOP=1 -v VERBOSITY=terse -U postgres -d ` + shell.Quote(database) + ` -f -`
	var stderr bytes.Buffer
	if err := l.Host.Run(ctx, script, bytes.NewReader([]byte(sql)), io.Discard, &stderr); err != nil {
		return fmt.Errorf("ask the database %s/%s: %w", project, service, explain(err, stderr.String()))
	}
	return nil
}

// RemoveOthers removes every release but this one, and what only they had
// containers mount. After a rotation they hold values that no longer work, or that
// are not to be known any more.
func (l Launch) RemoveOthers(ctx context.Context) error {
	kept := ""
	for _, m := range l.Release.Mounts {
		kept += " " + m.Hash
	}
	script := `set -e
cd ` + Root + `/releases
for r in *; do [ "$r" = ` + shell.Quote(l.Release.ID) + ` ] || rm -rf -- "$r"; done
[ -d ` + contentRoot + ` ] || exit 0
cd ` + contentRoot + `
for c in *; do case ` + shell.Quote(kept+" ") + ` in *" $c "*) ;; *) rm -rf -- "$c" ;; esac; done`
	var stderr bytes.Buffer
	if err := l.Host.Run(ctx, script, nil, io.Discard, &stderr); err != nil {
		return fmt.Errorf("remove the releases from before the rotation: %w", explain(err, stderr.String()))
	}
	return nil
}
