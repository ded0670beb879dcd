package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"holdfast/internal/environment"
	"holdfast/internal/lab"
	"holdfast/internal/probe"
	"holdfast/provision"
	"holdfast/provision/hardening"
	"holdfast/provision/transport"
)

// hardenVerb is the first argument by which this program becomes one run of the
// hardening alone, in a process of its own, so that its start is part of the
// time: judge harden FOLDER ROLE ADDRESS.
const hardenVerb = "harden"

// writeEnvironment makes an environment folder that deploys to the lab with
// every setting at its default, but for SSH's networks.
func writeEnvironment(dir string, l *lab.Lab) (string, error) {
	key, err := os.ReadFile(l.Key + ".pub")
	if err != nil {
		return "", err
	}
	production, audit := l.Servers[lab.Production], l.Servers[lab.Audit]
	config := fmt.Sprintf(`environment: judged
servers:
  production: {address: %q, host-key: %q, identity: %q}
  audit: {address: %q, host-key: %q, identity: %q}
access: {operators: [operator.pub], ssh-from: [%q]}
domains: {api: api.example.com, app: app.example.com}
stacks:
  supabase: {set: supabase-0.8.1-kong}
`, production.Address, production.HostKeyFingerprint, l.Key, audit.Address, audit.HostKeyFingerprint, l.Key, l.Subnet)
	return dir, errors.Join(
		os.Mkdir(dir, 0o700),
		os.WriteFile(filepath.Join(dir, environment.FileName), []byte(config), 0o600),
		os.WriteFile(filepath.Join(dir, "operator.pub"), key, 0o600),
	)
}

// harden is one run: log in, observe, compare, and change what differs. It
// prints a hardened in JSON.
func harden(ctx context.Context, args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("usage: judge %s FOLDER ROLE ADDRESS", hardenVerb)
	}
	env, err := environment.Load(args[0])
	if err != nil {
		return err
	}
	keys, err := env.OperatorKeys()
	if err != nil {
		return err
	}
	h := &host{env: env, address: args[2], spec: env.Servers.Audit}
	role := args[1]
	if role == lab.Production {
		h.spec = env.Servers.Production
	}
	defer h.close()
	if err := h.login(ctx); err != nil {
		return err
	}
	resources := hardening.Desired(role, env.Config, keys)
	nonce := probe.Nonce()
	var stdout, stderr bytes.Buffer
	if err := h.Run(ctx, probe.Script(nonce, provision.Probes(resources)), nil, &stdout, &stderr); err != nil {
		return fmt.Errorf("observe: %w", err)
	}
	outputs, err := probe.Parse(nonce, stdout.Bytes(), stderr.Bytes())
	if err != nil {
		return err
	}
	facts, err := provision.ParseFacts(role, outputs)
	if err != nil {
		return err
	}
	plan := provision.Diff(resources, facts)
	if err := provision.Apply(ctx, h, plan, func(e provision.Event) { fmt.Fprintln(os.Stderr, e) }); err != nil {
		return err
	}
	done := hardened{Changes: []string{}}
	for _, c := range plan.Changes {
		done.Changes = append(done.Changes, c.ID)
	}
	return json.NewEncoder(os.Stdout).Encode(done)
}

// hardened is what a run has done.
type hardened struct {
	Changes []string `json:"changes"` // ids
}

// A host is the server as provision.Apply sees it.
type host struct {
	env     *environment.Environment
	spec    environment.Server
	address string // instead of the one in spec: host:port
	conn    *transport.Conn
	former  []*transport.Conn
}

// login logs in as the deploy user or, before that one exists, as root.
func (h *host) login(ctx context.Context) error {
	conn, err := h.dial(ctx, h.env.Access.User)
	if errors.Is(err, transport.ErrAuth) {
		conn, err = h.dial(ctx, h.spec.User)
	}
	h.conn = conn
	return err
}

func (h *host) dial(ctx context.Context, user string) (*transport.Conn, error) {
	address, text, err := net.SplitHostPort(h.address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return nil, err
	}
	return transport.Dial(ctx, transport.Target{
		Address: address, Port: port, User: user, HostKey: h.spec.HostKey, Identity: h.spec.Identity,
		KnownHosts: []string{filepath.Join(h.env.Dir, "known_hosts")},
	}, transport.Options{Config: "none"})
}

func (h *host) Run(ctx context.Context, script string, stdin io.Reader, stdout, stderr io.Writer) error {
	return h.conn.Run(ctx, transport.Command{Script: script, Sudo: true, Stdin: stdin, Stdout: stdout, Stderr: stderr})
}

func (h *host) Reconnect(ctx context.Context) error {
	conn, err := h.dial(ctx, h.env.Access.User)
	if err != nil {
		return err
	}
	if err := conn.Run(ctx, transport.Command{Script: `[ "$(id -u)" = 0 ]`, Sudo: true}); err != nil {
		conn.Close()
		return err
	}
	h.former, h.conn = append(h.former, h.conn), conn
	return nil
}

func (h *host) close() {
	for _, conn := range append(h.former, h.conn) {
		if conn != nil {
			conn.Close()
		}
	}
}

// timeHoldfast hardens a bare server and then finds nothing to do, from near and
// from afar.
func timeHoldfast(ctx context.Context, env string, s server, c *Column) error {
	near := net.JoinHostPort(s.Address, "22")
	say("%s: first run", s.name)
	took, changes, err := runHoldfast(ctx, env, s.name, near)
	if err != nil {
		return err
	}
	c.First = took
	say("%s: %d changes in %.1f s", s.name, len(changes), took.Seconds())

	// The security updates that the run has set off.
	began := time.Now()
	if _, err := s.mustOn(ctx, "wait for the security updates",
		`while [ "$(systemctl is-active apt-daily-upgrade.service)" = activating ]; do sleep 0.5; done`); err != nil {
		return err
	}
	c.Updates = time.Since(began)
	say("%s: security updates went on for %.1f s", s.name, c.Updates.Seconds())

	noop := func(address string) (time.Duration, error) {
		return median(5, func() (time.Duration, error) {
			took, changes, err := runHoldfast(ctx, env, s.name, address)
			if err == nil && len(changes) > 0 {
				err = fmt.Errorf("a further run has changed %v", changes)
			}
			return took, err
		})
	}
	if c.NoOp, err = noop(near); err != nil {
		return err
	}
	proxy, err := lab.Delay(near, distance)
	if err != nil {
		return err
	}
	defer proxy.Close()
	if c.Distant, err = noop(proxy.Addr); err != nil {
		return err
	}
	stats := proxy.Stats()
	c.RoundTrips = stats.RoundTrips / stats.Connections
	say("%s: nothing to do in %.2f s, at %s in %.2f s and %d round trips", s.name, c.NoOp.Seconds(), distance, c.Distant.Seconds(), c.RoundTrips)
	return nil
}

// distance is the round trip to a server that is far away.
const distance = 50 * time.Millisecond

// runHoldfast is one run in a process of its own.
func runHoldfast(ctx context.Context, env, role, address string) (time.Duration, []string, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, nil, err
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, self, hardenVerb, env, role, address)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return 0, nil, fmt.Errorf("%w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	took := time.Since(began)
	var done hardened
	err = json.Unmarshal(stdout.Bytes(), &done)
	return took, done.Changes, err
}
