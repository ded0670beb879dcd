// Package transport is the way to a server: one SSH connection over which
// everything is multiplexed. Scripts run in exec channels (Run, Hold), files
// travel by SFTP (Stage), and a service that only listens on the server's
// loopback is reached through direct-tcpip (DialContext).
//
// It promises:
//
//   - A host key is always checked, at each hop, before anything is sent: the
//     pinned fingerprint, else known_hosts, else a person's yes, which is
//     recorded. A changed key always fails.
//   - What failed can be told apart with errors.Is (ErrUnreachable, ErrHostKey,
//     ErrAuth, ErrShell, ErrSudo, or an *ExitError of the script itself), and each message
//     says what to do next.
//   - No secret is put into an argument list, a log or an error: the sudo
//     password goes to sudo's stdin and nowhere else, a passphrase to the key, a
//     login password over a connection whose host key has been checked.
//   - Round trips are counted. With the right key offered first a connection
//     costs 7 of them and a script of less than 127 KiB 2 more.
package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

const (
	defaultTimeout   = 15 * time.Second
	defaultKeepalive = 15 * time.Second
)

// A Target is a server and how to log in to it.
type Target struct {
	Name    string // how messages call the server, such as "production"; default Address
	Address string // host name, IP address, or a Host of ~/.ssh/config
	Port    int    // 1 to 65535; 0: what ~/.ssh/config says, else 22
	User    string // login name; "": what ~/.ssh/config says, else the local user
	// HostKey is the pinned fingerprint ("SHA256:…"). With it known_hosts is
	// consulted for @revoked lines only. "": known_hosts decides.
	HostKey string
	// Identity is the private key file that is offered first, "~/" expanded.
	// It must exist. "": ~/.ssh/config, the agent and the usual key files.
	Identity string
	// KnownHosts are the files host keys are looked up in; missing ones count
	// as empty. The first is ours: newly accepted keys are written to it.
	KnownHosts []string
}

// Options say how Dial connects. The zero value is ready to use; it refuses
// hosts that are not known.
type Options struct {
	// Config is the ssh_config file to read; "": ~/.ssh/config and
	// /etc/ssh/ssh_config where they exist, "none": no file.
	Config string
	// AcceptNewHostKey is asked about a host that nothing is known of; host is
	// in known_hosts form ("203.0.113.10", "[203.0.113.10]:2222"). nil refuses.
	AcceptNewHostKey func(host, keyType, fingerprint string) bool
	// Passphrase is asked for the passphrase of an encrypted key file, once the
	// server has said that it accepts the key, up to three times. nil leaves
	// encrypted keys to the agent.
	Passphrase func(keyfile string) ([]byte, error)
	// Password is asked for the password of the target's user, for first contact
	// with a server that knows no key of ours: only after it has refused the
	// keys and where it takes one ("password" or "keyboard-interactive"), up to
	// three times, and not again after the same wrong one. Bastions don't get
	// it. It is kept until the login is done. nil: keys only.
	Password func() (string, error)
	// SudoPassword is asked once a connection for the password that sudo wants,
	// and only when sudo does want one. nil: sudo must not ask (sudo -n).
	SudoPassword func() (string, error)
	// Timeout bounds connecting and logging in to each hop, without the time a
	// person is being asked. Default: ConnectTimeout of ssh_config, else 15 s.
	Timeout time.Duration
	// Keepalive is the interval in which an idle connection is probed; after
	// three unanswered probes it is closed. Default 15 s, negative: never.
	Keepalive time.Duration
	// Dial opens the TCP connection to the first hop; default net.Dialer. Tests
	// count and delay here.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// A Conn is one authenticated connection to a server. Its methods may be used
// from several goroutines; more than 4 sessions at a time wait for each other.
type Conn struct {
	name    string
	user    string
	hostKey string
	client  *ssh.Client
	before  []*ssh.Client // bastions on the way, outermost first
	options Options

	sessions *sessions
	done     chan struct{} // closed when the connection has ended

	mu    sync.Mutex
	cause error // why the connection ended
	files *sftp.Client

	root escalation
}

// Dial connects and logs in to target, through the bastions that ssh_config
// names. The error wraps ErrUnreachable, ErrHostKey or ErrAuth, or is that of
// ctx, or says what is wrong with the target or the ssh_config file.
func Dial(ctx context.Context, target Target, options Options) (*Conn, error) {
	if target.Name == "" {
		target.Name = target.Address
	}
	options.Timeout = max(options.Timeout, 0)
	if options.Keepalive == 0 {
		options.Keepalive = defaultKeepalive
	}
	if options.Dial == nil {
		dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: defaultKeepalive, Interval: defaultKeepalive, Count: 3,
		}}
		options.Dial = dialer.DialContext
	}
	hops, err := route(target, options.Config)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", target.Name, err)
	}
	var clients []*ssh.Client
	var traffic *meter
	var hostKey string
	dial := options.Dial
	for _, h := range hops {
		l, err := connect(ctx, h, dial, target.KnownHosts, options)
		if err != nil {
			for _, c := range slices.Backward(clients) {
				c.Close()
			}
			return nil, err
		}
		clients = append(clients, l.client)
		traffic, hostKey, dial = l.traffic, l.hostKey, l.client.DialContext
	}
	last := len(clients) - 1
	c := &Conn{
		name: target.Name, user: hops[last].user, hostKey: hostKey,
		client: clients[last], before: clients[:last], options: options,
		sessions: newSessions(), done: make(chan struct{}),
	}
	go c.watch()
	if options.Keepalive > 0 {
		go c.keepalive(options.Keepalive, traffic)
	}
	return c, nil
}

// User is the login name on the server.
func (c *Conn) User() string { return c.user }

// HostKey is the fingerprint ("SHA256:…") of the key the server proved to
// have, fit for pinning.
func (c *Conn) HostKey() string { return c.hostKey }

// Close ends the connection, all its sessions and those of its bastions.
// Scripts that still run on the server are not stopped by it.
func (c *Conn) Close() error {
	c.end(net.ErrClosed)
	err := c.client.Close()
	for _, b := range slices.Backward(c.before) {
		b.Close()
	}
	if errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
		return nil // it had ended before
	}
	return err
}

// watch notes the end of the connection, whoever brought it about.
func (c *Conn) watch() {
	err := c.client.Wait()
	if err == nil {
		err = io.EOF
	}
	c.end(err)
	close(c.done)
	for _, b := range slices.Backward(c.before) {
		b.Close()
	}
}

// end records why the connection ended; the first reason counts.
func (c *Conn) end(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil {
		c.cause = cause
	}
}

// lost is the error of whatever was going on when the connection ended.
func (c *Conn) lost() error {
	c.mu.Lock()
	cause := c.cause
	c.mu.Unlock()
	switch {
	case errors.Is(cause, net.ErrClosed):
		return fmt.Errorf("the connection to %s was closed here: %w", c.name, cause)
	case cause == nil || errors.Is(cause, io.EOF):
		return fail(ErrUnreachable, cause, "the connection to %s was cut by the other side; run again to continue", c.name)
	}
	return fail(ErrUnreachable, cause, "the connection to %s was lost: %v; run again to continue", c.name, cause)
}

// ended reports whether the connection is over, allowing for the moment
// between a channel's end and that of the connection beneath it.
func (c *Conn) ended() bool {
	select {
	case <-c.done:
		return true
	case <-time.After(200 * time.Millisecond):
		return false
	}
}
