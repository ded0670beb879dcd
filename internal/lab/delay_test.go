package lab

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

const roundTrip = 40 * time.Millisecond

// listen serves each connection of a fresh TCP port with handle and returns a
// delaying proxy to it.
func listen(t *testing.T, handle func(net.Conn)) *DelayProxy {
	t.Helper()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	go func() {
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				handle(conn)
			}()
		}
	}()
	proxy, err := Delay(server.Addr().String(), roundTrip)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proxy.Close() })
	return proxy
}

func dial(t *testing.T, proxy *DelayProxy) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", proxy.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// echoLines answers each line with itself.
func echoLines(conn net.Conn) {
	lines := bufio.NewReader(conn)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		fmt.Fprint(conn, line)
	}
}

func TestDelayCountsEachQuestionAsOneRoundTrip(t *testing.T) {
	proxy := listen(t, echoLines)
	started := time.Now()
	conn := dial(t, proxy)
	answers := bufio.NewReader(conn)
	const questions = 5
	for i := range questions {
		fmt.Fprintf(conn, "question %d\n", i)
		if got, err := answers.ReadString('\n'); err != nil || got != fmt.Sprintf("question %d\n", i) {
			t.Fatalf("answer %d: %q, %v", i, got, err)
		}
	}
	elapsed := time.Since(started)
	got := proxy.Stats()
	want := DelayStats{Connections: 1, RoundTrips: 1 + questions, Turns: 2*questions - 1, BytesUp: 55, BytesDown: 55}
	if got != want {
		t.Errorf("stats: %+v, want %+v", got, want)
	}
	if least := (1 + questions) * roundTrip; elapsed < least || elapsed > least+10*roundTrip {
		t.Errorf("took %s, want a little more than %s", elapsed, least)
	}
}

func TestDelayCountsPipelinedQuestionsAsOneRoundTrip(t *testing.T) {
	proxy := listen(t, echoLines)
	conn := dial(t, proxy)
	const questions = 20
	for range questions {
		fmt.Fprintln(conn, "q")
		time.Sleep(time.Millisecond / 2)
	}
	if _, err := io.CopyN(io.Discard, conn, 2*questions); err != nil {
		t.Fatal(err)
	}
	// On a busy machine the last ones may follow the first answers.
	if got := proxy.Stats().RoundTrips; got < 2 || got > 3 {
		t.Errorf("%d round trips, want 2: the handshake and one for all questions", got)
	}
}

func TestDelayLetsBothSidesGreetAtOnce(t *testing.T) {
	// As SSH does: both send their version, neither waits.
	proxy := listen(t, func(conn net.Conn) {
		fmt.Fprintln(conn, "server")
		io.Copy(io.Discard, conn)
	})
	started := time.Now()
	conn := dial(t, proxy)
	fmt.Fprintln(conn, "client")
	if line, err := bufio.NewReader(conn).ReadString('\n'); line != "server\n" {
		t.Fatalf("greeting %q: %v", line, err)
	}
	if elapsed := time.Since(started); elapsed < 2*roundTrip {
		t.Errorf("greeted after %s, want the handshake and one round trip, %s", elapsed, 2*roundTrip)
	}
	if got := proxy.Stats().RoundTrips; got != 2 {
		t.Errorf("%d round trips, want 2", got)
	}
}

func TestDelayCarriesABigTransferWhole(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<20) // 16 MiB
	proxy := listen(t, func(conn net.Conn) {
		received, _ := io.ReadAll(conn)
		conn.Write(received)
	})
	started := time.Now()
	conn := dial(t, proxy).(*net.TCPConn)
	go func() {
		conn.Write(content)
		conn.CloseWrite()
	}()
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, content) {
		t.Fatalf("%d bytes came back that differ from the %d sent", len(got), len(content))
	}
	if elapsed := time.Since(started); elapsed > 20*time.Second {
		t.Errorf("took %s: the delay must not limit the rate", elapsed)
	}
	if s := proxy.Stats(); s.BytesUp != int64(len(content)) || s.BytesDown != int64(len(content)) {
		t.Errorf("counted %d bytes up and %d down", s.BytesUp, s.BytesDown)
	}
}

func TestDelayEndsTheConnectionOfADeadServer(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	proxy, err := Delay(closed.Addr().String(), roundTrip)
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	conn := dial(t, proxy)
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("a connection to nobody gave data")
	}
	if got := proxy.Stats().Connections; got != 0 {
		t.Errorf("%d connections counted, want 0", got)
	}
}

func TestDelayClosesWithConnectionsOpen(t *testing.T) {
	proxy := listen(t, echoLines)
	conn := dial(t, proxy)
	fmt.Fprintln(conn, "on its way")
	if err := proxy.Close(); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection outlived its proxy")
	}
}
