//go:build lab

package hardening_test

import (
	"context"
	"errors"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/provision"
)

// guarded are the cases of the guard itself, each on a server of its own on
// which letsIn is in force.
var guarded = map[string]func(*server){
	"firstcontact": firstContact,
	"twoguards":    twoGuards,
	"slowstep":     slowStep,
	"nosystemdrun": noSystemdRun,
	"newport":      newPort,
	"otherway":     otherWay,
}

func TestTheGuard(t *testing.T) {
	t.Parallel()
	names := slices.Sorted(maps.Keys(guarded))
	sideBySide(t, names...)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := beside(t, name)
			s.alter = letsIn
			if name != "firstcontact" && !asChild {
				s.login("root")
				s.converge()
				s.reachable("deploy")
			}
			guarded[name](s)
		})
	}
}

// with is letsIn after which a further change is made.
func with(further func([]provision.Resource) []provision.Resource) func([]provision.Resource) []provision.Resource {
	return func(desired []provision.Resource) []provision.Resource { return further(letsIn(desired)) }
}

// wrongUser lets nobody in.
func wrongUser(s *server) func([]provision.Resource) []provision.Resource {
	return with(change(s.t, sshdConfig, func(f *provision.File) {
		f.Content, f.Expect = strings.ReplaceAll(f.Content, "AllowUsers deploy", "AllowUsers depoly"), ""
	}))
}

