package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"holdfast/internal/lab/standin/client"
	"holdfast/internal/lab/standin/token"
)

// Realtime knows one tenant, which is ready for whoever holds a valid token.
func realtime(ctx context.Context, _ []string, _ io.Writer) error {
	if err := require("DB_HOST", "DB_USER", "DB_PASSWORD", "DB_NAME", "API_JWT_SECRET", "SECRET_KEY_BASE", "APP_NAME"); err != nil {
		return err
	}
	if n := len(os.Getenv("SECRET_KEY_BASE")); n < 64 {
		return fmt.Errorf("SECRET_KEY_BASE must be at least 64 characters long, it has %d", n)
	}
	if n := len(environ("DB_ENC_KEY", "supabaserealtime")); n != 16 {
		return fmt.Errorf("DB_ENC_KEY must be 16 characters long, it has %d", n)
	}
	keys, err := token.ParseKeys(os.Getenv("API_JWT_SECRET"))
	if err != nil {
		return fmt.Errorf("API_JWT_SECRET: %w", err)
	}
	source := dsn(os.Getenv("DB_HOST"), environ("DB_PORT", "5432"), os.Getenv("DB_USER"), os.Getenv("DB_PASSWORD"), os.Getenv("DB_NAME"))
	if err := database(ctx, source, environ("DB_AFTER_CONNECT_QUERY", "select 1")); err != nil {
		return err
	}
	return serve(ctx, "Realtime", site{":" + environ("PORT", "4000"), mux(map[string]http.HandlerFunc{
		"GET /api/tenants/realtime-dev/health": func(w http.ResponseWriter, r *http.Request) {
			if _, err := keys.Verify(token.Bearer(r.Header.Get("Authorization"))); err != nil {
				reply(w, http.StatusForbidden, map[string]string{"message": "forbidden"})
				return
			}
			reply(w, http.StatusOK, map[string]any{"data": map[string]any{"healthy": true, "db_connected": true, "connected_cluster": 1}})
		},
		"GET /healthcheck": text(http.StatusOK, "ok"),
		"GET /socket/websocket": func(w http.ResponseWriter, r *http.Request) {
			// The handshake alone: who may connect is what a lab can test.
			if _, err := keys.Verify(r.Header.Get("X-Api-Key")); err != nil {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			w.WriteHeader(http.StatusUpgradeRequired)
		},
	})})
}

func storage(ctx context.Context, _ []string, _ io.Writer) error {
	if err := require("DATABASE_URL", "AUTH_JWT_SECRET", "SERVICE_KEY", "ANON_KEY", "FILE_STORAGE_BACKEND_PATH"); err != nil {
		return err
	}
	keys, err := token.ParseKeys(os.Getenv("AUTH_JWT_SECRET"))
	if err != nil {
		return fmt.Errorf("AUTH_JWT_SECRET: %w", err)
	}
	for _, name := range []string{"ANON_KEY", "SERVICE_KEY"} {
		if _, err := keys.Verify(os.Getenv(name)); err != nil {
			return fmt.Errorf("%s is not signed with AUTH_JWT_SECRET", name)
		}
	}
	if err := database(ctx, os.Getenv("DATABASE_URL"), "select from storage.buckets"); err != nil {
		return err
	}
	probe := filepath.Join(os.Getenv("FILE_STORAGE_BACKEND_PATH"), ".stand-in")
	if err := os.WriteFile(probe, nil, 0o600); err != nil {
		return fmt.Errorf("the storage folder can't be written: %w", err)
	}
	return serve(ctx, "Storage", site{":" + environ("SERVER_PORT", "5000"), mux(map[string]http.HandlerFunc{
		"GET /status":  text(http.StatusOK, ""),
		"GET /version": text(http.StatusOK, "1.74.0-stand-in"),
		"GET /bucket": func(w http.ResponseWriter, r *http.Request) {
			if _, err := keys.Verify(token.Bearer(r.Header.Get("Authorization"))); err != nil {
				reply(w, http.StatusBadRequest, map[string]string{"statusCode": "403", "error": "Unauthorized", "message": "Invalid Compact JWS"})
				return
			}
			reply(w, http.StatusOK, []any{})
		},
	})})
}

// Imgproxy serves; "imgproxy health" asks the one that does.
func imgproxy(ctx context.Context, args []string, out io.Writer) error {
	bind := environ("IMGPROXY_BIND", ":8080")
	if len(args) > 0 && args[0] == "health" {
		_, port, err := net.SplitHostPort(bind)
		if err != nil {
			return fmt.Errorf("IMGPROXY_BIND: %w", err)
		}
		return client.Get(ctx, "http://127.0.0.1:"+port+"/health")
	}
	return serve(ctx, "imgproxy", site{bind, mux(map[string]http.HandlerFunc{"GET /health": text(http.StatusOK, "imgproxy is running")})})
}

func meta(ctx context.Context, _ []string, _ io.Writer) error {
	if err := require("PG_META_DB_HOST", "PG_META_DB_USER", "PG_META_DB_PASSWORD"); err != nil {
		return err
	}
	source := dsn(os.Getenv("PG_META_DB_HOST"), environ("PG_META_DB_PORT", "5432"), os.Getenv("PG_META_DB_USER"), os.Getenv("PG_META_DB_PASSWORD"), environ("PG_META_DB_NAME", "postgres"))
	if err := database(ctx, source, "select 1"); err != nil {
		return err
	}
	return serve(ctx, "postgres-meta", site{":" + environ("PG_META_PORT", "8080"), mux(map[string]http.HandlerFunc{
		"GET /health": object(map[string]string{"date": "stand-in"}),
		"GET /{$}":    object(map[string]string{"status": "ok", "name": "postgres-meta stand-in"}),
	})})
}

func studio(ctx context.Context, _ []string, _ io.Writer) error {
	if err := require("STUDIO_PG_META_URL", "POSTGRES_PASSWORD", "SUPABASE_ANON_KEY", "SUPABASE_SERVICE_KEY", "AUTH_JWT_SECRET"); err != nil {
		return err
	}
	if len(os.Getenv("PG_META_CRYPTO_KEY")) < 32 {
		return errors.New("PG_META_CRYPTO_KEY must be at least 32 characters long")
	}
	return serve(ctx, "Studio", site{net.JoinHostPort(environ("HOSTNAME", ""), environ("PORT", "3000")), mux(map[string]http.HandlerFunc{
		"GET /api/platform/profile": object(map[string]any{"id": 1, "primary_email": "johndoe@supabase.io", "username": "johndoe"}),
		"GET /{$}": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/project/default", http.StatusTemporaryRedirect)
		},
		"GET /project/default": text(http.StatusOK, "<!doctype html><title>Stand-in for Supabase Studio</title>"),
	})})
}

