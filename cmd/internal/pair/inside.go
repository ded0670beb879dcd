package pair

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"holdfast/internal/nearest"
	"holdfast/internal/shell"
	"holdfast/internal/ui"
	"holdfast/provision/transport"
	"holdfast/stacks"
)

// Server returns the server in a role. The error wraps ErrConfig.
func (p *Pair) Server(role string) (*Server, error) {
	for _, s := range p.Servers() {
		if s.Role == role {
			return s, nil
		}
	}
	return nil, configError{fmt.Errorf("there is no server %q: production and audit are", role)}
}

// Connect logs in to one server. Closing the pair closes it.
func (s *Server) Connect(ctx context.Context) error {
	if err := s.connect(ctx); err != nil {
		return fmt.Errorf("%s (%s): %w", s.Role, s.Address(), err)
	}
	return nil
}

// service finds a service by its name, or by "stack/name" where two stacks
// have one of that name. The error wraps ErrConfig.
func (p *Pair) service(name string) (stacks.Project, string, error) {
	type place struct {
		project stacks.Project
		service string
	}
	var found []place
	var known []string
	for _, project := range p.Release.Projects {
		for _, s := range project.Services {
			full := project.Name + "/" + s.Name
			known = append(known, s.Name, full)
			if name == s.Name || name == full {
				found = append(found, place{project, s.Name})
			}
		}
	}
	switch len(found) {
	case 0:
		hint := "`holdfast status` lists them"
		if near := nearest.Word(name, known); near != "" {
			hint = "did you mean " + near + "?"
		}
		return stacks.Project{}, "", ui.Hint(configError{fmt.Errorf("no stack has a service %q", name)}, hint)
	case 1:
		return found[0].project, found[0].service, nil
	}
	return stacks.Project{}, "", ui.Hint(configError{fmt.Errorf("more than one stack has a service %q", name)},
		fmt.Sprintf("say %s/%s or %s/%s", found[0].project.Name, name, found[1].project.Name, name))
}

// Services returns the names of all declared services, as "stack/name".
func (p *Pair) Services() []string {
	var names []string
	for _, project := range p.Release.Projects {
		for _, s := range project.Services {
			names = append(names, project.Name+"/"+s.Name)
		}
	}
	return names
}

// LogOptions say which part of a log is wanted.
type LogOptions struct {
	Follow bool
	Tail   int           // lines of each service from the end; 0: all
	Since  time.Duration // how far back; 0: from the beginning
}

// Logs writes the log of services of the production server to out, each line
// behind its service's name; without names, of all. A unit of systemd on either
// server is named with its suffix ("ssh.service"). Ctrl-C ends following.
func (p *Pair) Logs(ctx context.Context, s *Server, names []string, options LogOptions, out io.Writer) error {
	script, err := p.logScript(names, options)
	if err != nil {
		return err
	}
	if err := s.Connect(ctx); err != nil {
		return err
	}
	// The commands run until the channel's input ends: closing a channel alone
	// does not end what runs in it as root.
	alive, hangUp := io.Pipe()
	defer hangUp.Close()
	stop := context.AfterFunc(ctx, func() { hangUp.Close() })
	defer stop()
	err = s.Run(context.WithoutCancel(ctx), script, alive, &wholeLines{to: out}, io.Discard)
	if ctx.Err() != nil && options.Follow {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: read the logs: %w", s.Role, err)
	}
	return nil
}

// logScript reads logs until they end, or until its input does.
func (p *Pair) logScript(names []string, options LogOptions) (string, error) {
	var readers, journal []string
	tail, since := "all", ""
	if options.Tail > 0 {
		tail = strconv.Itoa(options.Tail)
	}
	if options.Since > 0 {
		since = strconv.Itoa(int(options.Since.Seconds()))
	}
	wanted := map[string][]string{} // Compose file → services
	var files []string
	add := func(project stacks.Project, services ...string) {
		if !slices.Contains(files, project.File) {
			files = append(files, project.File)
		}
		wanted[project.File] = append(wanted[project.File], services...)
	}
	if len(names) == 0 {
		for _, project := range p.Release.Projects {
			add(project)
		}
	}
	for _, name := range names {
		if strings.ContainsAny(name, ".") {
			journal = append(journal, "--unit="+shell.Quote(name))
			continue
		}
		project, service, err := p.service(name)
		if err != nil {
			return "", err
		}
		add(project, service)
	}
	follow := ""
	if options.Follow {
		follow = " --follow"
	}
	for _, file := range files {
		line := "docker compose --ansi never -f " + stacks.Root + "/current/" + shell.Quote(file) + " logs --no-color --tail " + tail + follow
		if since != "" {
			line += " --since " + since + "s"
		}
		for _, service := range wanted[file] {
			line += " " + shell.Quote(service)
		}
		readers = append(readers, line)
	}
	if len(journal) > 0 {
		line := "journalctl --no-pager --output=short-iso --lines=" + tail + follow + " " + strings.Join(journal, " ")
		if since != "" {
			line += " --since=-" + since + "s"
		}
		readers = append(readers, line)
	}
	var b strings.Builder
	b.WriteString("pids=\n")
	for _, line := range readers {
		fmt.Fprintf(&b, "%s </dev/null &\npids=\"$pids $!\"\n", line)
	}
	// The input's end ends the readers; the readers' end ends the script.
	b.WriteString(`exec 3<&0
(cat <&3 >/dev/null; kill $pids 2>/dev/null) &
watch=$!
status=0
for pid in $pids; do wait "$pid" || status=$?; done
kill "$watch" 2>/dev/null
exit "$status"`)
	return b.String(), nil
}

