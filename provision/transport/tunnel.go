package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/crypto/ssh"
)

// DialContext connects from the server to addr ("host:port" for network "tcp",
// a path for "unix"), as net.Dialer does from here: it reaches what listens on
// the server's loopback. It costs 1 round trip and no session.
//
// The connection supports deadlines, which a bare SSH channel does not and
// pgx relies on, and knows addr as its remote address. It has no half-close.
func (c *Conn) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	channel, err := c.client.DialContext(ctx, network, addr)
	var refused *ssh.OpenChannelError
	switch {
	case err == nil:
		return newTunnel(channel, network, addr), nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("connect to %s through %s: %w", addr, c.name, context.Cause(ctx))
	case errors.As(err, &refused) && refused.Reason == ssh.Prohibited:
		return nil, fmt.Errorf("connect to %s through %s: its sshd forbids it (AllowTcpForwarding, PermitOpen): %w", addr, c.name, err)
	case errors.As(err, &refused):
		return nil, fmt.Errorf("connect to %s through %s: nothing answers there (%s): %w", addr, c.name, refused.Message, err)
	case c.ended():
		return nil, c.lost()
	}
	return nil, fmt.Errorf("connect to %s through %s: %w", addr, c.name, err)
}

// A tunnel is one end of a pipe whose other end is copied to and from an SSH
// channel.
type tunnel struct {
	net.Conn
	remote  address
	channel net.Conn
}

type address struct{ network, addr string }

func (a address) Network() string { return a.network }
func (a address) String() string  { return a.addr }

func newTunnel(channel net.Conn, network, addr string) *tunnel {
	near, far := net.Pipe()
	t := &tunnel{Conn: near, remote: address{network, addr}, channel: channel}
	go func() {
		io.Copy(far, channel)
		far.Close()
	}()
	go func() {
		io.Copy(channel, far)
		channel.Close()
	}()
	return t
}

func (t *tunnel) RemoteAddr() net.Addr { return t.remote }

// Close lets what has been written go out, unless the other side does not take
// it for a while.
func (t *tunnel) Close() error {
	time.AfterFunc(2*time.Second, func() { t.channel.Close() })
	return t.Conn.Close()
}
