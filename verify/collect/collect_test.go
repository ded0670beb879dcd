package collect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/verify"
)

// here runs a batch on this machine, as a stand-in for a server: what it lacks
// must end as an error of that part.
func here(shell string) func(context.Context, string) ([]byte, []byte, error) {
	return func(ctx context.Context, script string) ([]byte, []byte, error) {
		var stdout, stderr bytes.Buffer
		cmd := exec.CommandContext(ctx, shell, "-c", script)
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		return stdout.Bytes(), stderr.Bytes(), err
	}
}

func TestABatchRunsInAnyPosixShellAndEverySectionIsKnownOrExplained(t *testing.T) {
	for _, shell := range []string{"dash", "bash"} {
		facts, err := Run(t.Context(), Input{Environment: "here", Servers: []Server{
			{Role: verify.Production, Address: "127.0.0.1", Run: here(shell)},
			{Role: verify.Audit, Address: "127.0.0.1", Run: here(shell)},
		}}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		for _, role := range []string{verify.Production, verify.Audit} {
			s := facts.Servers[role]
			if s == nil || s.OS == nil || s.Accounts == nil || s.Disks == nil || s.Files == nil {
				t.Fatalf("%s: %s: %+v\n%+v", shell, role, s, facts.Errors)
			}
			explained := map[string]bool{}
			for _, e := range facts.Errors {
				if e.Server == role && e.Message != "" {
					explained[e.What] = true
				}
			}
			known := map[string]bool{
				"sshd": s.SSHD != nil, "host_keys": s.HostKeys != nil, "firewall": s.Firewall != nil, "kernel": s.Kernel != nil, "docker": s.Docker != nil,
				"packages": s.Packages != nil, "time": s.Time != nil, "units": s.Units != nil, "release": s.Release != nil, "sudo": s.Sudo != nil,
			}
			for section, there := range known {
				if there == explained["server."+section] {
					t.Errorf("%s: %s: server.%s is known: %t, explained: %t", shell, role, section, there, explained["server."+section])
				}
			}
		}
		if facts.Network == nil || facts.Network.FromAudit == nil || facts.Network.Outside == nil || facts.Gateway == nil || facts.Database != nil {
			t.Errorf("%s: network %+v, gateway %+v, database %+v", shell, facts.Network, facts.Gateway, facts.Database)
		}
	}
}

func TestProbesAreCleanPosixShell(t *testing.T) {
	if path, err := exec.LookPath("shellcheck"); err == nil {
		files, _ := filepath.Glob("probes/*.sh")
		// SC2154: the variables are assigned in front of the script.
		if out, err := exec.Command(path, append([]string{"-s", "sh", "-e", "SC2154"}, files...)...).CombinedOutput(); err != nil {
			t.Errorf("shellcheck: %v\n%s", err, out)
		}
	}
	files, err := os.ReadDir("probes")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if out, err := exec.Command("dash", "-n", "probes/"+f.Name()).CombinedOutput(); err != nil {
			t.Errorf("%s: %s", f.Name(), out)
		}
	}
}

func TestAServerThatCantBeAskedIsAnErrorAndNoFacts(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	for name, run := range map[string]func(context.Context, string) ([]byte, []byte, error){
		"refuses": func(context.Context, string) ([]byte, []byte, error) { return nil, nil, errors.New("connection lost") },
		"babbles": func(context.Context, string) ([]byte, []byte, error) { return []byte("Welcome!\r\n"), nil, nil },
		"is cut": func(context.Context, string) ([]byte, []byte, error) {
			return []byte("\nX begin os\nID=debian"), nil, nil
		},
		"is stuck": func(ctx context.Context, _ string) ([]byte, []byte, error) { <-ctx.Done(); return nil, nil, ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			facts, err := Run(t.Context(), Input{Environment: "x", Servers: []Server{{Role: verify.Production, Address: "127.0.0.1", Run: run}}}, 2*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if len(facts.Servers) != 0 || facts.Compose != nil {
				t.Errorf("facts were made of nothing: %+v", facts)
			}
			found := false
			for _, e := range facts.Errors {
				found = found || e.What == "server" && e.Server == verify.Production
			}
			if !found || time.Since(start) > 10*time.Second {
				t.Errorf("after %s: %+v", time.Since(start), facts.Errors)
			}
		})
	}
}

