// Package lab makes disposable servers on this machine: bare Debian or Ubuntu
// systems with systemd, sshd and an address of their own, to deploy to without
// risk.
//
// A server is a container that behaves like a rented machine. Docker, firewall
// rules and hardening are not in it: a deploy puts them there, as on any other
// server. What a container cannot have of its own is the kernel, so the
// kernel's settings outside of the network (/proc/sys/{kernel,vm,fs,dev,…})
// are plain files in a lab server: writing them changes nothing on this
// machine, and a server in which that cannot be proved does not start. AppArmor,
// auditd's rules, kernel modules and the clock are out of reach in a lab.
//
// A server that is rebooted from inside comes up again by itself, with its
// address, its keys and its data. So does one that is powered off.
//
// A lab needs Linux, root, a Docker engine on this very machine (one is started
// when none answers) and debootstrap with a mirror in reach for the first image
// of a system, which is kept in the engine.
package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"

	"golang.org/x/sync/errgroup"
)

// Roles of the two servers of a pair.
const (
	Production = "production"
	Audit      = "audit"
)

// Defaults of [Options]. The subnet is one of those kept free for
// documentation (RFC 5737), so that it collides with nobody's network.
const (
	DefaultName   = "holdfast-lab"
	DefaultSubnet = "198.51.100.0/24"
)

// Options say which lab to bring up. The zero value is the default lab with a
// production and an audit server.
type Options struct {
	Name     string       // lower case letters, digits and "-"; default [DefaultName]
	Subnet   string       // IPv4 network of /24 or wider; default [DefaultSubnet]
	Private  string       // a second such network, which leads nowhere else; default none
	IPv6     bool         // addresses of both versions; the engine is not asked for it, this machine forwards nothing
	System   System       // of servers that are made; default [Debian13]
	Dir      string       // environment folder that belongs to the lab, kept in [Lab.Dir]
	Servers  []string     // roles; default production and audit
	Progress func(string) // told of each step that takes a while; may be nil
}

// A Lab is a set of servers on a network of their own. Its JSON form is the
// lab's state on disk.
type Lab struct {
	Name    string            `json:"name"`
	Servers map[string]Server `json:"servers"` // by role
	Key     string            `json:"key"`     // path of the private key that root accepts on each server
	Dir     string            `json:"dir"`     // environment folder; empty when none was named
	Subnet  string            `json:"subnet"`
	Gateway string            `json:"gateway"` // this machine's address in the lab's network
	Subnet6 string            `json:"subnet6,omitempty"`
	Private string            `json:"private,omitempty"` // the second network
	System  System            `json:"system"`            // of servers that are made
}

// A Server is one machine of a lab. SSH listens on port 22 of its address;
// the first login is root with [Lab.Key].
type Server struct {
	Address            string `json:"address"`
	Address6           string `json:"address6,omitempty"` // in a lab with IPv6
	Private            string `json:"private,omitempty"`  // address in the lab's private network
	System             System `json:"system"`
	HostKeyFingerprint string `json:"host_key"`  // of its Ed25519 key: "SHA256:…"
	Container          string `json:"container"` // name in the engine: "<lab>-<role>"
}

// ErrNotFound is what errors.Is finds when a lab of that name was never
// brought up, or has been taken down.
var ErrNotFound = errors.New("there is no such lab")

var namePattern = regexp.MustCompile(`^[a-z][a-z0-9-]{0,39}$`)

// Up brings up the lab that opts name. Servers that run are reused as they
// are, stopped ones are started again, missing ones are made. The first Up on
// a machine makes the image, about a minute; later new servers take seconds.
func Up(ctx context.Context, opts Options) (*Lab, error) {
	opts, err := opts.complete()
	if err != nil {
		return nil, err
	}
	if err := Engine(ctx); err != nil {
		return nil, err
	}
	unlock, err := lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()

	l, err := Open(opts.Name)
	switch {
	case errors.Is(err, ErrNotFound):
		l = &Lab{Name: opts.Name, Subnet: opts.Subnet, Gateway: host(opts.Subnet, 1), Private: opts.Private, Servers: map[string]Server{}}
		if opts.IPv6 {
			l.Subnet6 = subnet6(opts.Subnet)
		}
	case err != nil:
		return nil, err
	case l.Subnet != opts.Subnet:
		return nil, fmt.Errorf("lab %s is up on %s, not on %s: take it down first", l.Name, l.Subnet, opts.Subnet)
	case l.Private != opts.Private || (l.Subnet6 != "") != opts.IPv6:
		return nil, fmt.Errorf("lab %s is up with other networks: take it down first", l.Name)
	}
	for _, role := range opts.Servers {
		if s := l.Servers[role]; s.System != "" && s.System != opts.System {
			return nil, fmt.Errorf("server %s of lab %s runs %s, not %s: take the lab down first", role, l.Name, s.System, opts.System)
		}
	}
	l.System = opts.System
	if opts.Dir != "" {
		l.Dir = opts.Dir
	}
	if err := l.ensure(ctx, opts.Servers, l.System, opts.Progress); err != nil {
		return nil, fmt.Errorf("bring up lab %s: %w", l.Name, err)
	}
	return l, nil
}

