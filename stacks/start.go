package stacks

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"holdfast/internal/shell"
)

// Launch starts a release on a host.
type Launch struct {
	Host    Host
	Release *Release
	// Timeout is how long one project may take to become healthy; default 5 minutes.
	Timeout time.Duration
	// Progress is told one line for each container that changes state.
	Progress func(string)
}

// Networks creates the networks that projects share.
func (l Launch) Networks(ctx context.Context) error {
	var names []string
	for _, p := range l.Release.Projects {
		names = append(names, p.Networks...)
	}
	slices.Sort(names)
	var script strings.Builder
	script.WriteString("set -e\n")
	for _, name := range slices.Compact(names) {
		q := shell.Quote(name)
		fmt.Fprintf(&script, "docker network inspect %s >/dev/null 2>&1 || docker network create --label dev.holdfast=1 %s >/dev/null\n", q, q)
	}
	var stderr bytes.Buffer
	if err := l.Host.Run(ctx, script.String(), nil, io.Discard, &stderr); err != nil {
		return fmt.Errorf("create networks: %w", explain(err, stderr.String()))
	}
	return nil
}

// Start brings one project up and waits until all its services, or only the
// named ones, are healthy. On failure the error is a *StartError.
func (l Launch) Start(ctx context.Context, project Project, services ...string) error {
	timeout := l.Timeout
	if timeout == 0 {
		timeout = 5 * time.Minute
	}
	words := ""
	for _, s := range services {
		words += " " + shell.Quote(s)
	}
	if len(services) == 0 {
		words = " --remove-orphans"
	}
	// COMPOSE_PROGRESS=plain prints a line a change instead of repainting.
	script := fmt.Sprintf("cd %s/releases/%s && COMPOSE_ANSI=never docker compose --progress plain -f %s up -d --no-build --pull never --wait --wait-timeout %d%s",
		Root, shell.Quote(l.Release.ID), shell.Quote(project.File), int(timeout.Seconds()), words)
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

var containerLine = regexp.MustCompile(`^\s*Container (\S+)\s+(Started|Healthy|Recreated|Error|Unhealthy|Exited)`)

// teller returns what reads Compose's lines and tells each container's news
// once: Compose repeats itself, and reports on containers that nobody touched.
func (l Launch) teller() func(line string) {
	last := map[string]string{}
	return func(line string) {
		m := containerLine.FindStringSubmatch(line)
		if m == nil || l.Progress == nil {
			return
		}
		name, state := m[1], strings.ToLower(m[2])
		before, touched := last[name]
		if state == before || state == "healthy" && !touched {
			return
		}
		last[name] = state
		l.Progress(state + " " + name)
	}
}

// A StartError says which services of a project did not come up.
type StartError struct {
	Project  string
	Services []FailedService
	Output   string // the last lines Compose printed
	err      error
}

// A FailedService is one that is not healthy, with the end of its log.
type FailedService struct {
	Name, Status, Log string
}

func (e *StartError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "start stack %s: ", e.Project)
	if len(e.Services) == 0 {
		b.WriteString("it did not come up; Compose last said:\n  | " + strings.ReplaceAll(strings.TrimSpace(e.Output), "\n", "\n  | "))
		return b.String()
	}
	for i, s := range e.Services {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "service %s is not healthy (%s)", s.Name, s.Status)
		if s.Log != "" {
			fmt.Fprintf(&b, "; it last said:\n  | %s", strings.ReplaceAll(strings.TrimRight(s.Log, "\n"), "\n", "\n  | "))
		}
	}
	return b.String()
}

func (e *StartError) Unwrap() error { return e.err }

// Hint says what to do next.
func (e *StartError) Hint() string {
	if strings.Contains(e.Output, "address already in use") {
		return "another program on the server listens on that port (listed above): stop it, then run `holdfast deploy` again"
	}
	return "mend the cause and run `holdfast deploy` again: it continues from here"
}