func TestADatabaseErrorIsPassedOn(t *testing.T) {
	facts, err := Run(t.Context(), Input{Environment: "x", Database: func(context.Context) (*verify.Database, error) {
		return nil, errors.New("permission denied for schema auth")
	}}, time.Second)
	if err != nil || len(facts.Errors) != 1 || facts.Errors[0] != (verify.CollectError{Layer: "database", What: "database", Message: "permission denied for schema auth"}) {
		t.Errorf("%v %+v", err, facts)
	}
}

// A gateway with the limits of its config: a key on everything, a rate limit on
// tokens, a limit of bodies.
func testGateway(t *testing.T) (Server, *atomic.Int32) {
	t.Helper()
	var tokens atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Set-Cookie", "secret=1")
		switch {
		case r.Header.Get("apikey") != "anon":
			w.WriteHeader(http.StatusUnauthorized)
		case r.ContentLength > 2<<20:
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		case r.URL.Path == "/auth/v1/token" && tokens.Add(1) > 30:
			w.WriteHeader(http.StatusTooManyRequests)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(server.Close)
	kong := strings.Replace(kongFileText, "services:\n", "services:\n  - name: token\n    routes: [{paths: [/auth/v1/token]}]\n    plugins: [{name: rate-limiting, config: {minute: 30}}]\n", 1)
	return Server{
		Role: verify.Production, Address: "127.0.0.1",
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
		},
		Run: func(_ context.Context, script string) ([]byte, []byte, error) {
			nonce, _, _ := strings.Cut(script[strings.Index(script, "\nn=")+3:], "\n")
			var out strings.Builder
			if strings.Contains(script, "kong.yml") {
				fmt.Fprintf(&out, "\n%[1]s begin kong\n%[2]s\n%[1]s end kong 0\n", nonce, kong)
			}
			fmt.Fprintf(&out, "\n%s done\n", nonce)
			return []byte(out.String()), nil, nil
		},
	}, &tokens
}

func TestTheGatewayIsProbedAndItsLimitsTried(t *testing.T) {
	server, tokens := testGateway(t)
	facts, err := Run(t.Context(), Input{Environment: "x", AnonKey: "anon", Servers: []Server{server}}, 20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	g := facts.Gateway
	if g == nil || g.Config == nil || g.Burst == nil {
		t.Fatalf("gateway %+v\n%+v", g, facts.Errors)
	}
	for name, status := range map[string]int{"rest-no-key": 401, "rest-wrong-key": 401, "rest-anon": 404, "oversize": 413, "dashboard": 401} {
		if g.Probes[name].Status != status {
			t.Errorf("%s: %+v", name, g.Probes[name])
		}
	}
	if len(g.Probes) != len(gatewayRequests(""))+1 {
		t.Errorf("%d probes", len(g.Probes))
	}
	same(t, "headers kept", g.Probes["rest-anon"].Headers, map[string]string{"x-content-type-options": "nosniff"})
	if g.Burst.Limited == 0 || g.Burst.Sent < 31 || g.Burst.Sent > 30+burstMargin+burstWorkers || tokens.Load() > maxBurst {
		t.Errorf("burst %+v, %d token requests", g.Burst, tokens.Load())
	}
}

func TestAGatewayWithoutAnyLimitIsDescribedInTime(t *testing.T) {
	server, _ := testGateway(t)
	lazy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		buf := make([]byte, 1)
		_, _ = r.Body.Read(buf) // waits for the body
	}))
	defer lazy.Close()
	server.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, lazy.Listener.Addr().String())
	}
	facts, err := Run(t.Context(), Input{Environment: "x", AnonKey: "anon", Servers: []Server{server}}, 20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if p, ok := facts.Gateway.Probes["oversize"]; !ok || p.Status != 0 {
		t.Errorf("oversize %+v %t\n%+v", p, ok, facts.Errors)
	}
	if b := facts.Gateway.Burst; b == nil || b.Limited != 0 || b.Sent == 0 {
		t.Errorf("burst %+v", b)
	}
}
