// Package collect observes an environment and returns facts. It reads only:
// one batch of shell per server, requests to the gateway, TCP connects. It
// knows nothing of how servers are provisioned or stacks rendered; it sees what
// is there.
//
// A part that can't be observed becomes an entry in Facts.Errors and stays nil,
// which makes the rules that need it end in an error.
package collect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"holdfast/verify"
)

// Input says what to observe and through which connections.
type Input struct {
	Environment string
	Servers     []Server
	DeployUser  string // whose login sshd's effective settings are asked for
	// OperatorKeys are the fingerprints ("SHA256:…") of all keys that may log
	// in. Empty: nobody says, and any key is as good.
	OperatorKeys []string
	AnonKey      string   // the gateway's public API key
	Domains      []Domain // what production serves on port 443
	// Images are those the release declares: "project/service" → reference.
	Images map[string]string
	// Database observes the database; nil when there is none to observe.
	Database func(ctx context.Context) (*verify.Database, error)
}

// A Server is one machine and the ways to reach it.
type Server struct {
	Role    string // verify.Production or verify.Audit
	Address string // where the operator's machine finds it: host name or IP address
	// Private are further addresses at which other machines find it, such as
	// that in the servers' own network. The audit server tries production at
	// Address and at each of them.
	Private []string
	// Run runs a POSIX shell script as root. It is called several times at
	// once. A script that exits with a status is not an error of Run's.
	Run func(ctx context.Context, script string) (stdout, stderr []byte, err error)
	// Dial opens a connection from the server. Only production needs it.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// addresses are all at which other machines find the server.
func (s Server) addresses() []string {
	all := slices.Concat([]string{s.Address}, s.Private)
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(a string) bool { return a == "" })
}

// A Domain is one public host name.
type Domain struct {
	Name   string
	Serves string // "api", "app" or "jobs"
}

// Run observes all layers side by side and returns what could be seen within
// timeout. It fails on an input it can't work with; whatever fails while
// observing is in the facts' Errors.
func Run(ctx context.Context, in Input, timeout time.Duration) (*verify.Facts, error) {
	production := slices.IndexFunc(in.Servers, func(s Server) bool { return s.Role == verify.Production })
	for _, s := range in.Servers {
		if s.Role != verify.Production && s.Role != verify.Audit || s.Run == nil {
			return nil, fmt.Errorf("collect facts of %s: server %q needs the role production or audit and a way to run a script", in.Environment, s.Role)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	c := &collection{in: in, facts: &verify.Facts{
		Version: verify.Version, Environment: in.Environment, CollectedAt: time.Now().UTC(),
		Servers: map[string]*verify.Server{}, Errors: []verify.CollectError{},
	}}
	// The gateway's limits are in its config on production: probes that need
	// them wait for the batch that reads it.
	config := make(chan *verify.GatewayConfig, 1)
	var layers sync.WaitGroup
	for _, s := range in.Servers {
		layers.Go(func() {
			outputs := c.server(ctx, s)
			if s.Role == verify.Production {
				c.compose(outputs)
				config <- c.gatewayConfig(outputs)
			}
		})
	}
	if production >= 0 {
		target := in.Servers[production]
		layers.Go(func() { c.gateway(ctx, target, config) })
		layers.Go(func() { c.network(ctx, target) })
	}
	layers.Go(func() { c.database(ctx) })
	layers.Wait()

	slices.SortFunc(c.facts.Errors, func(a, b verify.CollectError) int {
		return strings.Compare(a.Layer+a.Server+a.What, b.Layer+b.Server+b.What)
	})
	return c.facts, nil
}

// A collection is one run of Run. Its layers write side by side.
type collection struct {
	in Input

	mu    sync.Mutex
	facts *verify.Facts
}

// failed records that a part of the facts is missing.
func (c *collection) failed(layer, server, what string, err error) {
	message := err.Error()
	if errors.Is(err, context.DeadlineExceeded) {
		message = "there was no answer in time"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.facts.Errors = append(c.facts.Errors, verify.CollectError{Layer: layer, Server: server, What: what, Message: message})
}

// set changes the facts.
func (c *collection) set(change func(*verify.Facts)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c.facts)
}

func (c *collection) database(ctx context.Context) {
	if c.in.Database == nil {
		c.failed(verify.LayerDatabase, "", "database", errors.New("no connection to the database was given"))
		return
	}
	db, err := c.in.Database(ctx)
	if err != nil {
		c.failed(verify.LayerDatabase, "", "database", err)
		return
	}
	c.set(func(f *verify.Facts) { f.Database = db })
}