// A new server, on which only root gets in: root does so afterwards, with the
// password and the key from before, and the deploy user is gone.
func firstContact(s *server) {
	s.alter = with(change(s.t, "user:deploy", func(u *provision.User) {
		u.Keys = []string{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS grace"}
	}))
	if asChild {
		s.applyAsChild("root")
		return
	}
	s.on("usermod -p '$6$provider' root")
	for _, way := range ways {
		before := s.state()
		s.reachable("root")
		err := way.run(s)
		s.interfere = nil
		var lockOut *provision.LockOutError
		if way.atOnce && (!errors.As(err, &lockOut) || !lockOut.Reverted) {
			s.t.Fatalf("%s: got %v, want a lock-out that was taken back", way.name, err)
		}
		if !way.atOnce {
			if _, err := s.dial(s.t.Context(), "root"); err == nil {
				s.t.Errorf("%s: root still gets in, so this shows nothing", way.name)
			}
			s.awaitRevert()
			s.on("nft delete table inet cut 2>/dev/null || true")
		}
		s.reachable("root")
		if after := s.state(); after != before {
			s.t.Errorf("%s: it was\n%s\nand is\n%s", way.name, before, after)
		}
		if out := s.on("getent passwd deploy || true; getent shadow root | cut -d : -f 2"); out != "$6$provider\n" {
			s.t.Errorf("%s: the accounts are %q", way.name, out)
		}
		if err := says(s.plan(), "/etc/passwd"); err != nil {
			s.t.Errorf("%s: %v", way.name, err)
		}
	}
	s.alter = letsIn
	s.converge()
}

// A guard that is armed while one is armed goes back to the last state that was
// confirmed.
func twoGuards(s *server) {
	if asChild {
		s.applyAsChild("deploy")
		return
	}
	s.on("echo '# mine' >>/etc/ssh/sshd_config.d/00-holdfast.conf")
	before := s.on("sha256sum /etc/ssh/sshd_config.d/*")
	if err := killedBeforeConfirming(s); !errors.Is(err, errKilled) {
		s.t.Fatal(err)
	}
	s.reachable("deploy")
	if s.on("sha256sum /etc/ssh/sshd_config.d/*") == before {
		s.t.Fatal("the first run has changed nothing")
	}
	s.alter = wrongUser(s)
	err := s.apply(s.t.Context(), s.plan())
	s.alter = letsIn
	var lockOut *provision.LockOutError
	if !errors.As(err, &lockOut) || !lockOut.Reverted {
		s.t.Fatalf("got %v, want a lock-out that was taken back", err)
	}
	if after := s.on("sha256sum /etc/ssh/sshd_config.d/*"); after != before {
		s.t.Errorf("it was\n%s\nand is\n%s", before, after)
	}
	if out := s.on("systemctl is-active holdfast-guard.timer || true"); out != "inactive\n" {
		s.t.Errorf("the timer is still %s", out)
	}
	s.reachable("deploy")
	s.converge()
}

// A step that is still going on when the guard acts must not have its way
// afterwards: nobody would take it back.
func slowStep(s *server) {
	const path = "/etc/holdfast/slow.conf"
	s.alter = func(desired []provision.Resource) []provision.Resource {
		return append(letsIn(desired), provision.File{
			About: provision.About{Concern: "test", Why: "it takes long", Guarded: true},
			Path:  path, Content: "late\n", Check: "sleep 85; test -s %s",
		})
	}
	err := s.apply(s.t.Context(), s.plan())
	var failed *provision.StepError
	if !errors.As(err, &failed) || !strings.Contains(failed.Output, "put the old settings back in the meantime") {
		s.t.Errorf("got %v", err)
	}
	s.alter = letsIn
	if out := s.on("ls -A /etc/holdfast"); strings.Contains(out, "slow") {
		s.t.Errorf("the file is there all the same: %s", out)
	}
	s.reachable("deploy")
	s.converged()
}

// Where nothing could take the settings back, nothing is changed.
func noSystemdRun(s *server) {
	s.on("mv /usr/bin/systemd-run /usr/bin/systemd-run.away; echo '# mine' | tee -a /etc/ssh/sshd_config.d/00-holdfast.conf >/etc/modprobe.d/holdfast.conf")
	before := s.state() + s.on("cat /etc/modprobe.d/holdfast.conf /etc/ssh/sshd_config.d/00-holdfast.conf")
	err := s.apply(s.t.Context(), s.plan())
	var failed *provision.StepError
	if !errors.As(err, &failed) || !strings.Contains(failed.Output, "systemd-run does not work here") {
		s.t.Errorf("got %v", err)
	}
	if after := s.state() + s.on("cat /etc/modprobe.d/holdfast.conf /etc/ssh/sshd_config.d/00-holdfast.conf"); after != before {
		s.t.Errorf("it was\n%s\nand is\n%s", before, after)
	}
	s.on("mv /usr/bin/systemd-run.away /usr/bin/systemd-run")
	s.converge()
}

// sshd moves to the declared port, and the operator with it. A restart of sshd
// in that very moment, as by an upgrade, is waited for.
func newPort(s *server) {
	s.cfg.Access.Port = 2222
	s.interfere = func(ctx context.Context) error {
		s.on("systemctl stop ssh && systemd-run --quiet --on-active=3s --timer-property=AccuracySec=100ms systemctl start ssh")
		s.port, s.interfere = 2222, nil
		return s.Reconnect(ctx)
	}
	if err := s.apply(s.t.Context(), s.plan()); err != nil {
		s.t.Fatal(err)
	}
	s.reachable("deploy")
	s.converged()
	s.port = 22
	if _, err := s.dial(s.t.Context(), "deploy"); err == nil {
		s.t.Error("the old port still answers")
	}
}

// Strict rp_filter drops what comes in on another way than answers take.
func otherWay(s *server) {
	gateway := pair.Gateway
	s.on(`sysctl -qw net.ipv4.conf.eth0.rp_filter=0 net.ipv4.conf.all.rp_filter=0
		ip link add other type veth peer name further && ip link set other up && ip link set further up && ip route add ` + gateway + `/32 dev other
		ip route add default dev eth0 table 100 && ip rule add fwmark 1 lookup 100
		nft -f - <<'END'
			table ip marks {
				chain out {
					type route hook output priority mangle
					ip daddr ` + gateway + ` meta mark set 1
				}
			}
END`)
	s.reachable("deploy")
	err := s.apply(s.t.Context(), s.plan())
	var lockOut *provision.LockOutError
	if !errors.As(err, &lockOut) {
		s.t.Fatalf("got %v, want a lock-out", err)
	}
	if !lockOut.Reverted {
		s.awaitRevert()
	}
	s.reachable("deploy")
	if now := s.on("sysctl -n net.ipv4.conf.all.rp_filter"); now != "0\n" {
		s.t.Errorf("rp_filter is %s", now)
	}
	if err := says(s.plan(), "net/ipv4/conf/all/rp_filter"); err != nil {
		s.t.Error(err)
	}
}

// Docker's rules are none of the guard's: published ports stay as filtered and
// as reachable as they were, while the mistake is in force and afterwards.
func TestARevertLeavesContainersAlone(t *testing.T) {
	s := hardened(t, "production")
	s.on(`systemctl stop serve 2>/dev/null || true
tar --create --files-from /dev/null | docker import - empty >/dev/null
cat >/root/answer.py <<'E'
import socket
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("0.0.0.0", 8000)); s.listen()
while True:
    c, _ = s.accept(); c.sendall(b"hello"); c.close()
E
docker run --detach --name answer --publish 0.0.0.0:80:8000 --publish 0.0.0.0:8080:8000 --volume /root/answer.py:/answer.py:ro \
	--volume /usr:/usr:ro --volume /usr/lib:/lib:ro --volume /usr/lib64:/lib64:ro empty /usr/bin/python3 /answer.py >/dev/null
sleep 1`)
	defer s.on("docker rm --force answer >/dev/null")
	reach := func(port string) string {
		out, _ := exec.Command("timeout", "2", "bash", "-c", "cat </dev/tcp/"+s.where.Address+"/"+port).Output()
		return string(out)
	}
	look := func() string {
		return "80 says " + reach("80") + ", 8080 says " + reach("8080") + "\n" +
			s.on("iptables-save | grep -v -e '^#' -e '^:' | sort; docker inspect --format '{{.State.Pid}}' answer")
	}
	before := look()
	if !strings.HasPrefix(before, "80 says hello, 8080 says \n") || !strings.Contains(before, "DNAT") {
		t.Fatalf("it begins with\n%s", before)
	}
	s.alter = change(t, "firewall:inet holdfast", func(r *provision.Ruleset) {
		r.Rules = strings.ReplaceAll(r.Rules, "tcp dport $ssh accept", "tcp dport $ssh drop")
	})
	s.interfere = func(ctx context.Context) error {
		if during := look(); during != before {
			t.Errorf("while nobody gets in it is\n%s\nand was\n%s", during, before)
		}
		s.interfere = nil
		short, stop := context.WithTimeout(ctx, 5*time.Second)
		defer stop()
		return s.Reconnect(short)
	}
	err := s.apply(t.Context(), s.plan())
	s.alter, s.interfere = nil, nil
	var lockOut *provision.LockOutError
	if !errors.As(err, &lockOut) || !lockOut.Reverted {
		t.Fatalf("got %v, want a lock-out that was taken back", err)
	}
	if after := look(); after != before {
		t.Errorf("it was\n%s\nand is\n%s", before, after)
	}
	s.reachable("deploy")
	s.converged()
}
