package service

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Refused are the secrets that Trigger.dev once published as defaults; its
// webapp does not start with them.
var refused = []string{
	"managed-secret", "2818143646516f6fffd707b36f334bbb", "44da78b7bbb0dfe709cf38931d25dcdd",
	"f686147ab967943ebbe9ed3b496e465a", "447c29678f9eaf289e9c4b70d3dd8a7f",
}

func webapp(ctx context.Context, _ []string, _ io.Writer) error {
	secrets := []string{"SESSION_SECRET", "MAGIC_LINK_SECRET", "ENCRYPTION_KEY", "MANAGED_WORKER_SECRET"}
	if err := require(append(secrets, "DATABASE_URL", "APP_ORIGIN", "LOGIN_ORIGIN", "CLICKHOUSE_URL", "REDIS_HOST")...); err != nil {
		return err
	}
	for _, name := range secrets {
		if slices.Contains(refused, os.Getenv(name)) && os.Getenv("ALLOW_INSECURE_DEFAULT_SECRETS") != "1" {
			return fmt.Errorf("%s is a published default: set a value of your own", name)
		}
	}
	if n := len(os.Getenv("ENCRYPTION_KEY")); n != 32 {
		return fmt.Errorf("ENCRYPTION_KEY must be exactly 32 bytes, it has %d", n)
	}
	source, err := withoutSchema(os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	if err := database(ctx, source, "select 1"); err != nil {
		return err
	}
	if err := redis(ctx, net.JoinHostPort(os.Getenv("REDIS_HOST"), environ("REDIS_PORT", "6379")), os.Getenv("REDIS_PASSWORD")); err != nil {
		return err
	}
	if err := clickhousePing(ctx, os.Getenv("CLICKHOUSE_URL")); err != nil {
		return err
	}
	if err := bootstrap(); err != nil {
		return err
	}
	return serve(ctx, "Trigger.dev's webapp", site{":" + environ("PORT", "3000"), mux(map[string]http.HandlerFunc{
		"GET /healthcheck": text(http.StatusOK, "OK"),
		"GET /{$}":         func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) },
		"GET /login":       text(http.StatusOK, "<!doctype html><title>Stand-in for Trigger.dev</title>"),
	})})
}

