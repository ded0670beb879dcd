package transport

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// maxSessions is how many exec and SFTP channels one connection keeps open at
// a time. sshd's MaxSessions is 10 by default (sshd_config(5)) and hardening
// guides lower it; where it is lower than this, the others wait.
const maxSessions = 4

// sessions counts the channels that a connection has open.
type sessions struct {
	slots chan struct{} // one token for each open session, or one about to be

	mu      sync.Mutex
	passing int           // open ones that will end by themselves
	freed   chan struct{} // closed, and replaced, when one of those has ended
}

func newSessions() *sessions {
	return &sessions{slots: make(chan struct{}, maxSessions), freed: make(chan struct{})}
}

// open opens a session channel, for which the caller owes a release. lasting
// ones do not end by themselves, so nobody waits for them. It waits while as
// many are open as there may be.
func (c *Conn) open(ctx context.Context, lasting bool) (*ssh.Session, error) {
	s := c.sessions
	select {
	case s.slots <- struct{}{}:
	case <-c.done:
		return nil, c.lost()
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for a free session on %s: %w", c.name, context.Cause(ctx))
	}
	session, err := c.openSlot(ctx)
	if err != nil {
		<-s.slots
		return nil, err
	}
	if !lasting {
		s.mu.Lock()
		s.passing++
		s.mu.Unlock()
	}
	return session, nil
}

func (c *Conn) release(lasting bool) {
	s := c.sessions
	<-s.slots
	if lasting {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passing--
	close(s.freed)
	s.freed = make(chan struct{})
}

// openSlot opens a session channel once sshd has room for it. sshd counts a
// session until it has tidied up after it, so a refusal is tried again for a
// moment; and its MaxSessions may be lower than ours, so after that it waits
// for one of our own to end.
func (c *Conn) openSlot(ctx context.Context) (*ssh.Session, error) {
	pauses := []time.Duration{50 * time.Millisecond, 150 * time.Millisecond, 500 * time.Millisecond}
	for try := 0; ; try++ {
		c.sessions.mu.Lock()
		passing, freed := c.sessions.passing, c.sessions.freed
		c.sessions.mu.Unlock()
		session, err := c.tryOpen(ctx)
		var refused *ssh.OpenChannelError
		var pause <-chan time.Time
		switch {
		case !errors.As(err, &refused):
			return session, err
		case passing > 0:
			try = -1
		case try == len(pauses):
			return nil, err
		default:
			freed, pause = nil, time.After(pauses[try])
		}
		select {
		case <-freed:
		case <-pause:
		case <-c.done:
			return nil, c.lost()
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for a free session on %s: %w", c.name, context.Cause(ctx))
		}
	}
}

func (c *Conn) tryOpen(ctx context.Context) (*ssh.Session, error) {
	type result struct {
		session *ssh.Session
		err     error
	}
	opened := make(chan result, 1)
	go func() {
		session, err := c.client.NewSession()
		opened <- result{session, err}
	}()
	select {
	case <-ctx.Done():
		go func() {
			if r := <-opened; r.err == nil {
				r.session.Close()
			}
		}()
		return nil, fmt.Errorf("open a session on %s: %w", c.name, context.Cause(ctx))
	case r := <-opened:
		if r.err == nil {
			return r.session, nil
		}
		var refused *ssh.OpenChannelError
		if errors.As(r.err, &refused) {
			return nil, fmt.Errorf("%s opens no further session (%s); see MaxSessions in its sshd_config, it should be at least %d: %w",
				c.name, refused.Message, maxSessions, r.err)
		}
		if c.ended() {
			return nil, c.lost()
		}
		return nil, fmt.Errorf("open a session on %s: %w", c.name, r.err)
	}
}
