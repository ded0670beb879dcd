package stacks

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"holdfast/internal/lab/standin/kong"
	"holdfast/templates"
)

// fill runs the gateway's entry point with a shell over a template, as the
// container does, and returns what the gateway would read.
func fill(t *testing.T, shell, template string, env ...string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	script := filepath.Join(dir, "kong-entrypoint.sh")
	program, err := templates.FS.ReadFile("kong/kong-entrypoint.sh")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(script, program, 0o644); err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(dir, "template.yml")
	if err := os.WriteFile(source, []byte(template), 0o644); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(dir, "kong.yml")
	words := append(strings.Fields(shell), script, "sh", "-c", "echo started")
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "KONG_TEMPLATE=" + source, "KONG_DECLARATIVE_CONFIG=" + target,
		"SUPABASE_ANON_KEY=eyJhbGci.eyJyb2xl.c2ln-_", "SUPABASE_SERVICE_KEY=eyJhbGci.c2VydmljZQ.c2ln",
		"SUPABASE_PUBLISHABLE_KEY=sb_publishable_abc-_1", "SUPABASE_SECRET_KEY=sb_secret_def-_2",
	}, env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stderr.String(), err
	}
	if stdout.String() != "started\n" {
		t.Errorf("%s: the gateway was not started: %q", shell, stdout.String())
	}
	if info, err := os.Stat(target); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%s: the filled-in file has mode %v (%v)", shell, info.Mode(), err)
	}
	content, err := os.ReadFile(target)
	if err != nil {
		t.Fatal(err)
	}
	return string(content), nil
}

// shells are those that are sh somewhere: Debian's, the gateway image's and
// BusyBox's, where there is one.
func shells(t *testing.T) []string {
	found := []string{"sh"}
	for _, shell := range []string{"dash", "bash --posix", "busybox sh"} {
		if _, err := exec.LookPath(strings.Fields(shell)[0]); err == nil {
			found = append(found, shell)
		}
	}
	return found
}