// WithoutSchema takes Prisma's own parameters off a connection string.
func withoutSchema(dsn string) (string, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return "", errors.New("DATABASE_URL can't be understood") // err might quote the password
	}
	q := u.Query()
	for _, name := range []string{"schema", "connection_limit", "pool_timeout"} {
		q.Del(name)
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// Redis makes sure that the server takes the password, or needs none.
func redis(ctx context.Context, address, password string) error {
	if err := reachable(ctx, address); err != nil {
		return fmt.Errorf("connect to redis: %w", err)
	}
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return fmt.Errorf("connect to redis: %w", err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	commands := "*1\r\n$4\r\nPING\r\n"
	if password != "" {
		commands = fmt.Sprintf("*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n", len(password), password) + commands
	}
	if _, err := io.WriteString(conn, commands); err != nil {
		return fmt.Errorf("ask redis: %w", err)
	}
	var got strings.Builder
	buffer := make([]byte, 512)
	for !strings.Contains(got.String(), "+PONG") {
		n, err := conn.Read(buffer)
		if err != nil {
			return fmt.Errorf("ask redis: %w", err)
		}
		got.Write(buffer[:n])
		if strings.HasPrefix(got.String(), "-") || strings.Contains(got.String(), "\r\n-") {
			return fmt.Errorf("redis refused: %s", strings.TrimSpace(got.String()))
		}
	}
	return nil
}

func clickhousePing(ctx context.Context, address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return errors.New("CLICKHOUSE_URL can't be understood") // err might quote the password
	}
	if err := reachable(ctx, u.Host); err != nil {
		return fmt.Errorf("connect to clickhouse: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.Scheme+"://"+u.Host+"/?query=SELECT%201", nil)
	if err != nil {
		return errors.New("CLICKHOUSE_URL can't be understood")
	}
	password, _ := u.User.Password()
	request.SetBasicAuth(u.User.Username(), password)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("ask clickhouse: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("clickhouse refused: %s", response.Status)
	}
	return nil
}

// Bootstrap leaves the worker group's token where the supervisor reads it, once.
func bootstrap() error {
	path := os.Getenv("TRIGGER_BOOTSTRAP_WORKER_TOKEN_PATH")
	if os.Getenv("TRIGGER_BOOTSTRAP_ENABLED") != "1" || path == "" {
		return nil
	}
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("leave the worker token: %w", err)
	}
	if err := os.WriteFile(path, []byte("tr_wgt_"+rand.Text()), 0o600); err != nil {
		return fmt.Errorf("leave the worker token: %w", err)
	}
	return nil
}

func supervisor(ctx context.Context, _ []string, _ io.Writer) error {
	if err := require("TRIGGER_WORKER_TOKEN", "TRIGGER_API_URL", "MANAGED_WORKER_SECRET"); err != nil {
		return err
	}
	worker := os.Getenv("TRIGGER_WORKER_TOKEN")
	if path, isFile := strings.CutPrefix(worker, "file://"); isFile {
		content, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read the worker token: %w", err)
		}
		worker = strings.TrimSpace(string(content))
	}
	if !strings.HasPrefix(worker, "tr_wgt_") {
		return errors.New("the worker token does not start with tr_wgt_")
	}
	api, err := url.Parse(os.Getenv("TRIGGER_API_URL"))
	if err != nil {
		return fmt.Errorf("TRIGGER_API_URL: %w", err)
	}
	if err := reachable(ctx, api.Host); err != nil {
		return fmt.Errorf("reach the webapp: %w", err)
	}
	if host, isTCP := strings.CutPrefix(os.Getenv("DOCKER_HOST"), "tcp://"); isTCP {
		if err := reachable(ctx, host); err != nil {
			return fmt.Errorf("reach the Docker proxy: %w", err)
		}
	}
	port := environ("TRIGGER_WORKLOAD_API_PORT_INTERNAL", environ("TRIGGER_WORKLOAD_API_PORT_EXTERNAL", "8020"))
	return serve(ctx, "Trigger.dev's supervisor", site{":" + port, mux(map[string]http.HandlerFunc{"GET /health": text(http.StatusOK, "OK")})})
}

func electric(ctx context.Context, _ []string, _ io.Writer) error {
	if os.Getenv("ELECTRIC_SECRET") == "" && os.Getenv("ELECTRIC_INSECURE") != "true" {
		return errors.New("set ELECTRIC_SECRET, or ELECTRIC_INSECURE=true")
	}
	source, err := withoutSchema(os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	// Electric replicates: it does not start without logical decoding.
	const logical = "do $$ begin if current_setting('wal_level') <> 'logical' then raise exception 'wal_level must be logical'; end if; end $$"
	if err := database(ctx, source, logical); err != nil {
		return err
	}
	return serve(ctx, "Electric", site{":" + environ("ELECTRIC_PORT", "3000"), mux(map[string]http.HandlerFunc{
		"GET /v1/health": object(map[string]string{"status": "active"}),
	})})
}

// Clickhouse answers SELECT 1 to the user and the password of its environment,
// over HTTP. The native port is open and says nothing.
func clickhouse(ctx context.Context, _ []string, _ io.Writer) error {
	user, password := environ("CLICKHOUSE_USER", "default"), os.Getenv("CLICKHOUSE_PASSWORD")
	native, err := net.Listen("tcp", ":9000")
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = native.Close() })
	go func() {
		for {
			conn, err := native.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	return serve(ctx, "ClickHouse", site{":8123", mux(map[string]http.HandlerFunc{
		"/ping": text(http.StatusOK, "Ok.\n"),
		"/{$}": func(w http.ResponseWriter, r *http.Request) {
			u, p, _ := r.BasicAuth()
			if u != user || subtle.ConstantTimeCompare([]byte(p), []byte(password)) != 1 {
				w.Header().Set("X-ClickHouse-Exception-Code", "516")
				w.WriteHeader(http.StatusForbidden)
				_, _ = io.WriteString(w, "Code: 516. DB::Exception: default: Authentication failed (AUTHENTICATION_FAILED)\n")
				return
			}
			if q := strings.TrimSpace(r.URL.Query().Get("query")); !strings.EqualFold(q, "SELECT 1") {
				w.WriteHeader(http.StatusNotImplemented)
				_, _ = io.WriteString(w, "the stand-in for ClickHouse knows SELECT 1 only\n")
				return
			}
			_, _ = io.WriteString(w, "1\n")
		},
	})})
}

// ObjectStore has MinIO's health checks and refuses everything else, as MinIO
// does without a signature.
func objectStore(ctx context.Context, args []string, _ io.Writer) error {
	if len(args) < 2 || args[0] != "server" {
		return fmt.Errorf("usage: minio server FOLDER, not %q", args)
	}
	if err := require("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"); err != nil {
		return err
	}
	if len(os.Getenv("MINIO_ROOT_PASSWORD")) < 8 {
		return errors.New("MINIO_ROOT_PASSWORD must be at least 8 characters long")
	}
	folder := args[1]
	if err := os.WriteFile(filepath.Join(folder, ".stand-in"), nil, 0o600); err != nil {
		return fmt.Errorf("the store's folder can't be written: %w", err)
	}
	return serve(ctx, "the object store", site{":9000", mux(map[string]http.HandlerFunc{
		"GET /minio/health/live":  text(http.StatusOK, ""),
		"GET /minio/health/ready": text(http.StatusOK, ""),
		"/": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>`)
		},
	})})
}

var dockerVersion = regexp.MustCompile(`^/v[0-9.]+`)

// SocketProxy passes the parts of Docker's API on that its environment opens,
// as docker-socket-proxy does.
func socketProxy(ctx context.Context, _ []string, _ io.Writer) error {
	socket := environ("SOCKET_PATH", "/var/run/docker.sock")
	proxy := &httputil.ReverseProxy{
		FlushInterval: -1,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = "http", "docker"
		},
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}},
	}
	return serve(ctx, "the Docker socket proxy", site{":2375", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !dockerAllows(r.Method, r.URL.Path) {
			text(http.StatusForbidden, "<html><body><h1>403 Forbidden</h1>\nRequest forbidden by administrative rules.\n</body></html>\n")(w, r)
			return
		}
		proxy.ServeHTTP(w, r)
	})})
}

// DockerAllows says whether the environment opens a part of the API: a
// variable named like the part, and POST for all that changes something.
func dockerAllows(method, path string) bool {
	part, _, _ := strings.Cut(strings.TrimPrefix(dockerVersion.ReplaceAllString(path, ""), "/"), "/")
	if method != http.MethodGet && method != http.MethodHead && os.Getenv("POST") != "1" {
		return false
	}
	variable := strings.ToUpper(strings.TrimPrefix(part, "_"))
	otherwise := ""
	if slices.Contains([]string{"EVENTS", "PING", "VERSION"}, variable) {
		otherwise = "1" // open unless closed, in the original too
	}
	return variable != "" && environ(variable, otherwise) == "1"
}