// wholeLines passes on whole lines only, so that no secret is cut in two
// before it is redacted.
type wholeLines struct {
	to   io.Writer
	mu   sync.Mutex
	rest []byte
}

func (w *wholeLines) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rest = append(w.rest, p...)
	if end := strings.LastIndexByte(string(w.rest), '\n'); end >= 0 {
		if _, err := w.to.Write(w.rest[:end+1]); err != nil {
			return 0, err
		}
		w.rest = append(w.rest[:0], w.rest[end+1:]...)
	}
	return len(p), nil
}

// container returns the shell text that sets $container to the one of a service.
func (p *Pair) container(name string) (string, error) {
	project, service, err := p.service(name)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf(`container=$(docker ps -q --filter label=com.docker.compose.project=%s --filter label=com.docker.compose.service=%s | head -n 1)
[ -n "$container" ] || { echo "service %s does not run" >&2; exit 69; }
`, shell.Quote(project.Name), shell.Quote(service), name), nil
}

// Exec runs a command in a service's container, without a terminal. The error
// is a *transport.ExitError with the command's status.
func (p *Pair) Exec(ctx context.Context, name string, command []string, in io.Reader, out, errs io.Writer) error {
	find, err := p.container(name)
	if err != nil {
		return err
	}
	if err := p.Production.Connect(ctx); err != nil {
		return err
	}
	return p.Production.Run(ctx, find+`exec docker exec -i "$container" `+quoteAll(command), in, out, errs)
}

// ExecTerminal runs a command in a service's container on a terminal.
func (p *Pair) ExecTerminal(ctx context.Context, name string, command []string, terminal transport.Terminal) error {
	find, err := p.container(name)
	if err != nil {
		return err
	}
	if err := p.Production.Connect(ctx); err != nil {
		return err
	}
	script := find + `exec docker exec -it "$container" ` + quoteAll(command)
	return p.Production.conn.Interact(ctx, "exec sudo -- sh -c "+shell.Quote(script), terminal)
}

// Shell opens the login shell of the deploy user on a terminal, or runs a
// command there.
func (s *Server) Shell(ctx context.Context, command []string, terminal transport.Terminal) error {
	if err := s.Connect(ctx); err != nil {
		return err
	}
	return s.conn.Interact(ctx, quoteAll(command), terminal)
}

// Command runs a command as the deploy user, without a terminal.
func (s *Server) Command(ctx context.Context, command []string, in io.Reader, out, errs io.Writer) error {
	if err := s.Connect(ctx); err != nil {
		return err
	}
	return s.conn.Run(ctx, transport.Command{Script: quoteAll(command), Stdin: in, Stdout: out, Stderr: errs})
}

// Forward passes connections to listen on to an address as seen from the
// server, until ctx ends.
func (s *Server) Forward(ctx context.Context, listen net.Listener, to string) error {
	stop := context.AfterFunc(ctx, func() { listen.Close() })
	defer stop()
	for {
		near, err := listen.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("forward to %s: %w", to, err)
		}
		go func() {
			defer near.Close()
			far, err := s.Dial(ctx, "tcp", to)
			if err != nil {
				s.pair.ui.Progress(s.Role, "%v", err)
				return
			}
			defer far.Close()
			join(near, far)
		}()
	}
}

// join copies both ways until one side ends.
func join(a, b net.Conn) {
	done := make(chan error, 2)
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		go func() {
			_, err := io.Copy(way[0], way[1])
			done <- err
		}()
	}
	<-done
}

func quoteAll(words []string) string {
	var quoted []string
	for _, w := range words {
		quoted = append(quoted, shell.Quote(w))
	}
	return strings.Join(quoted, " ")
}