func TestEntryPointFillsInKeysThatTheGatewayLoads(t *testing.T) {
	release := render(t, example())
	config := string(release.file("supabase/kong.yml"))
	plugins := ""
	compose, err := load("supabase", release.file("supabase/compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range compose.Services["kong"].Environment {
		if name == "KONG_PLUGINS" || name == "KONG_ROUTER_FLAVOR" {
			t.Setenv(name, *value)
			plugins += *value
		}
	}
	if !strings.Contains(plugins, "rate-limiting") {
		t.Fatal("the gateway does not load its plugins")
	}
	for _, shell := range shells(t) {
		filled, err := fill(t, shell, config)
		if err != nil {
			t.Fatalf("%s: %v: %s", shell, err, filled)
		}
		if strings.Contains(filled, "$SUPABASE") || strings.Contains(filled, "$LUA") {
			t.Errorf("%s: a placeholder stayed", shell)
		}
		var document struct {
			Consumers []struct {
				Keys []struct{ Key string } `yaml:"keyauth_credentials"`
			}
		}
		if err := yaml.Unmarshal([]byte(filled), &document); err != nil {
			t.Fatalf("%s: %v", shell, err)
		}
		if got := document.Consumers[1].Keys[1].Key; got != "sb_secret_def-_2" {
			t.Errorf("%s: the secret key became %q", shell, got)
		}
		file := filepath.Join(t.TempDir(), "kong.yml")
		if err := os.WriteFile(file, []byte(filled), 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := kong.Main(context.Background(), []string{"config", "parse", file}, &out); err != nil {
			t.Errorf("%s: the gateway does not load it: %v", shell, err)
		}
	}
}

func TestEntryPointKeepsEveryCharacterOfAValue(t *testing.T) {
	for _, shell := range shells(t) {
		for _, value := range []string{`a$HOME`, `$`, `&`, `\`, `\\1&`, `"`, `'`, "a: b # c", "`id`", `$(id)`, "é", "$SUPABASE_SECRET_KEY", "|"} {
			filled, err := fill(t, shell, "value: \"<$TRICKY>$TRICKY\"\n", "TRICKY="+value)
			if err != nil {
				t.Errorf("%s: %q: %v: %s", shell, value, err, filled)
				continue
			}
			var got struct{ Value string }
			if err := yaml.Unmarshal([]byte(filled), &got); err != nil || got.Value != "<"+value+">"+value {
				t.Errorf("%s: %q became %q (%v)", shell, value, got.Value, err)
			}
		}
	}
}

func TestEntryPointRefusesWhatWouldOpenTheGateway(t *testing.T) {
	for _, shell := range shells(t) {
		for name, test := range map[string]struct {
			env  []string
			want string
		}{
			"unset":           {nil, "TRICKY is not set"},
			"empty":           {[]string{"TRICKY="}, "TRICKY is not set"},
			"line break":      {[]string{"TRICKY=a\nb: c"}, "TRICKY has a line break"},
			"no key":          {[]string{"TRICKY=x", "SUPABASE_SECRET_KEY="}, "SUPABASE_SECRET_KEY is empty"},
			"a key with code": {[]string{"TRICKY=x", "SUPABASE_ANON_KEY=x' or true or 'y"}, "SUPABASE_ANON_KEY is empty or has a character"},
		} {
			said, err := fill(t, shell, "value: \"$TRICKY\"\n", test.env...)
			if err == nil || !strings.Contains(said, test.want) {
				t.Errorf("%s, %s: error %v, said %q", shell, name, err, said)
			}
			if strings.Contains(said, "true or") {
				t.Errorf("%s, %s: the value is shown: %q", shell, name, said)
			}
		}
	}
}

func TestEntryPointPassesShellcheck(t *testing.T) {
	if _, err := exec.LookPath("shellcheck"); err != nil {
		t.Fatal("shellcheck is not installed; .ci/setup installs it")
	}
	cmd := exec.Command("shellcheck", "-s", "sh", "-")
	cmd.Stdin = bytes.NewReader(render(t, example()).file("supabase/kong-entrypoint.sh"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}

// route is one way through the gateway, as a reader of the file sees it.
type route struct {
	service, path string
	plugins       map[string]map[string]any
}

func routes(t *testing.T) []route {
	t.Helper()
	var document struct {
		Services []struct {
			Name    string
			Routes  []struct{ Paths []string }
			Plugins []struct {
				Name   string
				Config map[string]any
			}
		}
	}
	if err := yaml.Unmarshal(render(t, example()).file("supabase/kong.yml"), &document); err != nil {
		t.Fatal(err)
	}
	var all []route
	for _, s := range document.Services {
		plugins := map[string]map[string]any{}
		for _, p := range s.Plugins {
			plugins[p.Name] = p.Config
		}
		for _, r := range s.Routes {
			paths := r.Paths
			if paths == nil {
				paths = []string{"/rest/v1/ (exactly)"}
			}
			for _, path := range paths {
				all = append(all, route{s.Name, path, plugins})
			}
		}
	}
	return all
}

func TestEveryRouteIsGuardedOrClosed(t *testing.T) {
	open := map[string]bool{
		"/auth/v1/verify": true, "/auth/v1/callback": true, "/auth/v1/authorize": true, "/auth/v1/.well-known/jwks.json": true,
		"/auth/v1/sso/saml/acs": true, "/auth/v1/sso/saml/metadata": true, "/.well-known/oauth-authorization-server/auth/v1": true,
		"/storage/v1/": true, "/functions/v1/": true,
	}
	closed := map[string]bool{"/pg/": true, "/mcp": true, "/api/mcp": true, "/analytics/v1": true, "/realtime/v1/api/openapi": true, "/realtime/v1/api/tenants": true}
	seen := map[string]bool{}
	for _, r := range routes(t) {
		seen[r.path] = true
		if r.path == "/" {
			t.Error("there is a route for everything")
		}
		if closed[r.path] {
			if r.plugins["request-termination"] == nil {
				t.Errorf("%s is not closed", r.path)
			}
			continue
		}
		if (r.plugins["key-auth"] == nil || r.plugins["acl"] == nil) != open[r.path] {
			t.Errorf("%s: key-auth %v, acl %v", r.path, r.plugins["key-auth"], r.plugins["acl"])
		}
		for _, plugin := range []string{"cors", "rate-limiting", "request-size-limiting"} {
			if r.plugins[plugin] == nil {
				t.Errorf("%s has no %s", r.path, plugin)
			}
		}
	}
	for path := range closed {
		if !seen[path] {
			t.Errorf("%s is not refused", path)
		}
	}
	for path := range open {
		if !seen[path] {
			t.Errorf("%s leads nowhere", path)
		}
	}
}

func TestSigningInIsLimitedMostOfAll(t *testing.T) {
	limit := map[string]int{}
	for _, r := range routes(t) {
		if config := r.plugins["rate-limiting"]; config != nil {
			limit[r.path] = config["minute"].(int)
		}
	}
	for path, minute := range limit {
		if minute < limit["/auth/v1/token"] {
			t.Errorf("%s allows %d a minute, fewer than signing in", path, minute)
		}
	}
	if limit["/auth/v1/token"] != 30 || limit["/auth/v1/otp"] != 30 {
		t.Errorf("signing in is limited to %d, codes to %d a minute", limit["/auth/v1/token"], limit["/auth/v1/otp"])
	}
}
