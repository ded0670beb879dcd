// Package pair is where provisioning, stacks and verification meet: the two
// servers of one environment, connected, observed, planned, converged and
// verified. Each of the three knows nothing of the others; this package hands
// one what it needs of another as plain data or as a function.
package pair

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"holdfast/internal/environment"
	"holdfast/internal/ui"
	"holdfast/provision"
	"holdfast/provision/hardening"
	"holdfast/stacks"
	"holdfast/stacks/migrate"
	"holdfast/stacks/secrets"
	"holdfast/verify/access"
)

// ErrConfig marks errors in the environment folder: nothing was tried on a server.
var ErrConfig = errors.New("configuration")

// configError is an error of the environment folder; it reads as its cause.
type configError struct{ error }

func (e configError) Unwrap() []error { return []error{ErrConfig, e.error} }

// Options say which environment, and how to reach it.
type Options struct {
	Dir               string
	Identities        []string // age identity and SSH key files for secrets.age
	AcceptNewHostKeys bool
	ConnectTimeout    time.Duration      // default 15 s
	HealthTimeout     time.Duration      // how long one stack may take to become healthy; default 5 min
	IncludeAll        bool               // apply migrations older than the newest applied one as well
	AllowWidening     []access.Allowance // what migrations may open that was closed
	UI                *ui.UI
	// Dial opens TCP connections to servers; nil is the network. Round trips
	// are counted here.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// A Pair is one environment: its folder, read and rendered, and its servers.
type Pair struct {
	Env        *environment.Environment
	Release    *stacks.Release
	Migrations []migrate.File
	Production *Server
	Audit      *Server

	options Options
	secrets secrets.Set       // as they will be: with the new values of a rotation that is under way
	file    *secrets.File     // secrets.age
	pins    map[string]string // what the servers pull for a declared image
	steps   []stacks.Step     // what State lacks of Release
	applied []string          // paths of the migrations that this run applied
	ui      *ui.UI

	asking      sync.Mutex        // one question at a time
	passphrases map[string][]byte // of key files, as typed
}

// Open reads the environment folder, opens its secrets and renders its
// release. No server is touched. Every error wraps ErrConfig.
func Open(options Options) (*Pair, error) {
	p := &Pair{options: options, ui: options.UI, passphrases: map[string][]byte{}}
	if err := p.open(); err != nil {
		return nil, configError{err}
	}
	return p, nil
}

func (p *Pair) open() (err error) {
	if p.Env, err = environment.Load(p.options.Dir); err != nil {
		return err
	}
	operators, err := p.Env.OperatorKeys()
	if err != nil {
		return err
	}
	if p.file, err = readSecrets(p.Env, p.options.Identities); err != nil {
		return err
	}
	p.secrets = p.file.Wanted()
	p.ui.Redact(p.file.Set.Values())
	p.ui.Redact(p.secrets.Values())
	if p.pins, err = pins(p.Env); err != nil {
		return err
	}
	if err := p.render(); err != nil {
		return err
	}
	p.Migrations, err = migrate.Read(os.DirFS(p.Env.Dir), "supabase/migrations")
	if err != nil {
		return err
	}
	p.Production = newServer(p, "production", p.Env.Servers.Production, operators)
	p.Audit = newServer(p, "audit", p.Env.Servers.Audit, operators)
	return nil
}

// render makes the release of the folder and the secrets.
func (p *Pair) render() error {
	functions, err := functionsOf(p.Env.FunctionsDir())
	if err != nil {
		return err
	}
	p.Release, err = stacks.Render(stacks.Input{Config: p.Env.Config, Secrets: p.secrets, Pins: p.pins, Functions: functions})
	return err
}

// functionsOf returns the edge functions' folder, nil when there is none.
func functionsOf(path string) (fs.FS, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("read the edge functions: %w", err)
	}
	return os.DirFS(path), nil
}

// Servers returns both servers, production first.
func (p *Pair) Servers() []*Server { return []*Server{p.Production, p.Audit} }

// each runs f for both servers side by side and returns the first error, which
// says on which server it happened.
func (p *Pair) each(ctx context.Context, f func(context.Context, *Server) error) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, s := range p.Servers() {
		group.Go(func() error {
			if err := f(ctx, s); err != nil {
				return fmt.Errorf("%s (%s): %w", s.Role, s.Address(), err)
			}
			return nil
		})
	}
	return group.Wait()
}

// Close ends all connections and frees the locks.
func (p *Pair) Close() {
	for _, s := range p.Servers() {
		s.close()
	}
}

// desired is the declared state of a server.
func (p *Pair) desired(s *Server) []provision.Resource {
	return hardening.Desired(s.Role, p.Env.Config, s.operators)
}
