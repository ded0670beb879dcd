package transport

import (
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

// A meter knows whether anything has been received lately.
type meter struct {
	net.Conn
	received atomic.Int64
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	m.received.Add(int64(n))
	return n, err
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
