//go:build lab

package hardening_test

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"holdfast/internal/lab"
	"holdfast/provision"
	"holdfast/provision/transport"
)

// Debian 13 in both roles is what the other tests run on.
func TestOtherSystemsConvergeAndStaySoOverAReboot(t *testing.T) {
	for _, c := range []struct {
		name   string
		system lab.System
		role   string
	}{
		{"debian12-audit", lab.Debian12, "audit"},
		{"ubuntu2404-production", lab.Ubuntu2404, "production"},
		{"ubuntu2404-audit", lab.Ubuntu2404, "audit"},
		{"ubuntu2204-production", lab.Ubuntu2204, "production"},
		{"ubuntu2204-audit", lab.Ubuntu2204, "audit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := lab.Reach(t.Context(), c.system); err != nil {
				t.Skip(err)
			}
			s := fresh(t, c.name, c.role, c.system)
			s.converge()
			if c.role == "production" {
				// Docker sets sysctls and rules of its own when it starts.
				s.on("systemctl restart docker")
				s.converged()
				if out := s.on("docker compose version --short"); !strings.HasPrefix(out, "2.") {
					t.Errorf("Compose is %q", out)
				}
			}
			s.closedToGuessers()
			s.opensOnly()

			s.reboot()
			s.converged()
			s.closedToGuessers()
			s.opensOnly()
			if out := s.on("systemctl list-units --failed --plain --no-legend"); strings.TrimSpace(out) != "" {
				t.Errorf("units have failed: %s", out)
			}
			if err := provision.VerifyJournal([]byte(s.on("cat " + provision.JournalPath))); err != nil {
				t.Error(err)
			}
		})
	}
}

// closedToGuessers checks that neither root nor a password gets in, whatever
// the files of a provider's image say.
func (s *server) closedToGuessers() {
	s.t.Helper()
	if _, err := s.dial(s.t.Context(), "root"); !errors.Is(err, transport.ErrAuth) {
		s.t.Errorf("root can still log in: %v", err)
	}
	for _, user := range []string{"deploy", "root", "ubuntu"} {
		settings := s.on("sshd -T -C user=" + user + ",host=x,addr=198.51.100.1")
		for _, want := range []string{"passwordauthentication no", "kbdinteractiveauthentication no", "permitrootlogin no", "port 22"} {
			if !strings.Contains(settings, want+"\n") {
				s.t.Errorf("for %s sshd does not say %q", user, want)
			}
		}
	}
}

// opensOnly checks that the declared ports are all that is open, whatever other
// rules a provider's image has: ufw would close those of the web.
func (s *server) opensOnly() {
	s.t.Helper()
	s.on(`cat >/root/serve.py <<'E'
import socket, threading
def serve(port):
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("0.0.0.0", port)); s.listen()
    while True:
        c, _ = s.accept(); c.sendall(b"hello"); c.close()
for port in 80, 443, 8080:
    threading.Thread(target=serve, args=(port,)).start()
E
systemd-run --quiet --unit=serve python3 /root/serve.py
for try in $(seq 50); do ss -Hltn sport = :8080 | grep -q . && break; sleep 0.1; done`)
	defer s.on("systemctl stop serve")
	for _, port := range []string{"80", "443", "8080"} {
		out, _ := exec.Command("timeout", "2", "bash", "-c", "cat </dev/tcp/"+s.where.Address+"/"+port).Output()
		if open := string(out) == "hello"; open != (s.role == "production" && port != "8080") {
			s.t.Errorf("port %s answers: %v", port, open)
		}
	}
}

// reboot reboots the server from inside and logs in anew.
func (s *server) reboot() {
	s.t.Helper()
	const started = "cat /proc/sys/kernel/random/boot_id"
	before := s.on(started)
	s.on("systemd-run --quiet systemctl reboot")
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		// Over SSH, which answers only once the server has taken itself off this
		// machine's kernel; docker exec would not wait for that.
		conn, err := s.dial(s.t.Context(), "deploy")
		if err == nil {
			var now strings.Builder
			err = conn.Run(s.t.Context(), transport.Command{Script: started, Stdout: &now})
			if err == nil && now.String() != before {
				s.close()
				s.conn, s.former = conn, nil
				s.on("systemctl is-system-running --wait || true")
				return
			}
			conn.Close()
		}
		if time.Since(began) > time.Minute {
			s.t.Fatalf("the server is not up again: %v", err)
		}
	}
}
