//go:build lab

package images

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/internal/lab/standin/token"
	"holdfast/templates"
)

// built makes the images once for all tests.
var built = sync.OnceValues(func() (map[string]string, error) {
	return build(context.Background(), Options{})
})

func TestASecondBuildChangesNothing(t *testing.T) {
	first, err := built()
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	second, err := build(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
	for name, ref := range first {
		if second[name] != ref {
			t.Errorf("%s was %s, is %s", name, ref, second[name])
		}
		id := strings.TrimSpace(docker(t, "image", "inspect", "--format", "{{.Id}}", ref))
		if !strings.HasSuffix(ref, "sha256-"+strings.TrimPrefix(id, "sha256:")) {
			t.Errorf("%s has the ID %s", ref, id)
		}
	}
}

func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v: %s", strings.Join(args[:min(2, len(args))], " "), err, out)
	}
	return string(out)
}

// A stage is a Docker network with containers, removed after the test.
type stage struct {
	t    *testing.T
	name string
	refs map[string]string
}

func newStage(t *testing.T) *stage {
	t.Helper()
	refs, err := built()
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t, "holdfast-images-" + strings.ToLower(rand.Text()[:8]), refs}
	docker(t, "network", "create", s.name)
	t.Cleanup(func() { docker(t, "network", "rm", s.name) })
	return s
}

// Start runs a service confined as its Compose file does: no capability but
// those named, no new privileges, its own environment from a file.
func (s *stage) start(service string, env map[string]string, args ...string) {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), service+".env")
	var b strings.Builder
	for k, v := range env {
		fmt.Fprintf(&b, "%s=%s\n", k, v)
	}
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		s.t.Fatal(err)
	}
	run := []string{"run", "--detach", "--name", s.container(service), "--network", s.name, "--network-alias", service,
		"--cap-drop", "ALL", "--security-opt", "no-new-privileges:true", "--env-file", file}
	image := s.refs[service]
	var command []string
	for i, a := range args { // options before "--", the command after it
		if a == "--" {
			command = args[i+1:]
			args = args[:i]
			break
		}
	}
	docker(s.t, append(append(append(run, args...), image), command...)...)
	s.t.Cleanup(func() {
		if s.t.Failed() {
			s.t.Logf("%s says:\n%s", service, docker(s.t, "logs", "--tail", "20", s.container(service)))
		}
		docker(s.t, "rm", "--force", "--volumes", s.container(service))
	})
}

func (s *stage) container(service string) string { return s.name + "-" + service }

// Await runs a health check in a container until it succeeds.
func (s *stage) await(service string, check ...string) {
	s.t.Helper()
	var out []byte
	var err error
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(300 * time.Millisecond) {
		if out, err = exec.Command("docker", append([]string{"exec", s.container(service)}, check...)...).CombinedOutput(); err == nil {
			return
		}
	}
	s.t.Fatalf("%s is not healthy: %v: %s", service, err, out)
}

var postgresRights = []string{"--cap-add", "CHOWN", "--cap-add", "DAC_OVERRIDE", "--cap-add", "FOWNER", "--cap-add", "SETGID", "--cap-add", "SETUID"}

const secret = "a-secret-of-at-least-thirty-two-characters"

func (s *stage) database(password string) {
	s.t.Helper()
	roles := filepath.Join(s.t.TempDir(), "roles.sql")
	content, err := templates.FS.ReadFile("compose/db/roles.sql")
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(roles, content, 0o644); err != nil {
		s.t.Fatal(err)
	}
	s.start("db", map[string]string{"POSTGRES_PASSWORD": password, "POSTGRES_HOST": "/var/run/postgresql", "PGPORT": "5432"},
		append(postgresRights, "--volume", roles+":/docker-entrypoint-initdb.d/init-scripts/99-roles.sql:ro",
			"--", "postgres", "-c", "config_file=/etc/postgresql/postgresql.conf", "-c", "log_min_messages=error")...)
}

func (s *stage) sql(user, statement string) string {
	s.t.Helper()
	return strings.TrimSpace(docker(s.t, "exec", s.container("db"), "psql", "-X", "-At", "-v", "ON_ERROR_STOP=1", "-U", user, "-d", "postgres", "-c", statement))
}

