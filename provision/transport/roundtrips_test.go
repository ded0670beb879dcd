package transport

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A distance makes a server far away, and counts round trips: how often the
// server was heard after the client had spoken. TCP's handshake is one more.
type distance struct {
	oneWay time.Duration

	mu      sync.Mutex
	trips   int
	spoken  time.Time // when the client first spoke since the server answered; zero: not since
	stalled bool
}

func (d *distance) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var dialer net.Dialer
	server, err := dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	near, far := net.Pipe()
	// The server's greeting answers TCP's handshake, which is half way there.
	d.mu.Lock()
	d.spoken = time.Now().Add(-d.oneWay)
	d.mu.Unlock()
	go d.carry(server, far, func() {
		if d.spoken.IsZero() {
			d.spoken = time.Now()
		}
	}, nil)
	go d.carry(far, server, nil, func() {
		// What arrives sooner was on its way already, and answers nothing.
		if !d.spoken.IsZero() && time.Since(d.spoken) >= 2*d.oneWay {
			d.trips++
			d.spoken = time.Time{}
		}
	})
	return near, nil
}

// carry copies with delay; sent and arrived are called at those moments.
func (d *distance) carry(to io.WriteCloser, from io.Reader, sent, arrived func()) {
	type parcel struct {
		data []byte
		due  time.Time
	}
	road := make(chan parcel, 1<<10)
	go func() {
		defer close(road)
		data := make([]byte, 64<<10)
		for {
			n, err := from.Read(data)
			if n > 0 {
				d.note(sent)
				road <- parcel{bytes.Clone(data[:n]), time.Now().Add(d.oneWay)}
			}
			if err != nil {
				return
			}
		}
	}()
	defer to.Close()
	for p := range road {
		time.Sleep(time.Until(p.due))
		if d.note(arrived) {
			continue
		}
		if _, err := to.Write(p.data); err != nil {
			return
		}
	}
}

func (d *distance) note(event func()) (stalled bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if event != nil {
		event()
	}
	return d.stalled
}

// since returns the round trips since the last call.
func (d *distance) since() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.trips
	d.trips, d.spoken = 0, time.Time{}
	return n
}

// loginTrips is what x/crypto's handshake takes: versions, key exchange (2),
// service, "none", the key's offer, its signature.
const loginTrips = 7

func TestRoundTripsStayInBudget(t *testing.T) {
	server := startSSHD(t, nil)
	u := accounts(t)
	script := "true #" + strings.Repeat("x", 100<<10)
	lock := func(c *Conn, sudo bool) error {
		held, err := c.Hold(t.Context(), Command{Script: "echo ready; cat >/dev/null", Sudo: sudo})
		if err == nil {
			t.Cleanup(func() { held.Release() })
		}
		return err
	}
	for _, test := range []struct {
		name     string
		user     string
		password string
		do       func(c *Conn) error
		cost     int
	}{
		{"a script as root", "root", "", func(c *Conn) error { return c.Run(t.Context(), Command{Script: script}) }, 2},
		{"a script by sudo", u.free, "", func(c *Conn) error { return c.Run(t.Context(), Command{Script: script, Sudo: true}) }, 2},
		{"a script by sudo with stdin", u.free, "", func(c *Conn) error {
			return c.Run(t.Context(), Command{Script: script, Sudo: true, Stdin: strings.NewReader("x")})
		}, 3},
		{"a script by sudo with password", u.asks, u.password, func(c *Conn) error { return c.Run(t.Context(), Command{Script: script, Sudo: true}) }, 4},
		{"a lock as root", "root", "", func(c *Conn) error { return lock(c, false) }, 2},
		{"a lock by sudo", u.free, "", func(c *Conn) error { return lock(c, true) }, 3},
		{"a tunnel", "root", "", func(c *Conn) error {
			conn, err := c.DialContext(t.Context(), "tcp", server.addr())
			if err == nil {
				conn.Close()
			}
			return err
		}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := &distance{oneWay: 20 * time.Millisecond}
			options := Options{Dial: d.dial, Keepalive: -1}
			if test.password != "" {
				options.SudoPassword = func() (string, error) { return test.password, nil }
			}
			started := time.Now()
			c := dial(t, server.target(test.user), options)
			login, loginTime := d.since(), time.Since(started)
			started = time.Now()
			if err := test.do(c); err != nil {
				t.Fatal(err)
			}
			cost := d.since()
			t.Logf("login %d round trips in %v, then %d in %v (one is %v)", login, loginTime.Round(time.Millisecond),
				cost, time.Since(started).Round(time.Millisecond), 2*d.oneWay)
			if login > loginTrips || cost > test.cost {
				t.Errorf("login took %d round trips of %d, the rest %d of %d", login, loginTrips, cost, test.cost)
			}
		})
	}
}

// Pipelined requests and answers cross on the way, so files are timed.
func TestTwoHundredFilesAreStagedInFewRoundTrips(t *testing.T) {
	var files []Upload
	for i := range 200 {
		files = append(files, Upload{Path: fmt.Sprintf("release/file-%d", i), Content: []byte("content")})
	}
	d := &distance{oneWay: 25 * time.Millisecond}
	u := accounts(t)
	c := dial(t, startSSHD(t, []string{"ed25519"}).target(u.free), Options{Dial: d.dial})
	for range 2 {
		started := time.Now()
		if _, err := c.Stage(t.Context(), files); err != nil {
			t.Fatal(err)
		}
		trips := float64(time.Since(started)) / float64(2*d.oneWay)
		t.Logf("200 files took the time of %.1f round trips", trips)
		if trips > 25 { // one after another: 800
			t.Errorf("200 files took the time of %.1f round trips", trips)
		}
	}
}

func TestAStalledConnectionEndsWithItsCommands(t *testing.T) {
	t.Parallel()
	server := startSSHD(t, []string{"ed25519"})
	d := &distance{}
	c := dial(t, server.target("root"), Options{Dial: d.dial, Keepalive: 100 * time.Millisecond})
	mustRun(t, c, Command{Script: "sleep 1"}) // silence alone is no reason
	file := filepath.Join(folder(t), "started")
	ended := make(chan error)
	go func() { ended <- c.Run(t.Context(), Command{Script: "touch " + file + "; sleep 60"}) }()
	time.Sleep(300 * time.Millisecond)
	d.mu.Lock()
	d.stalled = true
	d.mu.Unlock()
	select {
	case err := <-ended:
		wants(t, err, ErrUnreachable, "no answer for")
	case <-time.After(5 * time.Second):
		t.Fatal("the command hangs")
	}
}
