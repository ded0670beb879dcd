package transport

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func statUID(t *testing.T, path string) uint32 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Uid
}

func TestAServiceOnTheServersLoopbackIsReachedWithDeadlines(t *testing.T) {
	t.Parallel()
	service, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close()
	go func() {
		for {
			conn, err := service.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(conn, io.LimitReader(conn, 5))
				time.Sleep(500 * time.Millisecond)
				conn.Close()
			}()
		}
	}()
	c := dial(t, startSSHD(t, []string{"ed25519"}).target("root"), Options{})
	conn, err := c.DialContext(t.Context(), "tcp", service.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if conn.RemoteAddr().String() != service.Addr().String() {
		t.Errorf("the remote address is %s", conn.RemoteAddr())
	}
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 5)
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "hello" {
		t.Errorf("%q, %v", answer, err)
	}
	conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := conn.Read(answer); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("no deadline: %v", err)
	}
	conn.SetReadDeadline(time.Time{})
	if _, err := conn.Read(answer); err != io.EOF {
		t.Errorf("the end does not arrive: %v", err)
	}
}

func TestATunnelThatFailsSaysWhetherSSHDOrTheServiceRefused(t *testing.T) {
	t.Parallel()
	closed := net.JoinHostPort("127.0.0.1", "1")
	c := dial(t, startSSHD(t, []string{"ed25519"}).target("root"), Options{})
	if _, err := c.DialContext(t.Context(), "tcp", closed); err == nil || !strings.Contains(err.Error(), "nothing answers") {
		t.Error(err)
	}
	c = dial(t, startSSHD(t, []string{"ed25519"}, "AllowTcpForwarding no").target("root"), Options{})
	if _, err := c.DialContext(t.Context(), "tcp", closed); err == nil || !strings.Contains(err.Error(), "AllowTcpForwarding") {
		t.Error(err)
	}
}
