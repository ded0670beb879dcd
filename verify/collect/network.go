package collect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"holdfast/verify"
)

// reachPorts are the TCP ports tried on production: those that must answer,
// and those of everything that runs there or commonly leaks (Docker's API,
// Studio, PostgreSQL and the pooler, gateways and their admin ports,
// Trigger.dev, its databases and object store).
var reachPorts = []int{
	22, 80, 443,
	111, 2375, 2376, 2377, 3000, 3001, 4000, 5000, 5001, 5432, 5433, 6379, 6389, 6543, 7946,
	8000, 8001, 8020, 8030, 8080, 8123, 8443, 8444, 9000, 9001, 9090, 9100, 9123, 9901, 9999,
}

// connectTimeout is how long a TCP connect may stay without answer before the
// port counts as filtered.
const connectTimeout = time.Second

func joinPorts(ports []int) string {
	words := make([]string, len(ports))
	for i, p := range ports {
		words[i] = strconv.Itoa(p)
	}
	return strings.Join(words, " ")
}

// network observes production from the operator's machine.
func (c *collection) network(ctx context.Context, s Server) {
	var group sync.WaitGroup
	group.Go(func() {
		reach, err := connectAll(ctx, s.Address)
		if err != nil {
			c.failed(verify.LayerNetwork, "", "network.outside", err)
		}
		c.setNetwork(func(n *verify.Network) { n.Outside = reach })
	})
	group.Go(func() {
		probe, err := plainHTTP(ctx, s.Address)
		if err != nil {
			c.failed(verify.LayerNetwork, "", "network.http", err)
		}
		c.setNetwork(func(n *verify.Network) { n.HTTP = probe })
	})
	group.Go(func() {
		sites := make([]verify.Site, len(c.in.Domains))
		var each sync.WaitGroup
		for i, d := range c.in.Domains {
			each.Go(func() { sites[i] = c.site(ctx, s.Address, d) })
		}
		each.Wait()
		c.setNetwork(func(n *verify.Network) { n.TLS = &verify.TLS{Sites: sites} })
	})
	group.Wait()
}

func (c *collection) setNetwork(change func(*verify.Network)) {
	c.set(func(f *verify.Facts) {
		if f.Network == nil {
			f.Network = &verify.Network{}
		}
		change(f.Network)
	})
}

// connectAll tries every port at once.
func connectAll(ctx context.Context, address string) (*verify.Reach, error) {
	ips, err := net.DefaultResolver.LookupHost(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", address, err)
	}
	reach := &verify.Reach{Ports: make([]verify.PortState, len(reachPorts))}
	var group sync.WaitGroup
	for i, port := range reachPorts {
		group.Go(func() {
			reach.Ports[i] = verify.PortState{Address: address, Port: port, State: connect(ctx, net.JoinHostPort(ips[0], strconv.Itoa(port)))}
		})
	}
	group.Wait()
	if ctx.Err() != nil {
		return nil, ctx.Err() // what was cut short is not "filtered"
	}
	return reach, nil
}

// connect returns the state of one port.
func connect(ctx context.Context, address string) string {
	dialer := net.Dialer{Timeout: connectTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	switch {
	case err == nil:
		conn.Close()
		return "open"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "closed"
	}
	return "filtered"
}

// reachFromAudit reads what the audit server's connects said.
func (c *collection) reachFromAudit(a answers) {
	text, err := a.ok("reach")
	var reach *verify.Reach
	if err == nil {
		reach, err = parseReach(text, c.targets())
	}
	if err != nil {
		c.failed(verify.LayerNetwork, verify.Audit, "network.from_audit", err)
	}
	c.setNetwork(func(n *verify.Network) { n.FromAudit = reach })
}

// targets are the addresses that the audit server tries.
func (c *collection) targets() []string {
	for _, s := range c.in.Servers {
		if s.Role == verify.Production {
			return s.addresses()
		}
	}
	return nil
}

// parseReach reads "address port status" lines, one of each port of each
// address; 124 is what timeout(1) exits with.
func parseReach(text string, addresses []string) (*verify.Reach, error) {
	reach := &verify.Reach{Ports: []verify.PortState{}}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			return nil, fmt.Errorf("unreadable line %q", line)
		}
		port, err := strconv.Atoi(fields[1])
		if err != nil {
			return nil, fmt.Errorf("unreadable port %q", fields[1])
		}
		state := "closed"
		switch fields[2] {
		case "0":
			state = "open"
		case "124":
			state = "filtered"
		case "126", "127":
			return nil, errors.New("the audit server has no bash or no timeout to try ports with")
		}
		reach.Ports = append(reach.Ports, verify.PortState{Address: fields[0], Port: port, State: state})
	}
	for _, address := range addresses {
		for _, port := range reachPorts {
			if !slices.ContainsFunc(reach.Ports, func(p verify.PortState) bool { return p.Address == address && p.Port == port }) {
				return nil, fmt.Errorf("port %d of %s was not tried", port, address)
			}
		}
	}
	slices.SortFunc(reach.Ports, func(a, b verify.PortState) int {
		return cmp.Or(strings.Compare(a.Address, b.Address), a.Port-b.Port)
	})
	return reach, nil
}

// plainHTTP asks port 80 for a page. A closed port is an answer too.
func plainHTTP(ctx context.Context, address string) (*verify.PlainProbe, error) {
	client := newClient((&net.Dialer{Timeout: connectTimeout}).DialContext)
	probe, err := send(ctx, client, "http://"+net.JoinHostPort(address, "80"), request{method: http.MethodGet, path: "/"})
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return &verify.PlainProbe{}, nil
	}
	return &verify.PlainProbe{Status: probe.Status, Location: probe.Headers["location"]}, nil
}
