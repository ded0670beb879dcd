//go:build lab

package hardening_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"holdfast/provision"
)

// drift is something of each kind that a run has to mend.
const drift = `
echo '# touched' >> /etc/ssh/sshd_config.d/00-holdfast.conf
chmod 400 /etc/sudoers.d/holdfast
rm -f /etc/modprobe.d/holdfast.conf /etc/systemd/journald.conf.d/holdfast.conf
echo 1 > /proc/sys/net/ipv4/conf/all/accept_redirects
sed -i 's/^UMASK.*/UMASK 022/' /etc/login.defs
chmod 644 /etc/crontab
systemctl -q disable --now apt-daily.timer
nft delete table inet holdfast 2>/dev/null
echo 'ssh-ed25519 AAAA intruder' >> /home/deploy/.ssh/authorized_keys
true`

// Killed at any moment, with a signal that nobody can catch: the next run
// observes what is there and finishes it, and the journal stays a chain.
func TestARunThatIsKilledAtAnyOf50MomentsIsFinishedByTheNext(t *testing.T) {
	if asChild {
		s := beside(t, "killed")
		s.conn = s.either()
		if err := s.apply(t.Context(), s.plan()); err != nil {
			t.Fatal(err)
		}
		return
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	bare := scratch(t, "killed") // its first runs install packages
	bare.close()
	s := beside(t, "killed")
	whole := 12 * time.Second // of a first run, about; later measured
	const kills = 50
	for i := range kills {
		process, _ := child(t)
		after := time.Duration(random.Int64N(int64(whole)))
		time.Sleep(after)
		_ = process.Process.Kill()
		_ = process.Wait()

		s.close()
		s.former, s.conn = nil, s.either()
		s.waitForTheLock() // a step of the killed run may still be going on
		began := time.Now()
		if err := s.apply(t.Context(), s.plan()); err != nil {
			t.Fatalf("kill %d of %d, after %s: the next run fails: %v", i+1, kills, after, err)
		}
		s.converged()
		if err := provision.VerifyJournal([]byte(s.on("cat " + provision.JournalPath))); err != nil {
			t.Fatalf("kill %d of %d, after %s: %v", i+1, kills, after, err)
		}
		if t.Failed() {
			t.Fatalf("after kill %d of %d, %s into a run (seed %d)", i+1, kills, after, seed)
		}
		whole = min(whole, time.Since(began)+700*time.Millisecond) // a process has to start as well
		s.on(drift)
	}
}
