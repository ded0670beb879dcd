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
	for _, s := range project.Services {
		if s.StartFirst && (len(services) == 0 || slices.Contains(services, s.Name)) {
			if err := l.replace(ctx, project, s.Name, timeout); err != nil {
				return err
			}
		}
	}
	words := ""
	for _, s := range services {
		words += " " + shell.Quote(s)
	}
	if len(services) == 0 {
		words = " --remove-orphans"
	}
	script := l.prologue(timeout) + "up -f " + shell.Quote(project.File) + words + "\n"
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

// prologue is the start of a script that starts containers of a release. up is
// Compose's, with what all uses of it share. An engine that dies under it (it was
// updated, or killed for want of memory) comes back by itself within seconds: that
// is waited for, and then tried once more. COMPOSE_PROGRESS=plain prints a line a
// change instead of repainting.
func (l Launch) prologue(timeout time.Duration) string {
	return "cd " + Root + "/releases/" + shell.Quote(l.Release.ID) + " || exit 1\n" +
		"wait=" + fmt.Sprint(int(timeout.Seconds())) + `
compose() { COMPOSE_ANSI=never docker compose "$@"; }
engine() { cat /run/docker.pid 2>/dev/null; }
up() {
  file=$2
  shift 2
  pid=$(engine)
  compose --progress plain -f "$file" up -d --no-build --pull never --wait --wait-timeout "$wait" "$@" && return
  code=$? tries=60
  until docker version >/dev/null 2>&1; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || return "$code"
    sleep 1
  done
  [ "$(engine)" != "$pid" ] || return "$code"
  compose --progress plain -f "$file" up -d --no-build --pull never --wait --wait-timeout "$wait" "$@"
}
`
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

// startingFile names the release that a run has begun to start. While it is there,
// containers may be those of that release, whatever `current` says.
const startingFile = Root + "/starting"

// startedRoot holds a file for each release that was current: its time is when it
// last became that, its lines are the migrations the database had when another
// release took its place.
const startedRoot = Root + "/started"

// Begin notes that the release is being started, in the place of former ("" for
// none), which ran with the given migrations.
func (l Launch) Begin(ctx context.Context, former string, migrations []string) error {
	script := "set -e\nmkdir -p " + startedRoot + "\n"
	if former != "" && former != l.Release.ID {
		words := ""
		for _, m := range migrations {
			words += " " + shell.Quote(m)
		}
		script += "cd " + startedRoot + "\nf=" + shell.Quote(former) + "\n" +
			`if [ -f "$f" ]; then printf '%s\n'` + words + ` >".$f.new"; touch -r "$f" ".$f.new"; mv ".$f.new" "$f"; fi` + "\n"
	}
	script += "echo " + shell.Quote(l.Release.ID) + " >" + startingFile + ".new\nmv " + startingFile + ".new " + startingFile + "\n"
	return l.script(ctx, "note that the start has begun", script)
}

// Point makes the release the current one: one rename, so that `current`
// always names a complete release.
func (l Launch) Point(ctx context.Context) error {
	return l.script(ctx, "make "+l.Release.ID+" the current release",
		"cd "+Root+" && mkdir -p "+startedRoot+" && touch "+startedRoot+"/"+shell.Quote(l.Release.ID)+
			" && ln -sfn releases/"+shell.Quote(l.Release.ID)+" .current.new && mv -T .current.new current && rm -f "+startingFile)
}

// Place puts what the release's containers mount where they look for it; it is
// missing when somebody removed it.
func (l Launch) Place(ctx context.Context) error {
	return l.script(ctx, "place what containers mount", "set -e\nroot="+Root+" id="+shell.Quote(l.Release.ID)+"\n"+keepContent(l.Release.Mounts))
}

// script runs a script of which only the failure is of interest.
func (l Launch) script(ctx context.Context, what, script string) error {
	var stderr bytes.Buffer
	if err := l.Host.Run(ctx, script, nil, io.Discard, &stderr); err != nil {
		return fmt.Errorf("%s: %w", what, explain(err, stderr.String()))
	}
	return nil
}

// GoBack starts an earlier release's projects again, in their order, with the files
// that are on the server.
func (l Launch) GoBack(ctx context.Context, id string, former Contents) error {
	l.Release = &Release{ID: id, Contents: former}
	l.Timeout = max(l.Timeout, time.Minute)
	for _, project := range former.Projects {
		if err := l.Start(ctx, project); err != nil {
			return fmt.Errorf("go back to release %s: %w", id, err)
		}
	}
	return l.script(ctx, "note that release "+id+" runs again", "rm -f "+startingFile)
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
