// Package kong is a stand-in for the Kong gateway, for labs without a container
// registry. It reads the declarative file that Kong would read and enforces
// what that says: routes, keys, groups, origins, limits. What it does not know
// (a plugin, a field, a piece of Lua) stops its start, so that a rule is never
// silently left out; only pre-function and post-function, which are code, are
// passed over with a warning. It is no gateway to use outside of a lab.
//
// Behaviour, messages and priorities follow Kong 3.9.
package kong

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// Main is the kong command: "docker-start" and "start" run the gateway until
// ctx is done, "health" fails unless it runs, "config parse FILE" judges a
// declarative file, "version" prints which Kong is played. What a person asked
// for is written to out.
func Main(ctx context.Context, args []string, out io.Writer) error {
	command := ""
	if len(args) > 0 {
		command = args[0]
	}
	switch command {
	case "docker-start", "start":
		return run(ctx)
	case "health":
		return health(out)
	case "version":
		_, err := fmt.Fprintln(out, version)
		return err
	case "config":
		if len(args) != 3 || args[1] != "parse" {
			return errors.New("usage: kong config parse FILE")
		}
		return parseFile(args[2], out)
	}
	return fmt.Errorf("usage: kong docker-start | health | config parse FILE | version, not %q", command)
}

func environmentSettings() (settings, error) {
	plugins, err := enabled(environ("KONG_PLUGINS", "bundled"))
	return settings{plugins: plugins, flavour: environ("KONG_ROUTER_FLAVOR", "traditional_compatible")}, err
}

func environ(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

func load(path string) (*model, error) {
	set, err := environmentSettings()
	if err != nil {
		return nil, err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("error parsing declarative config file: %w", err)
	}
	m, err := parse(content, set)
	if err != nil {
		return nil, fmt.Errorf("error parsing declarative config file %s: %w", path, err)
	}
	return m, nil
}

func parseFile(path string, out io.Writer) error {
	if _, err := load(path); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out, "parse successful")
	return err
}

// PidFile is where "kong health" looks, in the prefix as with Kong.
func pidFile() string {
	return filepath.Join(environ("KONG_PREFIX", "/usr/local/kong"), "pids", "nginx.pid")
}

func health(out io.Writer) error {
	content, err := os.ReadFile(pidFile())
	if err != nil {
		return fmt.Errorf("kong is not running at %s", filepath.Dir(filepath.Dir(pidFile())))
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil || syscall.Kill(pid, 0) != nil {
		return errors.New("nginx is not running")
	}
	_, err = fmt.Fprintln(out, "nginx.......running\n\nKong is healthy")
	return err
}

func run(ctx context.Context) error {
	if db := environ("KONG_DATABASE", "postgres"); db != "off" {
		return fmt.Errorf("KONG_DATABASE is %s: the stand-in knows 'off' only", db)
	}
	m, err := load(environ("KONG_DECLARATIVE_CONFIG", ""))
	if err != nil {
		return err
	}
	g := newGateway(m)
	if g.trusted, err = prefixes(splitList(os.Getenv("KONG_TRUSTED_IPS"))); err != nil {
		return fmt.Errorf("KONG_TRUSTED_IPS: %w", err)
	}
	g.realHeader = environ("KONG_REAL_IP_HEADER", g.realHeader)
	g.recursive = environ("KONG_REAL_IP_RECURSIVE", "off") == "on"
	g.quiet = environ("KONG_HEADERS", "on") == "off"
	if environ("KONG_PROXY_ACCESS_LOG", "logs/access.log") != "off" {
		g.log = slog.Default()
	}

	servers, err := listen(g)
	if err != nil {
		return err
	}
	// Kong prepares its prefix before it starts, and fails where it can't write.
	if err := os.MkdirAll(filepath.Dir(pidFile()), 0o755); err != nil {
		return fmt.Errorf("prepare the prefix: %w", err)
	}
	if err := os.WriteFile(pidFile(), []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644); err != nil {
		return fmt.Errorf("prepare the prefix: %w", err)
	}
	slog.Info("stand-in for Kong started", "routes", len(m.routes))
	return serve(ctx, servers)
}

// A listening is an address with what answers there.
type listening struct {
	listener net.Listener
	handler  http.Handler
}

func listen(g *gateway) ([]listening, error) {
	var out []listening
	for _, l := range []struct {
		variable, otherwise string
		handler             http.Handler
	}{
		{"KONG_PROXY_LISTEN", "0.0.0.0:8000", g},
		{"KONG_ADMIN_LISTEN", "127.0.0.1:8001", status("/")},
		{"KONG_STATUS_LISTEN", "127.0.0.1:8007", status("/status")},
	} {
		for _, address := range splitList(environ(l.variable, l.otherwise)) {
			fields := strings.Fields(address)
			if fields[0] == "off" {
				continue
			}
			if strings.Contains(address, " ssl") {
				slog.Warn("the stand-in has no TLS listener", "address", fields[0])
				continue
			}
			listener, err := net.Listen("tcp", fields[0])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", l.variable, err)
			}
			out = append(out, listening{listener, l.handler})
		}
	}
	return out, nil
}

// Status answers below a path that the gateway runs.
func status(path string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"version":"`+version+`","message":"ready"}`)
	})
	return mux
}

func serve(ctx context.Context, list []listening) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, l := range list {
		server := &http.Server{Handler: l.handler, ReadHeaderTimeout: time.Minute}
		group.Go(func() error { return server.Serve(l.listener) })
		group.Go(func() error {
			<-ctx.Done()
			return server.Close()
		})
	}
	if err := group.Wait(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
