//go:build lab

package hardening_test

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/environment"
	"holdfast/internal/lab"
	"holdfast/internal/probe"
	"holdfast/provision"
	"holdfast/provision/hardening"
	"holdfast/provision/transport"
)

// The tests' lab has a name and a network of its own; those who test side by
// side on one machine give each run others.
var (
	testLab    = cmp.Or(os.Getenv("HOLDFAST_TEST_LAB"), "holdfast-provision")
	testSubnet = cmp.Or(os.Getenv("HOLDFAST_TEST_SUBNET"), "198.18.121.0/24")
)

// server is a lab server as Apply sees it: the real transport, as cmd uses it.
type server struct {
	t      testing.TB
	role   string // what it is to become
	where  lab.Server
	cfg    environment.Config
	conn   *transport.Conn
	former []*transport.Conn

	scratch  bool
	port     int // of sshd; 0: 22
	observed int // times
	// alter, when set, changes what is declared.
	alter func([]provision.Resource) []provision.Resource
	// interfere, when set, takes the place of each new login.
	interfere func(context.Context) error
}

var pair *lab.Lab

func TestMain(m *testing.M) { os.Exit(setUp(m)) }

func setUp(m *testing.M) int {
	flag.Parse()
	// Parallel tests wait for guards, and hardly ever compute.
	if err := flag.Set("test.parallel", "32"); err != nil {
		panic(err)
	}
	ctx := context.Background()
	var err error
	if asChild { // of a test, which has brought up the lab
		if pair, err = lab.Open(testLab); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}
	if err := lab.Down(ctx, testLab); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = lab.Down(ctx, testLab) }()
	if pair, err = lab.Up(ctx, lab.Options{Name: testLab, Subnet: testSubnet}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// bare logs in to the lab's server for a role, which no test has touched yet.
func bare(t testing.TB, role string) *server {
	s := newServer(t, role, pair.Servers[role])
	s.login("root")
	return s
}

// hardened logs in to the lab's converged server for a role; one that no test
// has converged yet is converged first.
func hardened(t testing.TB, role string) *server {
	t.Helper()
	s := newServer(t, role, pair.Servers[role])
	if conn, err := s.dial(t.Context(), "deploy"); err == nil {
		s.conn = conn
	} else {
		s.login("root")
	}
	s.converge()
	return s
}

// scratch makes one further bare server, of the audit role.
func scratch(t testing.TB, name string) *server {
	t.Helper()
	return fresh(t, name, "audit", "")
}

// fresh makes one further bare server of any system and role.
func fresh(t testing.TB, name, role string, system lab.System) *server {
	t.Helper()
	where, err := pair.Scratch(t.Context(), name, system)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pair.Discard(context.Background(), name); err != nil {
			t.Error(err)
		}
	})
	s := newServer(t, role, where)
	s.scratch = true
	s.login("root")
	return s
}

func newServer(t testing.TB, role string, where lab.Server) *server {
	s := &server{t: t, role: role, where: where, cfg: environment.Config{
		Access: environment.Access{User: "deploy", SSHFrom: []string{testSubnet}},
	}}
	t.Cleanup(s.close)
	return s
}

func (s *server) resources() []provision.Resource {
	s.t.Helper()
	key, err := os.ReadFile(pair.Key + ".pub")
	if err != nil {
		s.t.Fatal(err)
	}
	desired := hardening.Desired(s.role, s.cfg, []string{strings.TrimSpace(string(key))})
	for i, r := range desired {
		// One server with all of a day's updates, at half a minute, will do.
		if f, ok := r.(provision.File); ok && s.scratch && slices.Contains(f.Actions, "start-later apt-daily-upgrade.service") {
			f.Actions = nil
			desired[i] = f
		}
	}
	if s.alter != nil {
		return s.alter(desired)
	}
	return desired
}

