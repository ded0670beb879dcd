// Package postgrest is a stand-in for PostgREST, for labs without a container
// registry. A request becomes one transaction under the role that its token
// names, with the claims in request.jwt.claims, as PostgREST does it; so
// policies and grants decide in the lab what they would decide in production.
//
// Of the query language it knows the comparison operators, and/or on the top
// level as several parameters, select with casts and renames, order, limit and
// offset; it knows no embedding of other tables. What it does not know it
// refuses with status 501.
package postgrest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"holdfast/internal/lab/standin/token"
)

// A Config is what PostgREST reads from its environment.
type Config struct {
	DatabaseURI string   // PGRST_DB_URI: a login of the authenticator role
	Schemas     []string // PGRST_DB_SCHEMAS; the first is the default
	SearchPath  []string // PGRST_DB_EXTRA_SEARCH_PATH, default public
	AnonRole    string   // PGRST_DB_ANON_ROLE; empty refuses requests without a token
	JWTSecret   string   // PGRST_JWT_SECRET: the secret itself or a JWK set
	MaxRows     int      // PGRST_DB_MAX_ROWS; 0 is no limit
}

// Main is the postgrest command: it serves until ctx is done, or, with
// "--ready", asks whether the one that serves is ready.
func Main(ctx context.Context, args []string, _ io.Writer) error {
	if len(args) > 0 && args[0] == "--ready" {
		return ready(ctx)
	}
	if len(args) > 0 {
		return fmt.Errorf("usage: postgrest [--ready], not %q", args)
	}
	maxRows := 0
	if v := os.Getenv("PGRST_DB_MAX_ROWS"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			return fmt.Errorf("PGRST_DB_MAX_ROWS: %w", err)
		}
		maxRows = n
	}
	h, err := New(ctx, Config{
		DatabaseURI: os.Getenv("PGRST_DB_URI"),
		Schemas:     list(environ("PGRST_DB_SCHEMAS", "public")),
		SearchPath:  list(environ("PGRST_DB_EXTRA_SEARCH_PATH", "public")),
		AnonRole:    os.Getenv("PGRST_DB_ANON_ROLE"),
		JWTSecret:   os.Getenv("PGRST_JWT_SECRET"),
		MaxRows:     maxRows,
	})
	if err != nil {
		return err
	}
	defer h.Close()
	servers := []*http.Server{{Addr: net.JoinHostPort("", environ("PGRST_SERVER_PORT", "3000")), Handler: h, ReadHeaderTimeout: time.Minute}}
	if admin := adminAddress(); admin != "" {
		servers = append(servers, &http.Server{Addr: admin, Handler: http.HandlerFunc(h.admin), ReadHeaderTimeout: time.Minute})
	}
	failed := make(chan error, len(servers))
	for _, s := range servers {
		defer s.Close()
		go func() { failed <- s.ListenAndServe() }()
	}
	slog.Info("stand-in for PostgREST started")
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

func environ(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

func list(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

func adminAddress() string {
	port := os.Getenv("PGRST_ADMIN_SERVER_PORT")
	if port == "" {
		return ""
	}
	return net.JoinHostPort(os.Getenv("PGRST_ADMIN_SERVER_HOST"), port)
}

func ready(ctx context.Context) error {
	port := os.Getenv("PGRST_ADMIN_SERVER_PORT")
	if port == "" {
		return errors.New("ERROR: Admin server is not running. Please check admin-server-port config")
	}
	host := environ("PGRST_ADMIN_SERVER_HOST", "localhost")
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/ready", nil)
	if err != nil {
		return err
	}
	client := http.Client{Timeout: 4 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("ERROR: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("ERROR: %s", response.Status)
	}
	return nil
}

// A Handler answers requests as PostgREST does.
type Handler struct {
	config Config
	keys   token.Keys
	pool   *pgxpool.Pool
}

// New makes a handler. The database may be down at that time: requests fail
// until it is there.
func New(ctx context.Context, c Config) (*Handler, error) {
	if c.DatabaseURI == "" {
		return nil, errors.New("PGRST_DB_URI is not set")
	}
	if len(c.Schemas) == 0 {
		return nil, errors.New("PGRST_DB_SCHEMAS is empty")
	}
	h := &Handler{config: c}
	if c.JWTSecret != "" {
		keys, err := token.ParseKeys(c.JWTSecret)
		if err != nil {
			return nil, fmt.Errorf("PGRST_JWT_SECRET: %w", err)
		}
		h.keys = keys
	}
	parsed, err := pgxpool.ParseConfig(c.DatabaseURI)
	if err != nil {
		return nil, errors.New("PGRST_DB_URI can't be understood") // err might quote the password
	}
	parsed.MaxConns = 10
	parsed.ConnConfig.RuntimeParams["application_name"] = "postgrest-stand-in"
	if h.pool, err = pgxpool.NewWithConfig(ctx, parsed); err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	return h, nil
}

// Close ends the connections to the database.
func (h *Handler) Close() { h.pool.Close() }

// Admin answers /live and /ready of the admin server.
func (h *Handler) admin(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/live":
	case "/ready":
		ctx, cancel := context.WithTimeout(r.Context(), 3*time.Second)
		defer cancel()
		if err := h.pool.Ping(ctx); err != nil {
			slog.Error("not ready", "err", err)
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}
