//go:build lab

package hardening_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"

	"holdfast/internal/environment"
	"holdfast/provision"
	"holdfast/provision/hardening"
	"holdfast/provision/transport"
)

func TestABareServerConvergesAndTheSecondPlanIsEmpty(t *testing.T) {
	for _, role := range []string{"production", "audit"} {
		t.Run(role, func(t *testing.T) {
			s := bare(t, role)
			s.converge()
			if role == "production" {
				// Docker sets sysctls and rules of its own when it starts.
				s.on("systemctl restart docker")
				s.converged()
			}
			if out := s.on("systemctl list-units --failed --plain --no-legend"); strings.TrimSpace(out) != "" {
				t.Errorf("units have failed: %s", out)
			}
			if err := provision.VerifyJournal([]byte(s.on("cat " + provision.JournalPath))); err != nil {
				t.Error(err)
			}
			if _, err := s.dial(t.Context(), "root"); !errors.Is(err, transport.ErrAuth) {
				t.Errorf("root can still log in: %v", err)
			}
			if out := s.on("ls /run/holdfast.* /var/lib/holdfast/pending /etc/*/.*.holdfast 2>/dev/null || true"); out != "" {
				t.Errorf("something was left behind: %s", out)
			}
		})
	}
}

func TestDriftIsFoundAndMended(t *testing.T) {
	s := hardened(t, "audit")
	for _, d := range []struct{ break_, id string }{
		{"echo 'PermitRootLogin yes' > /etc/ssh/sshd_config.d/00-holdfast.conf", "file:/etc/ssh/sshd_config.d/00-holdfast.conf"},
		{"chmod 400 /etc/sudoers.d/holdfast", "file:/etc/sudoers.d/holdfast"},
		{"rm /etc/modprobe.d/holdfast.conf", "file:/etc/modprobe.d/holdfast.conf"},
		{"mv /etc/modprobe.d/holdfast.conf /root/m && ln -s /root/m /etc/modprobe.d/holdfast.conf", "file:/etc/modprobe.d/holdfast.conf"},
		{"nft insert rule inet holdfast input tcp dport 8080 accept", "firewall:inet holdfast"},
		{"nft delete table inet holdfast", "firewall:inet holdfast"},
		{"systemctl disable holdfast-firewall.service", "unit:holdfast-firewall.service"},
		{"echo 1 > /proc/sys/net/ipv4/conf/all/accept_redirects", "sysctl:/etc/sysctl.d/zz-holdfast.conf"},
		{"echo ssh-ed25519 AAAA intruder >> ~deploy/.ssh/authorized_keys", "user:deploy"},
		{"usermod -aG adm deploy", "user:deploy"},
		{"usermod --password '$y$j9T$guess' root", "user:root"},
		{"apt-get -qq remove unattended-upgrades >/dev/null 2>&1", "packages:updates"},
		{"systemctl stop apt-daily.timer", "unit:apt-daily.timer"},
	} {
		s.on(d.break_)
		plan := s.plan()
		var found []string
		for _, c := range plan.Changes {
			found = append(found, c.ID)
		}
		if !strings.Contains(strings.Join(found, " "), d.id) {
			t.Errorf("after %q the plan has %v and not %s", d.break_, found, d.id)
		}
		if err := s.apply(t.Context(), plan); err != nil {
			t.Fatalf("after %q: %v", d.break_, err)
		}
		s.converged()
	}
}

func TestSettingsThatLetNobodyInAreTakenBackAtOnce(t *testing.T) {
	s := hardened(t, "audit")
	before := s.on("cat /etc/holdfast/firewall.nft; nft list table inet holdfast | grep -c saddr")
	s.cfg.Access.SSHFrom = []string{"192.0.2.0/24"} // not where we are
	err := s.apply(t.Context(), s.plan())
	var lockOut *provision.LockOutError
	if !errors.As(err, &lockOut) || !lockOut.Reverted {
		t.Fatalf("got %v, want a lock-out that was taken back", err)
	}
	s.cfg.Access.SSHFrom = []string{testSubnet}
	s.login("deploy") // anew
	if after := s.on("cat /etc/holdfast/firewall.nft; nft list table inet holdfast | grep -c saddr"); after != before {
		t.Errorf("the rules were\n%s\nand are\n%s", before, after)
	}
	s.converged()
	if plan := s.plan(); len(plan.Notes) == 0 || !strings.Contains(plan.Notes[0], "/etc/holdfast/firewall.nft") {
		t.Errorf("the plan does not tell of it: %q", plan.Notes)
	}
}