// diagnose finds out, over a connection that still works, why a project did
// not come up. What it can't find out it leaves out; the first error stands.
func (l Launch) diagnose(ctx context.Context, project Project, cause error, output string) error {
	failure := &StartError{Project: project.Name, Output: output, err: cause}
	filter := "--filter label=com.docker.compose.project=" + shell.Quote(project.Name)
	script := `docker ps -a --no-trunc ` + filter + ` --format '{"id":{{json .ID}},"service":{{json (.Label "com.docker.compose.service")}},"state":{{json .State}},"status":{{json .Status}}}'`
	var stdout bytes.Buffer
	if err := l.Host.Run(ctx, script, nil, &stdout, io.Discard); err == nil {
		for _, line := range lines(stdout.String()) {
			var c Container
			if json.Unmarshal([]byte(line), &c) != nil || c.Healthy() || c.State == "created" {
				continue
			}
			var log bytes.Buffer
			_ = l.Host.Run(ctx, "docker logs --tail 15 "+shell.Quote(c.ID)+" 2>&1 | cut -c1-400", nil, &log, io.Discard)
			failure.Services = append(failure.Services, FailedService{Name: c.Service, Status: c.Status, Log: log.String()})
		}
	}
	if strings.Contains(output, "address already in use") {
		var listeners bytes.Buffer
		_ = l.Host.Run(ctx, "ss -H -ltnp", nil, &listeners, io.Discard)
		failure.Output += "\nlisteners on the server:\n" + listeners.String()
		failure.Services = nil // they only wait; the port is the cause
	}
	return failure
}

// Stop takes a project's containers away and keeps its volumes.
func (l Launch) Stop(ctx context.Context, project string) error {
	filter := "--filter label=com.docker.compose.project=" + shell.Quote(project)
	script := `set -e
c=$(docker ps -aq ` + filter + `)
[ -z "$c" ] || { docker stop $c; docker rm $c; } >/dev/null
n=$(docker network ls -q ` + filter + `)
[ -z "$n" ] || docker network rm $n >/dev/null`
	var stderr bytes.Buffer
	if err := l.Host.Run(ctx, script, nil, io.Discard, &stderr); err != nil {
		return fmt.Errorf("stop stack %s: %w", project, explain(err, stderr.String()))
	}
	return nil
}

// Point makes the release the current one: one rename, so that `current`
// always names a complete release.
func (l Launch) Point(ctx context.Context) error {
	script := "cd " + Root + " && ln -sfn releases/" + shell.Quote(l.Release.ID) + " .current.new && mv -T .current.new current"
	var stderr bytes.Buffer
	if err := l.Host.Run(ctx, script, nil, io.Discard, &stderr); err != nil {
		return fmt.Errorf("make %s the current release: %w", l.Release.ID, explain(err, stderr.String()))
	}
	return nil
}

// GoBack starts an earlier release's projects again, with the files that are
// on the server.
func (l Launch) GoBack(ctx context.Context, id string) error {
	seconds := int(max(l.Timeout, time.Minute).Seconds())
	script := fmt.Sprintf(`cd %s/releases/%s || exit 1
for f in */compose.yml; do
  COMPOSE_ANSI=never docker compose --progress plain -f "$f" up -d --no-build --pull never --remove-orphans --wait --wait-timeout %d || exit 1
done`, Root, shell.Quote(id), seconds)
	progress := &lineWriter{each: l.teller()}
	if err := l.Host.Run(ctx, script, nil, io.Discard, progress); err != nil {
		return fmt.Errorf("go back to release %s: %w", id, explain(err, progress.tail()))
	}
	return nil
}

// explain adds what a failed command printed to its error.
func explain(err error, stderr string) error {
	stderr = strings.TrimSpace(stderr)
	if stderr == "" || strings.Contains(err.Error(), stderr) {
		return err
	}
	return fmt.Errorf("%w: %s", err, lastLines(stderr, 5))
}

func lastLines(s string, n int) string {
	all := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-n):], "\n")
}

// lineWriter hands on whole lines and remembers the last of them.
type lineWriter struct {
	each    func(string)
	partial []byte
	last    []string
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.partial = append(w.partial, p...)
	for {
		line, rest, ok := bytes.Cut(w.partial, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		w.partial = rest
		text := strings.TrimRight(string(line), "\r")
		w.each(text)
		if w.last = append(w.last, text); len(w.last) > 8 {
			w.last = w.last[1:]
		}
	}
}

func (w *lineWriter) tail() string {
	return strings.Join(append(slices.Clone(w.last), string(w.partial)), "\n")
}

var _ io.Writer = (*lineWriter)(nil)
