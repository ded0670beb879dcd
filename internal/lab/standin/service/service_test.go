package service

import (
	"context"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast/internal/lab/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

// A stand-in that starts where the real service would refuse hides what is
// wrong with a release.
func TestServicesRefuseWhatTheRealOnesRefuse(t *testing.T) {
	good := map[string]string{
		"SESSION_SECRET": "1", "MAGIC_LINK_SECRET": "1", "MANAGED_WORKER_SECRET": "1", "ENCRYPTION_KEY": "0123456789abcdef0123456789abcdef",
		"DATABASE_URL": "postgres://x", "APP_ORIGIN": "x", "LOGIN_ORIGIN": "x", "CLICKHOUSE_URL": "http://x", "REDIS_HOST": "x",
		"DB_HOST": "x", "DB_USER": "x", "DB_PASSWORD": "x", "DB_NAME": "x", "APP_NAME": "x", "API_JWT_SECRET": strings.Repeat("x", 32),
		"METRICS_JWT_SECRET": "x", "POOLER_TENANT_ID": "x", "VAULT_ENC_KEY": strings.Repeat("x", 32), "SECRET_KEY_BASE": strings.Repeat("x", 64),
		"TRIGGER_WORKER_TOKEN": "tr_wgt_x", "TRIGGER_API_URL": "http://x", "MINIO_ROOT_USER": "x", "MINIO_ROOT_PASSWORD": "long enough",
	}
	for name, c := range map[string]struct {
		service   string
		args      []string
		variable  string
		value     string
		complaint string
	}{
		"webapp without a secret":             {"webapp", nil, "SESSION_SECRET", "", "SESSION_SECRET"},
		"webapp with a published default":     {"webapp", nil, "MANAGED_WORKER_SECRET", "managed-secret", "published default"},
		"webapp with a long key":              {"webapp", nil, "ENCRYPTION_KEY", strings.Repeat("x", 64), "exactly 32 bytes"},
		"realtime with a short secret":        {"realtime", nil, "SECRET_KEY_BASE", "short", "at least 64"},
		"realtime with another key's length":  {"realtime", nil, "DB_ENC_KEY", "short", "16 characters"},
		"pooler with another key's length":    {"supavisor", nil, "VAULT_ENC_KEY", "short", "32 characters"},
		"supervisor with another token":       {"supervisor", nil, "TRIGGER_WORKER_TOKEN", "x", "tr_wgt_"},
		"supervisor without the token's file": {"supervisor", nil, "TRIGGER_WORKER_TOKEN", "file:///nowhere", "worker token"},
		"store with a short password":         {"minio", []string{"server", "/data"}, "MINIO_ROOT_PASSWORD", "short", "at least 8"},
		"electric open to all":                {"electric", nil, "ELECTRIC_INSECURE", "", "ELECTRIC_SECRET"},
		"functions without a main service":    {"edge-runtime", []string{"start", "--main-service", "/nowhere"}, "JWT_SECRET", "", "entrypoint"},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range good {
				t.Setenv(k, v)
			}
			t.Setenv(c.variable, c.value)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if err := All[c.service](ctx, c.args, nil); err == nil || !strings.Contains(err.Error(), c.complaint) {
				t.Errorf("error %v, want %q in it", err, c.complaint)
			}
		})
	}
}

func TestTheDatabaseMustTakeThePassword(t *testing.T) {
	db := pgtest.New(t)
	if err := database(t.Context(), db.URL("supabase_storage_admin", pgtest.Password), "select from storage.buckets"); err != nil {
		t.Error(err)
	}
	start := time.Now()
	if err := database(t.Context(), db.URL("supabase_storage_admin", "wrong"), "select 1"); err == nil || time.Since(start) > 10*time.Second {
		t.Errorf("error %v after %v", err, time.Since(start))
	}
}

func TestThePoolerTakesOnlyItsTenantsUsers(t *testing.T) {
	db := pgtest.New(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	target := strings.Split(strings.SplitN(db.URL("x", "y"), "@", 2)[1], "/")[0]
	go relayAll(listener, target, "tenant")
	for user, ok := range map[string]bool{"authenticator.tenant": true, "authenticator.other": false, "authenticator": false} {
		dsn := strings.Replace(db.URL(user, pgtest.Password), target, listener.Addr().String(), 1)
		dsn = strings.Replace(dsn, "sslmode=disable", "sslmode=prefer", 1)
		conn, err := pgx.Connect(t.Context(), dsn)
		if (err == nil) != ok {
			t.Errorf("%s: %v", user, err)
		}
		if err != nil {
			continue
		}
		var who string
		if err := conn.QueryRow(t.Context(), "select current_user").Scan(&who); err != nil || who != "authenticator" {
			t.Errorf("%s is %s, %v", user, who, err)
		}
		conn.Close(t.Context())
	}
}

func TestTheSocketProxyPassesOnlyWhatIsOpened(t *testing.T) {
	for _, v := range []string{"POST", "CONTAINERS", "INFO"} {
		t.Setenv(v, "1")
	}
	for request, want := range map[string]bool{
		"GET /v1.41/containers/json":    true,
		"POST /v1.41/containers/create": true,
		"GET /info":                     true,
		"GET /_ping":                    true,
		"GET /version":                  true,
		"GET /v1.41/images/json":        false,
		"POST /v1.41/build":             false,
		"GET /v1.41/secrets":            false,
		"GET /":                         false,
	} {
		method, path, _ := strings.Cut(request, " ")
		if got := dockerAllows(method, path); got != want {
			t.Errorf("%s: %v", request, got)
		}
	}
	t.Setenv("POST", "0")
	if dockerAllows("POST", "/containers/create") {
		t.Error("POST passes though it is closed")
	}
}

func FuzzWithoutTenant(f *testing.F) {
	f.Add([]byte("user\x00postgres.tenant\x00database\x00postgres\x00\x00"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if out, err := withoutTenant(body, "tenant"); err == nil && len(out) != len(body)-len(".tenant") {
			t.Errorf("%q became %q", body, out)
		}
	})
}