func TestAFirstRunThatLetsNobodyInLeavesTheServerAsItWas(t *testing.T) {
	s := scratch(t, "firstlockout")
	s.cfg.Access.SSHFrom = []string{"192.0.2.0/24"}
	var lockOut *provision.LockOutError
	if err := s.apply(t.Context(), s.plan()); !errors.As(err, &lockOut) || !lockOut.Reverted {
		t.Fatalf("got %v, want a lock-out that was taken back", err)
	}
	s.login("root") // anew, as before the first run
	if out := s.on("nft list tables; ls /etc/ssh/sshd_config.d /etc/sudoers.d /etc/holdfast | grep holdfast.conf || true"); strings.Contains(out, "holdfast") {
		t.Errorf("something of it is left: %s", out)
	}
	s.cfg.Access.SSHFrom = []string{testSubnet}
	s.converge()
}

func TestTheServerHealsItselfWhenTheControllerDies(t *testing.T) {
	s := hardened(t, "audit")
	s.cfg.Access.SSHFrom = []string{"192.0.2.0/24"}
	ctx, die := context.WithCancel(t.Context())
	s.interfere = func(context.Context) error {
		s.close() // no way to tell the server anything
		die()
		return context.Canceled
	}
	if err := s.apply(ctx, s.plan()); err == nil {
		t.Fatal("it claims to be done")
	}
	if _, err := s.dial(t.Context(), "deploy"); err == nil {
		t.Fatal("the new rules are not in force, so this test shows nothing")
	}
	s.interfere, s.cfg.Access.SSHFrom, s.conn, s.former = nil, []string{testSubnet}, nil, nil
	began := time.Now()
	for {
		conn, err := s.dial(t.Context(), "deploy")
		if err == nil {
			s.conn = conn
			break
		}
		if time.Since(began) > 75*time.Second {
			t.Fatalf("still locked out: %v", err)
		}
		time.Sleep(time.Second)
	}
	t.Logf("let in again after %s", time.Since(began).Round(time.Second))
	s.converged()
}