var functionName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]*$`)

// Functions is the edge runtime. It can't run TypeScript: a function that is
// there is answered for, behind the same check of the token that the main
// service makes.
func functions(ctx context.Context, args []string, _ io.Writer) error {
	i := slices.Index(args, "--main-service")
	if len(args) == 0 || args[0] != "start" || i < 0 || i+1 == len(args) {
		return fmt.Errorf("usage: edge-runtime start --main-service FOLDER, not %q", args)
	}
	main := args[i+1]
	if _, err := os.Stat(filepath.Join(main, "index.ts")); err != nil {
		return fmt.Errorf("could not find an appropriate entrypoint: %w", err)
	}
	keys, err := token.ParseKeys(os.Getenv("JWT_SECRET"))
	if err != nil {
		return fmt.Errorf("JWT_SECRET: %w", err)
	}
	unverified := strings.Split(os.Getenv("UNVERIFIED_FUNCTIONS"), ",")
	root := filepath.Dir(main)
	return serve(ctx, "the edge runtime", site{":9000", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		code := func(status int, code, message string) {
			w.Header().Set("sb-error-code", code)
			reply(w, status, map[string]string{"code": code, "message": message, "msg": message})
		}
		if r.Method != http.MethodOptions && os.Getenv("VERIFY_JWT") != "false" && !slices.Contains(unverified, name) {
			signed := token.Bearer(r.Header.Get("Authorization"))
			if r.Header.Get("Authorization") == "" {
				code(http.StatusUnauthorized, "UNAUTHORIZED_NO_AUTH_HEADER", "Missing authorization header")
				return
			}
			if strings.Count(signed, ".") != 2 {
				code(http.StatusUnauthorized, "UNAUTHORIZED_INVALID_JWT_FORMAT", "Invalid JWT format")
				return
			}
			if _, err := keys.Verify(signed); err != nil {
				code(http.StatusUnauthorized, "UNAUTHORIZED_LEGACY_JWT", "Invalid JWT")
				return
			}
		}
		if _, err := os.Stat(filepath.Join(root, name, "index.ts")); !functionName.MatchString(name) || name == filepath.Base(main) || err != nil {
			code(http.StatusNotFound, "NOT_FOUND", "Requested function was not found")
			return
		}
		reply(w, http.StatusOK, map[string]string{"stand_in": "the function " + name + " would run here"})
	})})
}

// App is a page and a health check where a Next.js app would be.
func app(ctx context.Context, _ []string, _ io.Writer) error {
	return serve(ctx, "the app", site{net.JoinHostPort(environ("HOSTNAME", ""), environ("PORT", "3000")), mux(map[string]http.HandlerFunc{
		"GET /{$}":        text(http.StatusOK, "<!doctype html><title>Stand-in for the app</title><p>The lab's stand-in for a Next.js app."),
		"GET /api/health": object(map[string]string{"status": "ok"}),
		"POST /api/echo": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(w, io.LimitReader(r.Body, 1<<20)) // a client that has gone can't be told
		},
		"GET /api/slow": func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(2 * time.Second)
			reply(w, http.StatusOK, map[string]string{"status": "slow"})
		},
		// It fails more often than not, and never for long.
		"GET /api/flap": func(w http.ResponseWriter, _ *http.Request) {
			status := http.StatusServiceUnavailable
			if flaps.Add(1)%3 == 0 {
				status = http.StatusOK
			}
			w.WriteHeader(status)
		},
	})})
}

// flaps counts requests to the page that flaps.
var flaps atomic.Int64