// Scratch adds one further fresh server under the given role to a lab that is
// up, at the next free address from .100 on; system "" is that of the lab. One
// that is there already is reused.
func (l *Lab) Scratch(ctx context.Context, role string, system System) (Server, error) {
	system, err := cmp.Or(system, l.System).complete()
	if err != nil {
		return Server{}, err
	}
	unlock, err := lock(ctx)
	if err != nil {
		return Server{}, err
	}
	defer unlock()
	if now, err := Open(l.Name); err == nil {
		l.Servers = now.Servers
	}
	if err := l.ensure(ctx, []string{role}, system, nil); err != nil {
		return Server{}, fmt.Errorf("add server %s to lab %s: %w", role, l.Name, err)
	}
	return l.Servers[role], nil
}

// Discard removes one server of the lab with everything on it.
func (l *Lab) Discard(ctx context.Context, role string) error {
	unlock, err := lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if now, err := Open(l.Name); err == nil {
		l.Servers = now.Servers
	}
	if _, err := docker(ctx, nil, "rm", "--force", "--volumes", l.container(role)); err != nil {
		return fmt.Errorf("remove server %s of lab %s: %w", role, l.Name, err)
	}
	delete(l.Servers, role)
	return l.save()
}

// Open returns the lab of that name as it was last brought up, without asking
// the engine. The error is [ErrNotFound] when there is none.
func Open(name string) (*Lab, error) {
	name, err := labName(name)
	if err != nil {
		return nil, err
	}
	return load(name)
}

// Down removes the lab: its servers with all their data, its network, its key
// and its state. The environment folder stays. A lab that is not there is
// no error.
func Down(ctx context.Context, name string) error {
	name, err := labName(name)
	if err != nil {
		return err
	}
	if !answers(ctx) {
		// A lab that was never brought up is no reason to start an engine.
		if _, err := Open(name); errors.Is(err, ErrNotFound) {
			return nil
		}
		if err := Engine(ctx); err != nil {
			return err
		}
	}
	unlock, err := lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()

	if err := removeAll(ctx, name); err != nil {
		return fmt.Errorf("take down lab %s: %w", name, err)
	}
	return forget(name)
}

// Status says of each server of the lab, by role, what the engine says of its
// container: "running", "exited", "paused", or "missing".
func Status(ctx context.Context, name string) (map[string]string, error) {
	l, err := Open(name)
	if err != nil {
		return nil, err
	}
	states, err := containers(ctx, l.Name)
	if err != nil {
		return nil, fmt.Errorf("look at lab %s: %w", l.Name, err)
	}
	status := map[string]string{}
	for role, server := range l.Servers {
		status[role] = "missing"
		if state, ok := states[server.Container]; ok {
			status[role] = state
		}
	}
	return status, nil
}

// ensure makes the servers of roles run, side by side; those that are missing
// are made with system.
func (l *Lab) ensure(ctx context.Context, roles []string, system System, progress func(string)) error {
	if progress == nil {
		progress = func(string) {}
	}
	states, err := containers(ctx, l.Name)
	if err != nil {
		return err
	}
	var missing []string
	for _, role := range roles {
		if !namePattern.MatchString(role) {
			return fmt.Errorf("%q cannot name a server: lower case letters, digits and \"-\" can", role)
		}
		server, known := l.Servers[role]
		state, exists := states[l.container(role)]
		switch {
		case known && (state == "running" || state == "restarting"):
			// It may be in the middle of a reboot.
			if err := awaitBoot(ctx, server); err != nil {
				return fmt.Errorf("wait for %s: %w", role, err)
			}
		case known && exists:
			progress(fmt.Sprintf("starting %s again", role))
			if err := start(ctx, server); err != nil {
				return fmt.Errorf("start %s: %w", role, err)
			}
		default:
			// A container without an entry is left over from a run that was
			// killed: nobody has its host key.
			missing = append(missing, role)
			delete(l.Servers, role)
		}
	}
	if len(missing) > 0 {
		if err := l.makeServers(ctx, missing, system, progress); err != nil {
			return err
		}
	}
	return l.save()
}