func TestAnUnconfirmedGuardIsConfirmedByTheNextRun(t *testing.T) {
	s := hardened(t, "audit")
	s.on("echo '# touched' >> /etc/ssh/sshd_config.d/00-holdfast.conf")
	ctx, die := context.WithCancel(t.Context())
	s.interfere = func(context.Context) error {
		s.close()
		die()
		return context.Canceled
	}
	if err := s.apply(ctx, s.plan()); err == nil {
		t.Fatal("it claims to be done")
	}
	s.interfere, s.conn, s.former = nil, nil, nil
	s.login("deploy")
	plan := s.plan()
	if len(plan.Changes) != 1 || plan.Changes[0].ID != "unfinished" {
		t.Fatalf("the plan is %+v", plan.Changes)
	}
	if err := s.apply(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	if out := s.on("systemctl is-active holdfast-guard.timer || true; ls /var/lib/holdfast/guard"); strings.Contains(out, "armed") || strings.HasPrefix(out, "active") {
		t.Errorf("the guard is still armed: %s", out)
	}
	s.converged()
}

func TestAfterARebootTheFirewallIsUpAndUnconfirmedSettingsAreGone(t *testing.T) {
	s := hardened(t, "audit")
	before := s.on("nft -s -t list table inet holdfast")
	s.cfg.Access.SSHFrom = []string{"192.0.2.0/24"}
	ctx, die := context.WithCancel(t.Context())
	s.interfere = func(context.Context) error {
		s.close()
		die()
		return context.Canceled
	}
	if err := s.apply(ctx, s.plan()); err == nil {
		t.Fatal("it claims to be done")
	}
	if out, err := exec.Command("docker", "restart", s.where.Container).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.interfere, s.cfg.Access.SSHFrom, s.conn, s.former = nil, []string{testSubnet}, nil, nil
	deadline := time.Now().Add(40 * time.Second) // sooner than the timer would have been
	for {
		conn, err := s.dial(t.Context(), "deploy")
		if err == nil {
			s.conn = conn
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("still locked out: %v", err)
		}
		time.Sleep(300 * time.Millisecond)
	}
	if after := s.on("systemctl is-system-running --wait >/dev/null; nft -s -t list table inet holdfast"); after != before {
		t.Errorf("the rules were\n%s\nand are\n%s", before, after)
	}
	s.converged()
	if out := s.on("systemctl list-units --failed --plain --no-legend"); strings.TrimSpace(out) != "" {
		t.Errorf("units have failed: %s", out)
	}
}

// cut is a connection that dies after some bytes of output.
type cut struct {
	*server
	after int
}

func (c *cut) Run(ctx context.Context, script string, stdin io.Reader, stdout, stderr io.Writer) error {
	return c.server.Run(ctx, script, stdin, &cutWriter{c, stdout}, stderr)
}

type cutWriter struct {
	c   *cut
	out io.Writer
}

func (w *cutWriter) Write(p []byte) (int, error) {
	if w.c.after -= len(p); w.c.after < 0 {
		go w.c.server.close()
		return len(p), nil
	}
	return w.out.Write(p)
}

// either logs in as the deploy user or, before that one exists, as root. The
// step that was cut off goes on for a moment, and when it reloads sshd the port
// is closed while sshd starts itself anew.
func (s *server) either() *transport.Conn {
	s.t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for {
		conn, err := s.dial(s.t.Context(), "deploy")
		if errors.Is(err, transport.ErrAuth) {
			conn, err = s.dial(s.t.Context(), "root")
		}
		if err == nil {
			return conn
		}
		if !errors.Is(err, transport.ErrUnreachable) || time.Now().After(deadline) {
			s.t.Fatalf("nobody gets in: %v", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func TestARunThatIsCutOffAnywhereIsFinishedByTheNext(t *testing.T) {
	s := scratch(t, "cut")
	random := rand.New(rand.NewPCG(7, 7))
	for try := 0; ; try++ {
		plan := s.plan()
		if len(plan.Changes) == 0 {
			t.Logf("converged in %d runs", try)
			return
		}
		c := &cut{s, random.IntN(900)}
		if try > 12 {
			c.after = 1 << 20
		}
		ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
		err := provision.Apply(ctx, c, plan, func(e provision.Event) {})
		stop()
		t.Logf("run %d, %d changes: %v", try, len(plan.Changes), err)
		s.close()
		s.conn, s.former = nil, nil
		s.conn = s.either()
		s.waitForTheLock() // a step of the one before may still be going on
	}
}

// waitForTheLock takes the server's lock, as each run does, and lets go of it.
func (s *server) waitForTheLock() {
	s.t.Helper()
	held, err := s.conn.Hold(s.t.Context(), transport.Command{Script: provision.LockScript("test") + "cat >/dev/null", Sudo: true})
	if err != nil {
		s.t.Fatal(provision.LockError(err))
	}
	held.Release()
}

func TestOnlyOneRunHoldsTheServer(t *testing.T) {
	s := scratch(t, "lock")
	lock := transport.Command{Script: provision.LockScript("ada@laptop (process 7)") + "cat >/dev/null", Sudo: true}
	held, err := s.conn.Hold(t.Context(), lock)
	if err != nil {
		t.Fatal(provision.LockError(err))
	}
	lock.Script = provision.LockScript("grace@desk (process 8)") + "cat >/dev/null"
	_, err = s.conn.Hold(t.Context(), lock)
	var locked *provision.LockedError
	if !errors.As(provision.LockError(err), &locked) || locked.Holder != "ada@laptop (process 7)" || locked.Since == "" {
		t.Errorf("got %v, want to hear of ada", provision.LockError(err))
	}
	s.close() // dying frees it
	_ = held
	s.conn, s.former = nil, nil
	s.login("root")
	deadline := time.Now().Add(5 * time.Second)
	for {
		held, err = s.conn.Hold(t.Context(), lock)
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the lock of a dead run is not free: %v", provision.LockError(err))
		}
		time.Sleep(100 * time.Millisecond)
	}
	held.Release()
}

func TestAHeldPackageLockIsWaitedForAndNamed(t *testing.T) {
	s := scratch(t, "apt")
	s.on(`cat > /root/hold.py <<'E'
import fcntl, os, time
f = open("/var/lib/dpkg/lock-frontend", "w"); fcntl.lockf(f, fcntl.LOCK_EX)
while not os.path.exists("/root/waited-for"): time.sleep(0.1)
time.sleep(3)
E
systemd-run --quiet python3 /root/hold.py; sleep 0.5`)
	plan := s.plan()
	var said strings.Builder
	err := provision.Apply(t.Context(), s, plan, func(e provision.Event) {
		said.WriteString(e.String() + "\n")
		if strings.Contains(e.String(), "(python3)") {
			s.on("touch /root/waited-for")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said.String(), "(python3)") || !strings.Contains(said.String(), "s left") {
		t.Errorf("it did not say who holds the lock:\n%s", said.String())
	}
}

func TestAFileThatItsProgramRefusesLeavesTheOldOneInForce(t *testing.T) {
	s := hardened(t, "audit")
	const look = "cat /etc/ssh/sshd_config.d/00-holdfast.conf; ls -A /etc/ssh/sshd_config.d"
	before := s.on(look)
	facts := provision.Facts{}
	resource := provision.File{
		About: provision.About{Concern: "ssh", Guarded: true}, Path: "/etc/ssh/sshd_config.d/00-holdfast.conf",
		Content: "Nonsense yes\n", Check: "sshd -t -f %s", Actions: []string{"reload ssh.service"},
	}
	err := s.apply(t.Context(), provision.Diff([]provision.Resource{resource}, facts))
	var failed *provision.StepError
	if !errors.As(err, &failed) || !failed.Reverted || failed.Code != 255 {
		t.Fatalf("got %v", err)
	}
	for _, text := range []string{`"sshd -t -f /etc/ssh/sshd_config.d/.00-holdfast.conf.holdfast" exited 255`, "Nonsense", "old settings are still in force"} {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not say %q", err, text)
		}
	}
	if after := s.on(look); after != before {
		t.Errorf("it left %q", after)
	}
	s.login("deploy")
}

func TestNftAcceptsTheRulesOfAnyConfiguration(t *testing.T) {
	s := hardened(t, "production")
	for _, role := range []string{"production", "audit"} {
		for _, from := range [][]string{nil, {"198.51.100.7/24"}, {"2001:db8::1/32"}, {"198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"}} {
			cfg := environment.Config{Access: environment.Access{User: "deploy", SSHFrom: from}}
			for _, r := range hardening.Desired(role, cfg, nil) {
				rules, ok := r.(provision.Ruleset)
				if !ok {
					continue
				}
				check := exec.Command("docker", "exec", "-i", s.where.Container, "nft", "-c", "-f", "-")
				check.Stdin = strings.NewReader("define ssh = { 22, 2222 }\n" + rules.Rules)
				if out, err := check.CombinedOutput(); err != nil {
					t.Errorf("%s from %v: %v: %s", role, from, err, out)
				}
			}
		}
	}
}

func TestPublishedPortsAreFilteredAndLoopbackIsNot(t *testing.T) {
	s := hardened(t, "production")
	s.on(`command -v python3 >/dev/null
cat > /root/serve.py <<'E'
import socket, threading, sys
def serve(host, port):
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind((host, port)); s.listen()
    while True:
        c, _ = s.accept(); c.sendall(b"hello"); c.close()
for a in ("0.0.0.0", 80), ("0.0.0.0", 8080), ("127.0.0.1", 5432):
    threading.Thread(target=serve, args=a).start()
E
systemctl is-active --quiet serve || systemd-run --quiet --unit=serve python3 /root/serve.py; sleep 0.5`)
	reach := func(port string) string {
		out, _ := exec.Command("timeout", "2", "bash", "-c", "cat </dev/tcp/"+s.where.Address+"/"+port).Output()
		return string(out)
	}
	if reach("80") != "hello" {
		t.Error("the web port does not answer")
	}
	if reach("8080") != "" {
		t.Error("an undeclared port answers")
	}
	conn, err := s.conn.DialContext(t.Context(), "tcp", "127.0.0.1:5432")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var hello bytes.Buffer
	if _, err := io.Copy(&hello, conn); err != nil || hello.String() != "hello" {
		t.Errorf("the database's port on loopback said %q, %v", hello.String(), err)
	}
	if _, err := s.conn.DialContext(t.Context(), "tcp", "127.0.0.1:2375"); err == nil {
		t.Error("sshd forwards to a port that is not declared")
	}
}
