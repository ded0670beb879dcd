package pair

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"holdfast/internal/environment"
	"holdfast/internal/probe"
	"holdfast/internal/ui"
	"holdfast/provision"
	"holdfast/provision/transport"
	"holdfast/stacks"
)

// A Server is one of the pair.
type Server struct {
	Role string
	Spec environment.Server

	Facts provision.Facts
	State stacks.State // production only

	provisioning provision.Plan // what Facts lack of what is declared

	pair      *Pair
	operators []string // authorized_keys lines

	mu     sync.Mutex
	conn   *transport.Conn   // the one in use
	port   int               // it was opened to
	former []*transport.Conn // kept open: the lock's channel lives on the first
	lock   *transport.Held
}

func newServer(p *Pair, role string, spec environment.Server, operators []string) *Server {
	return &Server{Role: role, Spec: spec, pair: p, operators: operators}
}

// Address is how the environment folder names the server.
func (s *Server) Address() string { return s.Spec.Address }

// connect logs in as the deploy user, or, on first contact, as the user the
// provider set up; on the port that is declared, or, before sshd has moved
// there, on the one that the provider set up.
func (s *Server) connect(ctx context.Context) error {
	deployUser := s.pair.Env.Access.User
	users, ports := []string{deployUser}, []int{s.Spec.Port}
	if s.Spec.User != deployUser {
		users = append(users, s.Spec.User)
	}
	if declared := s.pair.Env.Access.Port; declared != 0 && declared != s.Spec.Port {
		ports = []int{declared, s.Spec.Port}
	}
	// All refusals are told: the provider's user is the one that should have
	// worked on a new server, the deploy user on a known one.
	var errs []error
	for _, port := range ports {
		for _, user := range users {
			conn, err := s.dial(ctx, user, port)
			if err == nil {
				s.conn, s.port = conn, port
				return nil
			}
			errs = append(errs, err)
			if errors.Is(err, transport.ErrUnreachable) && ctx.Err() == nil {
				break // nobody is on this port
			}
			if !errors.Is(err, transport.ErrAuth) {
				return err
			}
		}
	}
	return errors.Join(errs...)
}

func (s *Server) dial(ctx context.Context, user string, port int) (*transport.Conn, error) {
	known := []string{s.pair.Env.KnownHostsPath(), "/etc/ssh/ssh_known_hosts"}
	if home, err := os.UserHomeDir(); err == nil {
		known = append(known, filepath.Join(home, ".ssh", "known_hosts"))
	}
	if port == 22 {
		port = 0 // the default leaves ~/.ssh/config its say
	}
	target := transport.Target{
		Name: s.Role, Address: s.Spec.Address, Port: port, User: user,
		HostKey: s.Spec.HostKey, Identity: s.Spec.Identity, KnownHosts: known,
	}
	options := transport.Options{
		Password:         s.pair.loginPassword(s.Role, user),
		Timeout:          s.pair.options.ConnectTimeout,
		AcceptNewHostKey: s.pair.acceptHostKey,
		Passphrase:       s.pair.passphrase(),
		SudoPassword:     s.pair.sudoPassword(s.Role),
		Dial:             s.pair.options.Dial,
	}
	return transport.Dial(ctx, target, options)
}

// Reconnect opens a new connection as the deploy user and proves that it can
// become root under the rules that are in force now. The new connection is
// used from then on; the old one stays open, because the lock lives on it.
func (s *Server) Reconnect(ctx context.Context) error {
	port := cmp.Or(s.pair.Env.Access.Port, s.port)
	conn, err := s.dial(ctx, s.pair.Env.Access.User, port)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := conn.Run(ctx, transport.Command{Script: "id -u", Sudo: true, Stdout: &out}); err != nil {
		conn.Close()
		return err
	}
	if strings.TrimSpace(out.String()) != "0" {
		conn.Close()
		return fmt.Errorf("%w: sudo answered with user id %s", transport.ErrSudo, strings.TrimSpace(out.String()))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.former = append(s.former, s.conn)
	s.conn, s.port = conn, port
	return nil
}

// Run runs a script as root.
func (s *Server) Run(ctx context.Context, script string, stdin io.Reader, stdout, stderr io.Writer) error {
	s.mu.Lock()
	conn := s.conn
	s.mu.Unlock()
	if s.pair.ui.Verbose {
		first, _, more := strings.Cut(strings.TrimSpace(script), "\n")
		if more {
			first += " …"
		}
		s.pair.ui.Progress(s.Role, "# %s", first)
	}
	return conn.Run(ctx, transport.Command{Script: script, Sudo: true, Stdin: stdin, Stdout: stdout, Stderr: stderr})
}

// Dial connects to an address as seen from the server.
func (s *Server) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	s.mu.Lock()
	conn := s.conn
	s.mu.Unlock()
	return conn.DialContext(ctx, network, addr)
}

