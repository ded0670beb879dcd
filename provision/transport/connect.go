package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// A link is one established hop.
type link struct {
	client  *ssh.Client
	traffic *meter
	hostKey string
}

// connect opens one hop by dial, checks its host key and logs in.
func connect(ctx context.Context, h hop, dial dialFunc, knownHosts []string, options Options) (*link, error) {
	known, err := readKnownHosts(append(slices.Clone(knownHosts), h.knownHosts...))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", h, err)
	}
	check := &hostCheck{hop: h, known: known, accept: options.AcceptNewHostKey}
	if len(knownHosts) > 0 {
		check.record = knownHosts[0]
	}
	keys := &login{hop: h, passphrase: options.Passphrase}
	if !h.bastion {
		keys.password.person = options.Password
	}
	defer keys.close()
	for {
		l, err := attempt(ctx, h, dial, check, keys, cmp.Or(options.Timeout, h.timeout, defaultTimeout))
		if err == nil {
			return l, nil
		}
		if check.retry() {
			slog.Debug("the offered host key is not the pinned one, ask for another type", "host", h.addr())
			continue
		}
		again, declined := keys.another(err)
		if declined != nil {
			return nil, declined
		}
		if !again {
			return nil, err
		}
	}
}

// attempt makes one connection and one handshake.
func attempt(ctx context.Context, h hop, dial dialFunc, check *hostCheck, keys *login, timeout time.Duration) (*link, error) {
	clock := newStopwatch(timeout)
	defer clock.stop()
	timed, cancel := context.WithCancel(ctx)
	defer cancel()
	clock.onExpiry(cancel)

	raw, err := dial(timed, "tcp", h.addr())
	if err != nil {
		return nil, explain(ctx, clock, h, err)
	}
	traffic := &meter{Conn: raw}
	defer context.AfterFunc(timed, func() { raw.Close() })()

	check.ask, check.err = clock.pause, nil
	if err := keys.begin(traffic, clock.pause); err != nil {
		raw.Close()
		return nil, err
	}
	connection, channels, requests, err := ssh.NewClientConn(traffic, h.addr(), &ssh.ClientConfig{
		User:              h.user,
		HostKeyCallback:   check.verify,
		HostKeyAlgorithms: check.algorithms(),
		AuthCallback:      keys.next,
		BannerCallback:    keys.hear,
		ClientVersion:     "SSH-2.0-Holdfast",
	})
	var negotiation *ssh.AlgorithmNegotiationError
	switch {
	case err == nil:
		keys.password.forget()
		return &link{ssh.NewClient(connection, channels, requests), traffic, ssh.FingerprintSHA256(check.accepted)}, nil
	case check.err != nil:
		return nil, check.err
	case ctx.Err() != nil:
		return nil, explain(ctx, clock, h, err)
	case errors.Is(keys.err, errCut) || keys.reached && cutOff(err):
		return nil, fail(ErrUnreachable, err, "log in to %s: %s", h, keys.cut(clock.expired.Load()))
	case keys.err != nil:
		return nil, fail(ErrAuth, keys.err, "log in to %s: %v", h, keys.err)
	case errors.As(err, &negotiation) && negotiation.What == "host key":
		check.err = check.negotiation(negotiation)
		return nil, check.err
	case keys.reached:
		return nil, fail(ErrAuth, err, "log in to %s: %v; %s", h, err, keys.refused())
	}
	return nil, fail(ErrUnreachable, err, "connect to %s: %s", h, traffic.silence(err, clock.expired.Load(), check.accepted != nil))
}

// errCut stands for the end of the connection in the middle of a login; x/crypto
// goes on to the next key.
var errCut = errors.New("the connection ended during the login")

func cutOff(err error) bool {
	var network net.Error
	return errors.Is(err, io.EOF) || errors.As(err, &network)
}

// explain tells an interruption by the caller from a server that is too slow
// and from what else went wrong.
func explain(ctx context.Context, clock *stopwatch, h hop, err error) error {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("connect to %s: %w", h, context.Cause(ctx))
	case ctx.Err() != nil:
		return unreachable(h, ctx.Err())
	case clock.expired.Load():
		return unreachable(h, os.ErrDeadlineExceeded)
	}
	var refused *ssh.OpenChannelError
	if errors.As(err, &refused) { // a bastion answered for the hop behind it
		return fail(ErrUnreachable, err, "connect to %s: the bastion before it could not open the connection: %s; check the address as the bastion sees it, and AllowTcpForwarding there", h, refused.Message)
	}
	return unreachable(h, err)
}

// A stopwatch expires after its time has run, not counting the time that a
// person was being asked something.
type stopwatch struct {
	left    time.Duration
	since   time.Time
	timer   *time.Timer
	expired atomic.Bool
	act     atomic.Pointer[func()]
}

func newStopwatch(d time.Duration) *stopwatch {
	w := &stopwatch{left: d, since: time.Now()}
	w.timer = time.AfterFunc(d, func() {
		w.expired.Store(true)
		if act := w.act.Load(); act != nil {
			(*act)()
		}
	})
	return w
}

func (w *stopwatch) onExpiry(act func()) { w.act.Store(&act) }

func (w *stopwatch) stop() { w.timer.Stop() }

// pause runs f with the watch stopped. The handshake that calls it is
// sequential, so no two pauses overlap.
func (w *stopwatch) pause(f func()) {
	if w.timer.Stop() {
		w.left = max(time.Second, w.left-time.Since(w.since))
		defer func() {
			w.since = time.Now()
			w.timer.Reset(w.left)
		}()
	}
	f()
}
