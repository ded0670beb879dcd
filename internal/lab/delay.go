package lab

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// A DelayProxy stands between a client and a TCP server and makes the way
// between them long: each byte arrives half the round-trip time after it was
// sent, in either direction, and a connection is good for use one round-trip
// time after it was asked for. It adds no limit to the rate. It counts what
// went through. Close it after use.
type DelayProxy struct {
	// Addr is where it listens: 127.0.0.1 and a port of its own.
	Addr string

	target   string
	delay    time.Duration // one way
	listener net.Listener
	running  sync.WaitGroup

	mu    sync.Mutex
	stats DelayStats
	open  map[net.Conn]struct{} // nil once closed
}

// DelayStats are the counts of a [DelayProxy] over all its connections.
type DelayStats struct {
	Connections int
	// RoundTrips is how often a client had to wait for its server, TCP's handshake
	// included: the pairs in the longest chain of messages of which each was sent
	// after the one before had arrived. On a slow link a connection takes about
	// this times the round-trip time.
	RoundTrips int
	// Turns is how often the direction of flow changed. Where both sides send
	// at once it says little; RoundTrips does.
	Turns     int
	BytesUp   int64 // from clients to the server
	BytesDown int64 // from the server to clients
}

// Delay returns a proxy to the TCP address target with the given round-trip
// time. Round trips can only be told apart when it is well above the time that
// the two sides need for themselves; 20 ms is.
func Delay(target string, roundTrip time.Duration) (*DelayProxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &DelayProxy{
		Addr: listener.Addr().String(), target: target, delay: roundTrip / 2,
		listener: listener, open: map[net.Conn]struct{}{},
	}
	p.running.Go(p.accept)
	return p, nil
}

// Stats returns the counts so far.
func (p *DelayProxy) Stats() DelayStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

// Close cuts all connections and waits until nothing of the proxy runs.
func (p *DelayProxy) Close() error {
	err := p.listener.Close()
	p.mu.Lock()
	open := p.open
	p.open = nil
	p.mu.Unlock()
	for conn := range open {
		conn.Close()
	}
	p.running.Wait()
	return err
}

func (p *DelayProxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() { p.serve(client, time.Now()) })
	}
}

// keep notes that conn is open; false when the proxy has been closed.
func (p *DelayProxy) keep(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		conn.Close()
		return false
	}
	p.open[conn] = struct{}{}
	return true
}

func (p *DelayProxy) drop(conn net.Conn) {
	conn.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, conn)
}

func (p *DelayProxy) serve(client net.Conn, asked time.Time) {
	if !p.keep(client) {
		return
	}
	defer p.drop(client)
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return // what a client of a dead server sees: the connection ends
	}
	if !p.keep(server) {
		return
	}
	defer p.drop(server)

	p.mu.Lock()
	p.stats.Connections++
	p.stats.RoundTrips++ // TCP's handshake
	p.mu.Unlock()

	// In half trips: the client may send when the handshake's answer, the second,
	// is back; the server when the client's confirmation, the third, has arrived.
	up := &direction{proxy: p, from: client, to: server, open: asked.Add(2 * p.delay), arrived: 3}
	down := &direction{proxy: p, from: server, to: client, open: asked.Add(3 * p.delay), arrived: 2}
	up.back, down.back = down, up
	var both sync.WaitGroup
	both.Go(up.run)
	both.Go(down.run)
	both.Wait()
}

// A direction carries what one side of a connection sends.
type direction struct {
	proxy    *DelayProxy
	from, to net.Conn
	open     time.Time  // when this side can send first
	back     *direction // the other way

	// Guarded by the proxy's mutex.
	arrived int  // length, in half trips, of the longest chain whose end was delivered
	counted int  // round trips that this direction has added to the proxy's
	flowing bool // the last bytes of the connection went this way
}

// A parcel is what one read gave; no bytes mean the end.
type parcel struct {
	bytes []byte
	chain int // length, in half trips, of the chain that it ends
	due   time.Time
}

// run carries until the sender ends and everything has been delivered.
func (d *direction) run() {
	// A sender that has so many parcels under way has to wait, as it would for
	// a full TCP window.
	parcels := make(chan parcel, 4096)
	var delivering sync.WaitGroup
	delivering.Go(func() { d.deliver(parcels) })
	defer delivering.Wait()
	defer close(parcels)
	buffer := make([]byte, 64<<10)
	for {
		n, err := d.from.Read(buffer)
		if n > 0 {
			parcels <- d.sent(bytes.Clone(buffer[:n]))
		}
		if errors.Is(err, io.EOF) {
			parcels <- parcel{due: d.due()}
			return
		}
		if err != nil { // a reset ends both directions
			d.from.Close()
			d.to.Close()
			return
		}
	}
}

// due is when something sent now arrives.
func (d *direction) due() time.Time {
	now := time.Now()
	if now.Before(d.open) {
		now = d.open
	}
	return now.Add(d.proxy.delay)
}

// sent counts bytes at the moment they leave their sender.
func (d *direction) sent(content []byte) parcel {
	due := d.due()
	p := d.proxy
	p.mu.Lock()
	defer p.mu.Unlock()
	chain := d.back.arrived + 1
	toClient := chain%2 == 0
	if toClient {
		p.stats.BytesDown += int64(len(content))
		// The handshake, one round trip, was counted with the connection.
		if trips := chain/2 - 1; trips > d.counted {
			p.stats.RoundTrips += trips - d.counted
			d.counted = trips
		}
	} else {
		p.stats.BytesUp += int64(len(content))
	}
	if d.back.flowing {
		p.stats.Turns++
	}
	d.flowing, d.back.flowing = true, false
	return parcel{bytes: content, chain: chain, due: due}
}

// deliver hands each parcel over when it is due.
func (d *direction) deliver(parcels <-chan parcel) {
	for parcel := range parcels {
		time.Sleep(time.Until(parcel.due))
		if parcel.bytes == nil {
			if half, ok := d.to.(*net.TCPConn); ok {
				_ = half.CloseWrite() // fails when the receiver has gone, which is fine
			}
			continue
		}
		d.proxy.mu.Lock()
		d.arrived = max(d.arrived, parcel.chain)
		d.proxy.mu.Unlock()
		if _, err := d.to.Write(parcel.bytes); err != nil {
			d.from.Close() // the sender learns of it as on a real link: its next write fails
		}
	}
}