// makeServers makes servers for the roles, which have none.
func (l *Lab) makeServers(ctx context.Context, roles []string, system System, progress func(string)) error {
	image, err := serverImage(ctx, system, progress)
	if err != nil {
		return err
	}
	authorized, err := l.ensureKey()
	if err != nil {
		return err
	}
	settings, err := machineSettings(ctx, l.Gateway)
	if err != nil {
		return err
	}
	for _, subnet := range []string{l.Subnet, l.Private} {
		if subnet == "" {
			continue
		}
		if err := settings.outside(ctx, subnet, system); err != nil {
			return err
		}
	}
	if err := l.networks(ctx); err != nil {
		return err
	}
	made := make([]Server, len(roles))
	addresses, err := l.addresses(roles)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for i, role := range roles {
		progress(fmt.Sprintf("starting %s at %s", role, addresses[i]))
		group.Go(func() (err error) {
			made[i], err = create(ctx, recipe{
				lab: l.Name, role: role, image: image, authorized: authorized, machine: settings,
				server: l.server(role, system, addresses[i]),
			})
			if err != nil {
				return fmt.Errorf("start %s: %w", role, err)
			}
			return nil
		})
	}
	err = group.Wait()
	for i, role := range roles {
		if made[i].Address != "" {
			l.Servers[role] = made[i]
		}
	}
	if err != nil {
		return errors.Join(err, l.save())
	}
	return nil
}

func (l *Lab) container(role string) string { return l.Name + "-" + role }

// server returns what the server for a role will be; its host key is still to
// be made. Its place is the same in each network.
func (l *Lab) server(role string, system System, address netip.Addr) Server {
	s := Server{Address: address.String(), Container: l.container(role), System: system}
	n := int(address.As4()[3])
	if l.Subnet6 != "" {
		s.Address6 = host(l.Subnet6, n)
	}
	if l.Private != "" {
		s.Private = host(l.Private, n)
	}
	return s
}

// addresses picks an address for each role: production is .10, audit .20, any
// other the first free one from .100 on.
func (l *Lab) addresses(roles []string) ([]netip.Addr, error) {
	var taken []string
	for _, s := range l.Servers {
		taken = append(taken, s.Address)
	}
	var picked []netip.Addr
	for _, role := range roles {
		n, last := 100, 250
		switch role {
		case Production:
			n, last = 10, 10
		case Audit:
			n, last = 20, 20
		}
		for n <= last && slices.Contains(taken, host(l.Subnet, n)) {
			n++
		}
		if n > last {
			return nil, fmt.Errorf("no free address in %s for %s", l.Subnet, role)
		}
		taken = append(taken, host(l.Subnet, n))
		picked = append(picked, netip.MustParseAddr(host(l.Subnet, n)))
	}
	return picked, nil
}

// host returns the nth address of network, which has been checked.
func host(network string, n int) string {
	prefix := netip.MustParsePrefix(network)
	bytes := prefix.Masked().Addr().AsSlice()
	bytes[len(bytes)-1] = byte(n)
	address, _ := netip.AddrFromSlice(bytes)
	return address.String()
}

// subnet6 returns the IPv6 network that goes with an IPv4 one: a part of
// 2001:db8::/32, which is kept free for documentation (RFC 3849).
func subnet6(network string) string {
	four := netip.MustParsePrefix(network).Addr().As4()
	six := [16]byte{0x20, 0x01, 0x0d, 0xb8, four[0], four[1], four[2]}
	return netip.PrefixFrom(netip.AddrFrom16(six), 64).String()
}

// labName fills in the default name and checks any other: names become paths.
func labName(name string) (string, error) {
	if name == "" {
		return DefaultName, nil
	}
	if !namePattern.MatchString(name) {
		return "", fmt.Errorf("%q cannot name a lab: lower case letters, digits and \"-\" can", name)
	}
	return name, nil
}

// complete fills in the defaults and checks the rest.
func (o Options) complete() (Options, error) {
	var err error
	if o.Name, err = labName(o.Name); err != nil {
		return o, err
	}
	if o.System, err = o.System.complete(); err != nil {
		return o, err
	}
	if len(o.Servers) == 0 {
		o.Servers = []string{Production, Audit}
	}
	if o.Subnet, err = ipv4(cmp.Or(o.Subnet, DefaultSubnet)); err != nil || o.Private == "" {
		return o, err
	}
	if o.Private, err = ipv4(o.Private); err != nil {
		return o, err
	}
	if netip.MustParsePrefix(o.Private).Overlaps(netip.MustParsePrefix(o.Subnet)) {
		return o, fmt.Errorf("the lab's private network %s overlaps its subnet %s", o.Private, o.Subnet)
	}
	return o, nil
}

// ipv4 returns a network in its canonical form.
func ipv4(subnet string) (string, error) {
	network, err := netip.ParsePrefix(subnet)
	if err != nil || !network.Addr().Is4() || network.Bits() > 24 {
		return "", fmt.Errorf("%q cannot be a lab's subnet: give an IPv4 network of /24 or wider, such as %s", subnet, DefaultSubnet)
	}
	return network.Masked().String(), nil
}
