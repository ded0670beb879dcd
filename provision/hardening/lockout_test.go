//go:build lab

package hardening_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/lab"
	"holdfast/provision"
	"holdfast/provision/transport"
)

// childVariable marks a run of this test binary as the child of a test: the
// operator's process, which its parent kills. It runs the same subtest.
const childVariable = "HOLDFAST_TEST_CHILD"

var asChild = os.Getenv(childVariable) != ""

// applying is what a child says when it has applied and is about to log in anew.
const applying = "applied, logging in anew"

// child starts this test again as a process of its own.
func child(t testing.TB) (process *exec.Cmd, said io.Reader) {
	t.Helper()
	pattern := "^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$"
	process = exec.CommandContext(t.Context(), os.Args[0], "-test.run", pattern, "-test.timeout", "4m")
	process.Env = append(os.Environ(), childVariable+"=yes")
	said, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	process.Stderr = os.Stderr
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	return process, said
}

// sideBySide brings up bare servers of the audit role, which subtests that run
// in parallel use.
func sideBySide(t *testing.T, names ...string) {
	t.Helper()
	if asChild {
		return
	}
	up, err := lab.Up(t.Context(), lab.Options{Name: testLab, Subnet: testSubnet, Servers: names})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, name := range names {
			if err := up.Discard(context.Background(), name); err != nil {
				t.Error(err)
			}
		}
	})
}

// beside is one of the servers of sideBySide.
func beside(t *testing.T, name string) *server {
	t.Helper()
	now, err := lab.Open(testLab)
	if err != nil {
		t.Fatal(err)
	}
	where, ok := now.Servers[name]
	if !ok {
		t.Fatalf("there is no server %s in the lab", name)
	}
	s := newServer(t, "audit", where)
	s.scratch = true
	return s
}

func about(r provision.Resource) provision.About {
	return reflect.ValueOf(r).FieldByName("About").Interface().(provision.About)
}

// letsIn leaves of what is declared that which decides who gets in, and what
// needs no package: installing takes long, and 20 servers do it at once.
func letsIn(desired []provision.Resource) []provision.Resource {
	heavy := map[string]bool{}
	for _, r := range desired {
		if _, ok := r.(provision.Packages); ok {
			heavy[about(r).Concern] = true
		}
	}
	delete(heavy, "access")
	delete(heavy, "firewall")
	return slices.DeleteFunc(slices.Clone(desired), func(r provision.Resource) bool {
		_, packages := r.(provision.Packages)
		return packages || heavy[about(r).Concern]
	})
}

// change alters the one resource of an ID.
func change[R provision.Resource](t testing.TB, id string, alter func(*R)) func([]provision.Resource) []provision.Resource {
	return func(desired []provision.Resource) []provision.Resource {
		desired = slices.Clone(desired)
		for i, r := range desired {
			if typed, ok := r.(R); ok && r.ID() == id {
				alter(&typed)
				if reflect.DeepEqual(r, provision.Resource(typed)) {
					t.Fatalf("%s is as it was, so this test shows nothing", id)
				}
				desired[i] = typed
				return desired
			}
		}
		t.Fatalf("nothing declared is %s", id)
		return nil
	}
}

const sshdConfig = "file:/etc/ssh/sshd_config.d/00-holdfast.conf"

// A mistake in what is declared, after which nobody gets in.
type mistake struct {
	name  string
	full  bool   // on a server with the complete hardening
	early bool   // a step of the run fails of it, before anybody is kept out
	root  bool   // the run itself is no longer root, and so can't take it back
	names string // what the next plan says was put back
	alter func(t *testing.T) func([]provision.Resource) []provision.Resource
}

// inSSHD is a mistake in sshd's settings: what comes first counts.
func inSSHD(text string) func(*testing.T) func([]provision.Resource) []provision.Resource {
	return func(t *testing.T) func([]provision.Resource) []provision.Resource {
		return change(t, sshdConfig, func(f *provision.File) {
			f.Content, f.Expect = text+"\n"+f.Content, ""
		})
	}
}