func (s *server) dial(ctx context.Context, user string) (*transport.Conn, error) {
	return transport.Dial(ctx, transport.Target{
		Name: s.role, Address: s.where.Address, Port: cmp.Or(s.port, 22), User: user, HostKey: s.where.HostKeyFingerprint,
		Identity: pair.Key, KnownHosts: []string{filepath.Join(s.t.TempDir(), "known_hosts")},
	}, transport.Options{Config: "none", Timeout: 4 * time.Second})
}

func (s *server) login(user string) {
	s.t.Helper()
	conn, err := s.dial(s.t.Context(), user)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.conn != nil {
		s.former = append(s.former, s.conn)
	}
	s.conn = conn
}

func (s *server) close() {
	for _, c := range append(s.former, s.conn) {
		if c != nil {
			c.Close()
		}
	}
}

func (s *server) Run(ctx context.Context, script string, stdin io.Reader, stdout, stderr io.Writer) error {
	return s.conn.Run(ctx, transport.Command{Script: script, Sudo: true, Stdin: stdin, Stdout: stdout, Stderr: stderr})
}

func (s *server) Reconnect(ctx context.Context) error {
	if s.interfere != nil {
		return s.interfere(ctx)
	}
	conn, err := s.dial(ctx, "deploy")
	if err != nil {
		return err
	}
	if err := conn.Run(ctx, transport.Command{Script: `[ "$(id -u)" = 0 ]`, Sudo: true}); err != nil {
		conn.Close()
		return err
	}
	s.former, s.conn = append(s.former, s.conn), conn
	return nil
}

func (s *server) plan() provision.Plan {
	s.t.Helper()
	facts, err := s.facts()
	if err != nil {
		s.t.Fatal(err)
	}
	return provision.Diff(s.resources(), facts)
}

// facts observes the server; the error is that of reading the answers.
func (s *server) facts() (provision.Facts, error) {
	s.t.Helper()
	nonce := probe.Nonce()
	script := probe.Script(nonce, provision.Probes(s.resources()))
	var out, errs bytes.Buffer
	began := time.Now()
	if err := s.Run(s.t.Context(), script, nil, &out, &errs); err != nil {
		s.t.Fatal(err)
	}
	s.t.Logf("observed in %s: %d bytes of script, %d bytes of answer", time.Since(began).Round(time.Millisecond), len(script), out.Len())
	outputs, err := probe.Parse(nonce, out.Bytes(), errs.Bytes())
	if err != nil {
		s.t.Fatal(err)
	}
	if record := os.Getenv("RECORD_FACTS"); record != "" { // how testdata was made
		s.observed++
		saveOutputs(s.t, filepath.Join(record, fmt.Sprintf("%s-%s-%d", s.where.System, s.role, s.observed)), outputs)
	}
	return provision.ParseFacts(s.role, outputs)
}

func (s *server) apply(ctx context.Context, plan provision.Plan) error {
	began := time.Now()
	err := provision.Apply(ctx, s, plan, func(e provision.Event) { s.t.Log(e) })
	s.t.Logf("applied %d changes in %s", len(plan.Changes), time.Since(began).Round(time.Millisecond))
	return err
}

func (s *server) converge() {
	s.t.Helper()
	if err := s.apply(s.t.Context(), s.plan()); err != nil {
		s.t.Fatal(err)
	}
	s.converged()
	// What goes on in the background holds the package lock.
	s.on("while [ \"$(systemctl show --property=ActiveState --value apt-daily-upgrade.service)\" = activating ]; do sleep 0.5; done")
}

func (s *server) converged() {
	s.t.Helper()
	plan := s.plan()
	for _, c := range plan.Changes {
		s.t.Errorf("still to change: %s: %s\n%s", c.ID, c.Summary, c.Diff)
	}
}

// on runs a script as root inside the server, past sshd.
func (s *server) on(script string) string {
	s.t.Helper()
	out, err := exec.Command("docker", "exec", s.where.Container, "bash", "-c", script).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

func saveOutputs(t testing.TB, dir string, outputs probe.Outputs) {
	t.Helper()
	for name, o := range outputs {
		file := filepath.Join(dir, filepath.Base(name))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(o.Stdout), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
