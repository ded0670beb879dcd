// Package service plays the parts of the stacks that a lab needs to be there
// and healthy but not to do their work: Realtime, Storage, imgproxy,
// postgres-meta, Studio, the edge runtime, the pooler, a Next.js app and
// Trigger.dev's services. Each listens where the real one does, answers its
// health checks, and refuses to start where the real one would: without its
// secrets, or when its database does not take its password. So a lab finds
// what is wired wrongly.
//
// They are stand-ins for labs without a container registry and no use outside
// of one.
package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// A Main runs a service until ctx is done. What it was asked to print goes to
// out.
type Main func(ctx context.Context, args []string, out io.Writer) error

// All are the services by name.
var All = map[string]Main{
	"realtime":     realtime,
	"storage":      storage,
	"imgproxy":     imgproxy,
	"meta":         meta,
	"studio":       studio,
	"edge-runtime": functions,
	"supavisor":    supavisor,
	"app":          app,
	"webapp":       webapp,
	"supervisor":   supervisor,
	"electric":     electric,
	"clickhouse":   clickhouse,
	"minio":        objectStore,
	"docker-proxy": socketProxy,
}

func environ(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// Require says which of the named variables are missing.
func require(names ...string) error {
	var missing []string
	for _, n := range names {
		if os.Getenv(n) == "" {
			missing = append(missing, n)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("missing in the environment: %s", strings.Join(missing, ", "))
	}
	return nil
}

// A site is an address and what answers there.
type site struct {
	address string
	handler http.Handler
}

// Serve answers at all sites until ctx is done or one of them fails.
func serve(ctx context.Context, name string, sites ...site) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, s := range sites {
		server := &http.Server{Addr: s.address, Handler: s.handler, ReadHeaderTimeout: time.Minute}
		group.Go(server.ListenAndServe)
		group.Go(func() error {
			<-ctx.Done()
			// Requests that are under way are answered, as Next.js does.
			draining, cancel := context.WithTimeout(context.WithoutCancel(ctx), 8*time.Second)
			defer cancel()
			if err := server.Shutdown(draining); err != nil {
				return server.Close()
			}
			return nil
		})
	}
	slog.Info("stand-in started", "for", name)
	if err := group.Wait(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Mux makes a handler of patterns, as http.ServeMux has them.
func mux(routes map[string]http.HandlerFunc) http.Handler {
	m := http.NewServeMux()
	for pattern, handler := range routes {
		m.HandleFunc(pattern, handler)
	}
	return m
}

// Text answers with a fixed body.
func text(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body) // a client that has gone can't be told
	}
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that has gone can't be told
}

func object(body any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, body) }
}

// Database waits until the database at dsn takes a connection, up to half a
// minute. A refused password fails at once: waiting does not mend it.
func database(ctx context.Context, dsn, check string) error {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return errors.New("the address of the database can't be understood") // err might quote the password
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := try(ctx, config, check)
		if err == nil || strings.Contains(err.Error(), "28P01") || time.Now().After(deadline) || ctx.Err() != nil {
			return err
		}
		slog.Warn("waiting for the database", "err", err)
		time.Sleep(time.Second)
	}
}

func try(ctx context.Context, config *pgx.ConnConfig, check string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("connect to the database: %w", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, check); err != nil {
		return fmt.Errorf("ask the database: %w", err)
	}
	return nil
}

// DSN makes a connection string of parts, so that a password with odd
// characters stays whole.
func dsn(host, port, user, password, name string) string {
	quote := func(s string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
	}
	return fmt.Sprintf("host=%s port=%s user=%s password=%s dbname=%s", quote(host), quote(port), quote(user), quote(password), quote(name))
}

// Reachable waits until a TCP address answers, up to half a minute.
func reachable(ctx context.Context, address string) error {
	deadline := time.Now().Add(30 * time.Second)
	for {
		conn, err := (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return err
		}
		time.Sleep(time.Second)
	}
}