var mistakes = []mistake{
	{"firewall", false, false, false, "/etc/holdfast/firewall.nft", func(t *testing.T) func([]provision.Resource) []provision.Resource {
		return change(t, "firewall:inet holdfast", func(r *provision.Ruleset) {
			r.Rules = strings.ReplaceAll(r.Rules, "tcp dport $ssh accept", "tcp dport $ssh drop")
		})
	}},
	{"keysfile", false, false, false, "/etc/ssh/sshd_config.d/00-holdfast.conf", inSSHD("AuthorizedKeysFile /etc/ssh/keys/%u")},
	{"nokeys", false, true, false, "/etc/ssh/sshd_config.d/00-holdfast.conf", inSSHD("PubkeyAuthentication no")},
	{"allowusers", true, false, false, "/etc/ssh/sshd_config.d/00-holdfast.conf", func(t *testing.T) func([]provision.Resource) []provision.Resource {
		return change(t, sshdConfig, func(f *provision.File) {
			f.Content, f.Expect = strings.ReplaceAll(f.Content, "AllowUsers deploy", "AllowUsers depoly"), ""
		})
	}},
	{"port", false, false, false, "/etc/ssh/sshd_config.d/00-holdfast.conf", inSSHD("Port 2222")},
	// sshd -t accepts it.
	{"deadsshd", false, true, false, "/etc/ssh/sshd_config.d/00-holdfast.conf", inSSHD("ListenAddress 192.0.2.7")},
	{"sudo", false, false, true, "/etc/sudoers.d/holdfast", func(t *testing.T) func([]provision.Resource) []provision.Resource {
		return change(t, "file:/etc/sudoers.d/holdfast", func(f *provision.File) {
			f.Content = strings.ReplaceAll(f.Content, "deploy ALL", "depoly ALL")
		})
	}},
	{"otherkey", false, false, false, "/home/deploy/.ssh/authorized_keys", func(t *testing.T) func([]provision.Resource) []provision.Resource {
		return change(t, "user:deploy", func(u *provision.User) {
			u.Keys = []string{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS grace"}
		})
	}},
}

// ways in which a run can end after such a mistake.
var ways = []struct {
	name string
	// atOnce: the run itself takes the mistake back, else the server does.
	atOnce bool
	run    func(*server) error
}{
	{"with the operator's process alive", true, func(s *server) error { return s.apply(s.t.Context(), s.plan()) }},
	{"with the operator's process killed", false, killedBeforeConfirming},
	{"with the network cut", false, cutOffBeforeConfirming},
}

// killedBeforeConfirming has a process of its own apply, and kills it when it is
// about to log in anew.
func killedBeforeConfirming(s *server) error {
	process, said := child(s.t)
	reached := false
	for lines := bufio.NewScanner(said); !reached && lines.Scan(); {
		reached = lines.Text() == applying
	}
	if !reached {
		return fmt.Errorf("the process ended too early: %w", process.Wait())
	}
	if err := process.Process.Kill(); err != nil {
		return err
	}
	_ = process.Wait()
	return errKilled
}

var errKilled = errors.New("killed")

// applyAsChild applies and stops where the parent kills it.
func (s *server) applyAsChild(user string) {
	s.login(user)
	s.interfere = func(context.Context) error {
		fmt.Println(applying)
		select {}
	}
	s.t.Fatalf("it was not killed: %v", s.apply(s.t.Context(), s.plan()))
}

// cutOffBeforeConfirming loses the network, in both directions and without a
// word to either side, when it is about to log in anew.
func cutOffBeforeConfirming(s *server) error {
	s.interfere = func(ctx context.Context) error {
		s.on(`nft -f - <<'END'
			table inet cut {
				chain in { type filter hook prerouting priority -400; iifname != "lo" drop; }
				chain out { type filter hook postrouting priority 400; oifname != "lo" drop; }
			}
END`)
		s.interfere = nil
		return s.Reconnect(ctx)
	}
	return s.apply(s.t.Context(), s.plan())
}

// state is what decides who gets in: settings in force, and accounts.
func (s *server) state() string {
	return s.on(`sshd -T | grep -v -e '^$'; ss -Hltn | awk '{ print $4 }' | sort; nft -s -t list table inet holdfast 2>&1
		sha256sum /etc/passwd /etc/shadow /etc/group /etc/gshadow /etc/sudoers.d/* /etc/pam.d/* /etc/holdfast/* /home/*/.ssh/authorized_keys 2>&1
		for u in ssh.service ssh.socket nftables.service holdfast-firewall.service fail2ban.service; do
			echo "$u $(systemctl is-enabled $u 2>&1) $(systemctl is-active $u 2>&1)"; done`)
}

// awaitRevert waits for the server to put the old settings back, and returns
// how long that took.
func (s *server) awaitRevert() time.Duration {
	s.t.Helper()
	began := time.Now()
	for strings.Contains(s.on("ls /var/lib/holdfast/guard"), "armed") {
		if time.Since(began) > 75*time.Second {
			s.t.Fatalf("the guard has not acted: %s", s.on("systemctl status holdfast-guard.timer holdfast-guard.service; journalctl -n 20 -u holdfast-guard.service"))
		}
		time.Sleep(time.Second)
	}
	return time.Since(began)
}

// reachable logs in anew, as the one who got in before, and has root.
func (s *server) reachable(user string) {
	s.t.Helper()
	s.close()
	s.conn, s.former = nil, nil
	conn, err := s.dial(s.t.Context(), user)
	if err != nil {
		s.t.Fatalf("%s is locked out: %v", user, err)
	}
	s.conn = conn
	if err := s.conn.Run(s.t.Context(), transport.Command{Script: `[ "$(id -u)" = 0 ]`, Sudo: true}); err != nil {
		s.t.Fatalf("%s can't become root: %v", user, err)
	}
}

// says reports whether a plan's notes tell that what was put back, and when.
func says(plan provision.Plan, what string) error {
	for _, note := range plan.Notes {
		words := strings.Fields(note)
		if !strings.Contains(note, "the server put ") {
			continue
		}
		at, err := time.Parse(time.RFC3339, words[1])
		if err != nil || time.Since(at).Abs() > 2*time.Minute {
			return fmt.Errorf("the note %q does not say when", note)
		}
		if !strings.Contains(note, what) {
			return fmt.Errorf("the note %q does not name %s", note, what)
		}
		return nil
	}
	return fmt.Errorf("the notes %q do not tell of a revert", plan.Notes)
}

// Whatever the mistake and however the run ends: the server is reachable as
// before, after a minute at most, and the next plan tells of it.
func TestSettingsThatKeepTheOperatorOutAreTakenBack(t *testing.T) {
	t.Parallel()
	var names []string
	for _, m := range mistakes {
		names = append(names, m.name)
	}
	sideBySide(t, names...)
	for _, m := range mistakes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			s := beside(t, m.name)
			plain := letsIn
			if m.full {
				plain = slices.Clone[[]provision.Resource]
			}
			mistaken := m.alter(t)
			wrong := func(desired []provision.Resource) []provision.Resource { return mistaken(plain(desired)) }
			if asChild {
				s.alter = wrong
				s.applyAsChild("deploy")
				return
			}
			s.alter = plain
			s.login("root")
			s.converge()
			for _, way := range ways {
				before := s.state()
				s.reachable("deploy")
				s.alter = wrong
				if m.name == "port" {
					s.interfere = func(ctx context.Context) error { // where sshd is now
						s.port, s.interfere = 2222, nil
						return s.Reconnect(ctx)
					}
				}
				err := way.run(s)
				s.alter, s.port, s.interfere = plain, 0, nil
				var lockOut *provision.LockOutError
				var failed *provision.StepError
				atOnce := way.atOnce && !m.root
				switch {
				case m.early && (!errors.As(err, &failed) || !failed.Reverted):
					t.Fatalf("%s: got %v, want a step that fails and is taken back", way.name, err)
				case m.early:
				case atOnce && (!errors.As(err, &lockOut) || !lockOut.Reverted):
					t.Fatalf("%s: got %v, want a lock-out that was taken back", way.name, err)
				case !atOnce && !errors.Is(err, errKilled) && (!errors.As(err, &lockOut) || lockOut.Reverted):
					t.Fatalf("%s: got %v, want a lock-out that the server takes back", way.name, err)
				case !atOnce:
					if timer := s.on("systemctl show --property=TimersMonotonic,TimersCalendar holdfast-guard.timer"); !strings.Contains(timer, "OnActiveUSec=1min") || strings.Contains(timer, "OnCalendar") {
						t.Errorf("%s: the timer goes by a clock that can be set: %s", way.name, timer)
					}
					if err == errKilled && s.state() == before {
						t.Errorf("%s: nothing had changed, so this shows nothing", way.name)
					}
					t.Logf("%s: the guard acted after %s more", way.name, s.awaitRevert().Round(time.Second))
					s.on("nft delete table inet cut 2>/dev/null || true")
				}
				if after := s.state(); after != before {
					t.Errorf("%s: it was\n%s\nand is\n%s", way.name, before, after)
				}
				s.reachable("deploy")
				plan := s.plan()
				if err := says(plan, m.names); err != nil && m.name != "nokeys" { // which sshd -t refuses: nothing was changed
					t.Errorf("%s: %v", way.name, err)
				}
				for _, c := range plan.Changes {
					t.Errorf("%s: there is something left to change: %s: %s\n%s", way.name, c.ID, c.Summary, c.Diff)
				}
				if m.early {
					break // no other way gets as far
				}
			}
		})
	}
}