// ask runs probes as one batch.
func (s *Server) ask(ctx context.Context, probes []probe.Probe) (probe.Outputs, error) {
	nonce := probe.Nonce()
	var stdout, stderr bytes.Buffer
	if err := s.Run(ctx, probe.Script(nonce, probes), nil, &stdout, &stderr); err != nil {
		return nil, fmt.Errorf("observe: %w", err)
	}
	return probe.Parse(nonce, stdout.Bytes(), stderr.Bytes())
}

// observe runs all probes as one batch and reads the answers. With a lock the
// batch runs in the channel that holds it: one channel, not two.
func (s *Server) observe(ctx context.Context, locked bool) error {
	probes := provision.Probes(s.pair.desired(s))
	if s.Role == "production" {
		probes = append(probes, stacks.Probes()...)
	}
	nonce := probe.Nonce()
	script := probe.Script(nonce, probes)
	var stdout, stderr bytes.Buffer
	var err error
	if locked {
		err = s.hold(ctx, script, nonce, &stdout, &stderr)
	} else {
		err = s.Run(ctx, script, nil, &stdout, &stderr)
	}
	if err != nil {
		return fmt.Errorf("observe: %w", err)
	}
	outputs, err := probe.Parse(nonce, stdout.Bytes(), stderr.Bytes())
	if err != nil {
		return err
	}
	if s.Facts, err = provision.ParseFacts(s.Role, outputs); err != nil {
		return err
	}
	if s.Role == "production" {
		s.State, err = stacks.ParseState(outputs)
	}
	return err
}

// close ends the server's connections and frees its lock.
func (s *Server) close() {
	if s.lock != nil {
		s.lock.Release()
	}
	for _, c := range append(s.former, s.conn) {
		if c != nil {
			c.Close()
		}
	}
	s.lock, s.conn, s.former = nil, nil, nil
}

// acceptHostKey asks the operator about a server seen for the first time.
func (p *Pair) acceptHostKey(host, keyType, fingerprint string) bool {
	p.asking.Lock() // both servers may be new
	defer p.asking.Unlock()
	if p.options.AcceptNewHostKeys {
		p.ui.Progress("", "trusting %s: %s %s", host, keyType, fingerprint)
		return true
	}
	return p.ui.Confirm(fmt.Sprintf("%s is not known yet.\nIts %s key is %s\nCompare it with what your provider's console shows. Trust it?", host, keyType, fingerprint))
}

// sudoPassword returns how the password for sudo is had: from the
// environment, or from the operator's terminal. It is asked once.
func (p *Pair) sudoPassword(role string) func() (string, error) {
	return func() (string, error) {
		if password, ok := os.LookupEnv("HOLDFAST_SUDO_PASSWORD"); ok {
			p.ui.Redact([]string{password})
			return password, nil
		}
		return ui.AskSecret("sudo password on " + role + ": ")
	}
}

// loginPassword returns how the password of the user that a provider set up is
// had, for first contact with a server that lets nobody in with a key yet: from
// the environment, or from the operator's terminal. The deploy user has none.
func (p *Pair) loginPassword(role, user string) func() (string, error) {
	if user == p.Env.Access.User {
		return nil
	}
	return func() (string, error) {
		if password, ok := os.LookupEnv("HOLDFAST_SSH_PASSWORD"); ok {
			p.ui.Redact([]string{password})
			return password, nil
		}
		p.asking.Lock()
		defer p.asking.Unlock()
		return ui.AskSecret("password of " + user + " on " + role + ": ")
	}
}

// passphrase returns how one connection gets the passphrase of a key file: from
// what was typed for another connection, and when that does not fit, or nothing
// was, from the operator.
func (p *Pair) passphrase() func(keyfile string) ([]byte, error) {
	tried := map[string]bool{}
	return func(keyfile string) ([]byte, error) {
		p.asking.Lock()
		defer p.asking.Unlock()
		if typed, ok := p.passphrases[keyfile]; ok && !tried[keyfile] {
			tried[keyfile] = true
			return typed, nil
		}
		typed, err := askPassphrase(keyfile)
		if err == nil {
			tried[keyfile] = true
			p.passphrases[keyfile] = typed
		}
		return typed, err
	}
}

func askPassphrase(keyfile string) ([]byte, error) {
	answer, err := ui.AskSecret("passphrase of " + keyfile + ": ")
	return []byte(answer), err
}
