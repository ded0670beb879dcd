//go:build lab

package hardening_test

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"holdfast/provision"
	"holdfast/provision/transport"
)

// holding is what a child says when it has the server's lock and begins.
const holding = "the lock is had"

// drift is many things at once: files, a unit, kernel settings, accounts, keys,
// the firewall.
const drift = `echo '# drift' >>/etc/ssh/sshd_config.d/00-holdfast.conf
chmod 400 /etc/sudoers.d/holdfast
rm -f /etc/modprobe.d/holdfast.conf /etc/issue.net /etc/holdfast/firewall.nft
echo '# drift' >>/etc/systemd/journald.conf.d/holdfast.conf
nft delete table inet holdfast 2>/dev/null
systemctl disable --quiet holdfast-firewall.service
echo 1 >/proc/sys/net/ipv4/conf/all/accept_redirects
echo ssh-ed25519 AAAA intruder >>~deploy/.ssh/authorized_keys
usermod -aG adm deploy
sed -i 's/^UMASK.*/UMASK 022/' /etc/login.defs
chmod 644 /etc/crontab
systemctl --quiet disable --now apt-daily.timer
usermod -p '$6$guessed' root`

// run is a whole run as the command makes it, under the server's lock.
func (s *server) run(began func()) error {
	s.conn = s.either()
	lock := transport.Command{Script: provision.LockScript(fmt.Sprintf("test (process %d)", os.Getpid())) + "cat >/dev/null", Sudo: true}
	held, err := s.conn.Hold(s.t.Context(), lock)
	// A process that was killed a moment ago may not be missed yet.
	for deadline := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(deadline); held, err = s.conn.Hold(s.t.Context(), lock) {
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		return provision.LockError(err)
	}
	defer held.Release()
	began()
	return s.apply(s.t.Context(), s.plan())
}

// Killed at any moment after it has the lock, with a signal that nobody can
// catch: the next run finishes what is there and its plan is then empty, and the
// journal stays a chain.
func TestARunThatIsKilledAtAnyOf50MomentsIsFinishedByTheNext(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("HOLDFAST_TEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	cases := []struct {
		name  string
		bare  bool // killed in its first run, which installs packages
		kills int
	}{{"killed1", false, 15}, {"killed2", false, 15}, {"killed3", false, 15}, {"killedbare", true, 5}}
	var names []string
	for _, c := range cases {
		names = append(names, c.name)
	}
	sideBySide(t, names...)
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := beside(t, c.name)
			if asChild {
				if err := s.run(func() { fmt.Println(holding) }); err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Logf("HOLDFAST_TEST_SEED=%d", seed)
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			whole := 20 * time.Second // of a run
			if !c.bare {
				s.conn = s.either()
				s.converge()
				s.on(drift)
				began := time.Now()
				s.again()
				whole = time.Since(began)
			}
			for kills := 0; kills < c.kills; {
				if !c.bare {
					s.on(drift)
				}
				after := time.Duration(random.Int64N(int64(whole)))
				killed := killAfter(t, after)
				if killed {
					kills++
				} else {
					whole = max(whole/2, time.Second) // it was done by then
				}
				if c.bare && kills < c.kills && killed {
					continue // the next process takes over, and is killed too
				}
				t.Logf("kill %d: %v, after %s of %s", kills, killed, after.Round(time.Millisecond), whole.Round(time.Millisecond))
				s.again()
				if c.bare {
					return
				}
			}
		})
	}
}

// again runs once more, and the server is converged.
func (s *server) again() {
	s.t.Helper()
	s.close()
	s.conn, s.former = nil, nil
	if err := s.run(func() {}); err != nil {
		s.t.Fatalf("the next run: %v", err)
	}
	s.converged()
	if err := provision.VerifyJournal([]byte(s.on("cat " + provision.JournalPath))); err != nil {
		s.t.Errorf("the journal: %v", err)
	}
	if left := s.on("ls /var/lib/holdfast/pending /var/lib/holdfast/guard/armed /run/holdfast.* 2>/dev/null || true"); left != "" {
		s.t.Errorf("something was left behind: %s", left)
	}
}

// killAfter has a process of its own converge the server and kills it some time
// after it has begun; false when it was done before.
func killAfter(t *testing.T, after time.Duration) bool {
	t.Helper()
	process, said := child(t)
	lines := bufio.NewReader(said)
	line, err := lines.ReadString('\n')
	if line != holding+"\n" {
		rest, _ := io.ReadAll(lines)
		t.Fatalf("the process said %q, %v\n%s", line, cmp.Or(err, process.Wait()), rest)
	}
	go io.Copy(io.Discard, lines)
	time.Sleep(after)
	if err := process.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	_ = process.Wait()
	status, ok := process.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled()
}