// The promise of the whole package: a request without a key is refused, one
// with a key sees what the policies let its role see.
func TestDatabaseAPIAndGatewayWorkTogether(t *testing.T) {
	s := newStage(t)
	const password = "0123456789abcdef"
	s.database(password)
	s.await("db", "pg_isready", "-U", "postgres", "-h", "localhost")
	if got := s.sql("postgres", "select rolsuper, rolbypassrls from pg_roles where rolname = current_user"); got != "f|t" {
		t.Errorf("postgres is superuser, bypasses RLS: %s", got)
	}
	s.sql("postgres", `create table public.notes (id int primary key, title text not null, shown bool not null);
		insert into public.notes values (1, 'for all', true), (2, 'hidden', false);
		alter table public.notes enable row level security;
		create policy shown on public.notes for select to anon using (shown)`)

	s.start("rest", map[string]string{
		"PGRST_DB_URI": "postgres://authenticator:" + password + "@db:5432/postgres", "PGRST_DB_SCHEMAS": "public,graphql_public",
		"PGRST_DB_ANON_ROLE": "anon", "PGRST_JWT_SECRET": secret, "PGRST_ADMIN_SERVER_PORT": "3001", "PGRST_ADMIN_SERVER_HOST": "localhost",
	}, "--read-only", "--", "postgrest")
	s.await("rest", "postgrest", "--ready")

	keys := map[string]string{}
	for _, role := range []string{"anon", "service_role"} {
		signed, err := token.Sign(secret, token.Claims{"role": role, "iss": "supabase", "exp": time.Now().Add(time.Hour).Unix()})
		if err != nil {
			t.Fatal(err)
		}
		keys[role] = signed
	}
	entrypoint, err := templates.FS.ReadFile("kong/kong-entrypoint.sh")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string][]byte{"kong-entrypoint.sh": entrypoint, "kong.yml": []byte(gatewayConfig)} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s.start("kong", map[string]string{
		"KONG_DATABASE": "off", "KONG_PREFIX": "/run/kong", "KONG_DECLARATIVE_CONFIG": "/tmp/kong.yml", "KONG_ROUTER_FLAVOR": "expressions",
		"KONG_PROXY_LISTEN": "0.0.0.0:8000", "KONG_ADMIN_LISTEN": "off", "KONG_PLUGINS": "acl,key-auth,request-transformer",
		"SUPABASE_ANON_KEY": keys["anon"], "SUPABASE_SERVICE_KEY": keys["service_role"],
		"SUPABASE_PUBLISHABLE_KEY": "sb_publishable_0123", "SUPABASE_SECRET_KEY": "sb_secret_0123",
	}, "--read-only", "--tmpfs", "/run/kong:mode=1777", "--tmpfs", "/tmp:mode=1777", "--publish", "127.0.0.1::8000",
		"--volume", dir+"/kong.yml:/home/kong/kong.yml:ro", "--volume", dir+"/kong-entrypoint.sh:/home/kong/kong-entrypoint.sh:ro",
		"--entrypoint", "/bin/sh", "--", "/home/kong/kong-entrypoint.sh")
	s.await("kong", "kong", "health")

	base := "http://" + strings.TrimSpace(docker(t, "port", s.container("kong"), "8000/tcp"))
	for name, c := range map[string]struct {
		key    string
		status int
		rows   int
	}{
		"no key":           {"", 401, 0},
		"wrong key":        {"nope", 401, 0},
		"anonymous key":    {keys["anon"], 200, 1},
		"publishable key":  {"sb_publishable_0123", 200, 1},
		"service role key": {keys["service_role"], 200, 2},
		"secret key":       {"sb_secret_0123", 200, 2},
	} {
		request, err := http.NewRequest(http.MethodGet, base+"/rest/v1/notes", nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.key != "" { // both, as supabase-js sends them
			request.Header.Set("apikey", c.key)
			request.Header.Set("Authorization", "Bearer "+c.key)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		var rows []any
		_ = json.Unmarshal(body, &rows) // a refusal is no list
		if response.StatusCode != c.status || len(rows) != c.rows {
			t.Errorf("%s: %d %s", name, response.StatusCode, body)
		}
	}
}

const gatewayConfig = `
_format_version: "3.0"
consumers:
  - username: anon
    keyauth_credentials: [{key: "$SUPABASE_ANON_KEY"}, {key: "$SUPABASE_PUBLISHABLE_KEY"}]
    acls: [{group: anon}]
  - username: service_role
    keyauth_credentials: [{key: "$SUPABASE_SERVICE_KEY"}, {key: "$SUPABASE_SECRET_KEY"}]
    acls: [{group: admin}]
services:
  - name: rest
    url: http://rest:3000/
    routes: [{name: rest, paths: [/rest/v1/]}]
    plugins:
      - {name: key-auth}
      - {name: acl, config: {allow: [admin, anon]}}
      - name: request-transformer
        config:
          add: {headers: ["Authorization: $LUA_AUTH_EXPR"]}
          replace: {headers: ["Authorization: $LUA_AUTH_EXPR"]}
`

func TestADatabaseKilledWhileItIsMadeIsMadeAgain(t *testing.T) {
	s := newStage(t)
	s.database("0123456789abcdef")
	time.Sleep(1200 * time.Millisecond) // in the midst of initdb or of the scripts
	docker(t, "kill", s.container("db"))
	docker(t, "start", s.container("db"))
	s.await("db", "pg_isready", "-U", "postgres", "-h", "localhost")
	if got := s.sql("postgres", "select count(*) from pg_roles where rolname in ('anon', 'authenticated', 'service_role', 'authenticator')"); got != "4" {
		t.Errorf("%s of 4 roles", got)
	}
	s.sql("postgres", "create table kept (id int)")
	docker(t, "restart", s.container("db"))
	s.await("db", "pg_isready", "-U", "postgres", "-h", "localhost")
	s.sql("postgres", "select * from kept")
}
