package transport

import (
	"bytes"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A meter knows whether anything has been received lately, and what came
// first.
type meter struct {
	net.Conn
	received atomic.Int64
	broken   atomic.Bool // it has ended, whoever ended it

	mu    sync.Mutex
	first []byte // up to 255 bytes, as long as the identification may be (RFC 4253, 4.2)
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	if err != nil {
		m.broken.Store(true)
	}
	if before := m.received.Add(int64(n)) - int64(n); before < 255 {
		m.mu.Lock()
		m.first = append(m.first, p[:min(int64(n), 255-before)]...)
		m.mu.Unlock()
	}
	return n, err
}

func (m *meter) Write(p []byte) (int, error) {
	n, err := m.Conn.Write(p)
	if err != nil {
		m.broken.Store(true)
	}
	return n, err
}

// greeting is what the other side has said that an SSH server does not say, or
// "".
func (m *meter) greeting() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if bytes.HasPrefix(m.first, []byte("SSH-")) || bytes.Contains(m.first, []byte("\nSSH-")) {
		return ""
	}
	return lastLines(string(m.first), 2)
}

// missedProbes is how many intervals in a row may pass in silence, as
// ServerAliveCountMax of ssh_config(5).
const missedProbes = 3

// keepalive probes the server each interval and closes the connection when
// nothing at all has come back for missedProbes intervals, so that a dead
// network ends a run instead of hanging it.
func (c *Conn) keepalive(interval time.Duration, traffic *meter) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	answered := make(chan error, 1)
	waiting, missed, seen := false, 0, traffic.received.Load()
	for {
		select {
		case <-c.done:
			return
		case err := <-answered:
			if err != nil {
				return // the connection has ended
			}
			waiting, missed = false, 0
			continue
		case <-ticker.C:
		}
		if now := traffic.received.Load(); now != seen {
			seen, missed = now, 0
		} else if waiting {
			missed++
		}
		if missed >= missedProbes {
			c.end(fmt.Errorf("no answer for %s", (missedProbes * interval).Round(time.Millisecond)))
			c.client.Close()
			return
		}
		if !waiting {
			waiting = true
			go func() {
				// Any answer will do; OpenSSH refuses the request by design.
				_, _, err := c.client.SendRequest("keepalive@openssh.com", true, nil)
				answered <- err
			}()
		}
	}
}
