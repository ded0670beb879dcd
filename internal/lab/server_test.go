//go:build lab

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// The lab of this test. Its subnet is one for benchmarks (RFC 2544): the other
// networks kept free for documentation are where some build machines have
// their mirrors.
const (
	testName    = "holdfast-test"
	testSubnet  = "198.18.113.0/24"
	testPrivate = "198.18.213.0/24"
)

// TestLab goes through the life of one lab. The parts depend on their order.
func TestLab(t *testing.T) {
	ctx := t.Context()
	opts := Options{Name: testName, Subnet: testSubnet, Private: testPrivate, IPv6: true, Dir: "/nowhere", Progress: func(s string) { t.Log(s) }}
	if err := Engine(ctx); err != nil {
		t.Fatal(err)
	}
	if err := Down(ctx, testName); err != nil { // of a run that was killed
		t.Fatal(err)
	}
	// With a context of its own: the test's has ended by then.
	t.Cleanup(func() {
		if err := Down(context.Background(), testName); err != nil {
			t.Error(err)
		}
	})
	before := kernelSettings(t)

	var l *Lab
	step(t, "two servers boot, twice asked for at once", func(t *testing.T) {
		var labs [2]*Lab
		var errs [2]error
		var both sync.WaitGroup
		for i := range labs {
			both.Go(func() { labs[i], errs[i] = Up(ctx, opts) })
		}
		both.Wait()
		if err := errors.Join(errs[:]...); err != nil {
			t.Fatal(err)
		}
		l = labs[0]
		for role, s := range l.Servers {
			if s != labs[1].Servers[role] {
				t.Errorf("the two callers got different servers for %s: %+v and %+v", role, s, labs[1].Servers[role])
			}
		}
		if l.Servers[Production].Address != "198.18.113.10" || l.Servers[Audit].Address != "198.18.113.20" {
			t.Errorf("servers: %+v", l.Servers)
		}
	})

	step(t, "root logs in with the lab's key at the pinned host key, and systemd runs without a failed unit", func(t *testing.T) {
		for role := range l.Servers {
			got := run(t, l, role, `hostname; systemctl is-system-running; systemctl --failed --no-legend; cat /proc/sys/kernel/hostname`)
			if want := role + "\nrunning\n" + role + "\n"; got != want {
				t.Errorf("%s: got %q, want %q", role, got, want)
			}
		}
		if a, b := l.Servers[Production].HostKeyFingerprint, l.Servers[Audit].HostKeyFingerprint; a == b {
			t.Errorf("both servers have the host key %s", a)
		}
		if a, b := run(t, l, Production, "cat /etc/machine-id"), run(t, l, Audit, "cat /etc/machine-id"); a == b || len(a) != 33 {
			t.Errorf("machine ids %q and %q", a, b)
		}
	})

	step(t, "the servers are bare", func(t *testing.T) {
		if got := run(t, l, Production, `nft list ruleset; command -v docker dockerd chronyd fail2ban-server || true; ls /etc/sysctl.d /etc/ssh/sshd_config.d`); strings.Contains(got, "table") || strings.Contains(got, "/bin/") {
			t.Errorf("found %q", got)
		}
	})

	step(t, "kernel settings are the server's own, and the machine's do not move", func(t *testing.T) {
		got := run(t, l, Production, `
sysctl -q -w kernel.sysrq=0 kernel.kptr_restrict=2 vm.swappiness=7 fs.suid_dumpable=0 user.max_user_namespaces=11 kernel.yama.ptrace_scope=2
sysctl -n kernel.sysrq kernel.kptr_restrict vm.swappiness fs.suid_dumpable user.max_user_namespaces kernel.yama.ptrace_scope
sysctl -q -w net.ipv4.conf.all.log_martians=1
printf 'vm.swappiness = 100\n' >/etc/sysctl.d/90-test.conf; systemctl restart systemd-sysctl
printf 'vm.swappiness = 1\n' >/etc/sysctl.d/90-test.conf; systemctl restart systemd-sysctl
cat /proc/sys/vm/swappiness; rm /etc/sysctl.d/90-test.conf
test "$(cat /proc/sys/kernel/random/uuid)" != "$(cat /proc/sys/kernel/random/uuid)" && echo fresh`)
		if want := "0\n2\n7\n0\n11\n2\n1\nfresh\n"; got != want {
			t.Errorf("read back %q, want %q", got, want)
		}
		if other := run(t, l, Audit, "sysctl -n user.max_user_namespaces"); other == "11\n" {
			t.Error("the other server has the setting too")
		}
		compareSettings(t, before, kernelSettings(t))
	})

	step(t, "a firewall that flushes every rule leaves names and packages in reach", func(t *testing.T) {
		run(t, l, Production, `nft flush ruleset; getent ahostsv4 deb.debian.org >/dev/null; apt-get update -q; apt-get install -y -q bc; echo 6*7 | bc`)
		if got := run(t, l, Production, "apt-cache policy"); !strings.Contains(got, "trixie-security") || !strings.Contains(got, "trixie-updates") {
			t.Errorf("package sources:\n%s", got)
		}
	})

	step(t, "a Docker engine inside stores in overlay2 and runs a container", func(t *testing.T) {
		got := run(t, l, Production, `apt-get install -y -q --no-install-recommends docker.io docker-cli >/dev/null 2>&1
docker info --format '{{.Driver}} {{.CgroupVersion}}'
mkdir /tmp/image && cp -L --parents /usr/bin/true /lib64/ld-linux-x86-64.so.2 /lib/x86_64-linux-gnu/libc.so.6 /tmp/image
tar -C /tmp/image -c . | docker import - test:1 >/dev/null
docker run --rm --network none --read-only --cap-drop ALL --pids-limit 8 test:1 /usr/bin/true && echo ran`)
		if got != "overlay2 2\nran\n" {
			t.Errorf("got %q", got)
		}
	})

	step(t, "a second Up reuses the servers within a second", func(t *testing.T) {
		started := time.Now()
		again, err := Up(ctx, opts)
		if err != nil {
			t.Fatal(err)
		}
		if elapsed := time.Since(started); elapsed > time.Second {
			t.Errorf("took %s", elapsed)
		}
		for role, s := range l.Servers {
			if again.Servers[role] != s {
				t.Errorf("%s is now %+v, was %+v", role, again.Servers[role], s)
			}
		}
		opened, err := Open(testName)
		if err != nil || opened.Servers[Production] != l.Servers[Production] || opened.Dir != "/nowhere" {
			t.Errorf("opened %+v, %v", opened, err)
		}
		for _, other := range []Options{
			{Name: testName, Subnet: "198.18.114.0/24", Private: testPrivate, IPv6: true},
			{Name: testName, Subnet: testSubnet, IPv6: true},
			{Name: testName, Subnet: testSubnet, Private: testPrivate},
			{Name: testName, Subnet: testSubnet, Private: testPrivate, IPv6: true, System: Debian12},
		} {
			if _, err := Up(ctx, other); err == nil || !strings.Contains(err.Error(), "down first") {
				t.Errorf("Up as %+v: %v", other, err)
			}
		}
	})

	step(t, "a rebooted server comes back with its files and its host key", func(t *testing.T) {
		run(t, l, Production, "docker images --quiet test:1 | grep .; echo kept >/root/kept; sysctl -q -w kernel.sysrq=5")
		reboot(t, l, Production, "reboot")
		got := run(t, l, Production, `cat /root/kept; docker images --format '{{.Repository}}' test:1; grep -c ^nameserver /etc/resolv.conf
systemctl is-system-running; sysctl -n kernel.yama.ptrace_scope; sysctl -q -w kernel.sysrq=6; sysctl -n kernel.sysrq`)
		if want := "kept\ntest\n1\nrunning\n0\n6\n"; got != want {
			t.Errorf("after the reboot: %q, want %q", got, want)
		}
		compareSettings(t, before, kernelSettings(t))
	})

	step(t, "so does one that was powered off", func(t *testing.T) {
		reboot(t, l, Audit, "poweroff")
	})

	step(t, "Up waits for a server that is in the middle of a reboot, and starts one that was stopped", func(t *testing.T) {
		boot := run(t, l, Audit, "cat /proc/sys/kernel/random/boot_id; systemctl stop ssh")
		if _, err := docker(ctx, nil, "exec", l.container(Audit), "systemctl", "reboot"); err != nil {
			t.Fatal(err)
		}
		if _, err := Up(ctx, opts); err != nil {
			t.Fatal(err)
		}
		if now := run(t, l, Audit, "cat /proc/sys/kernel/random/boot_id"); now == boot {
			t.Error("it has not been rebooted")
		}
		if _, err := docker(ctx, nil, "stop", l.container(Audit)); err != nil {
			t.Fatal(err)
		}
		if status, err := Status(ctx, testName); err != nil || status[Audit] != "exited" {
			t.Errorf("status %v, %v", status, err)
		}
		if _, err := Up(ctx, opts); err != nil {
			t.Fatal(err)
		}
		run(t, l, Audit, "true")
	})

	step(t, "servers reach each other and this machine over IPv6, and each other over the private network", func(t *testing.T) {
		s := l.Servers[Audit]
		for _, address := range []string{s.Address6, s.Private} {
			run(t, l, Production, fmt.Sprintf("timeout 5 bash -c 'read -r -t 5 hello </dev/tcp/%s/22 && [[ $hello == SSH-2.0-* ]]'", address))
		}
		if greeting, err := greet(ctx, net.JoinHostPort(s.Address6, "22")); err != nil || !strings.HasPrefix(greeting, "SSH-2.0-") {
			t.Errorf("over IPv6: %q, %v", greeting, err)
		}
	})

	for _, system := range Systems[1:] {
		t.Run(string(system), func(t *testing.T) {
			if err := Reach(ctx, system); err != nil {
				t.Skip(err)
			}
			if _, err := serverImage(ctx, system, func(s string) { t.Log(s) }); err != nil {
				t.Fatal(err)
			}
			compareSettings(t, before, kernelSettings(t)) // its packages' scripts have run
			role := strings.ReplaceAll(string(system), ".", "")
			if _, err := l.Scratch(ctx, role, system); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				got := run(t, l, role, `. /etc/os-release; echo $ID-$VERSION_ID; systemctl is-system-running; systemctl --failed --no-legend; sysctl -q -w kernel.sysrq=7; sysctl -n kernel.sysrq`)
				if want := string(system) + "\nrunning\n7\n"; got != want {
					t.Errorf("got %q, want %q", got, want)
				}
				compareSettings(t, before, kernelSettings(t))
				reboot(t, l, role, "reboot")
			}
			run(t, l, role, "apt-get update -q -o APT::Update::Error-Mode=any")
			if err := l.Discard(ctx, role); err != nil {
				t.Error(err)
			}
		})
	}

	step(t, "a scratch server joins the network and goes again", func(t *testing.T) {
		s, err := l.Scratch(ctx, "scratch", "")
		if err != nil {
			t.Fatal(err)
		}
		run(t, l, Production, fmt.Sprintf("timeout 5 bash -c 'read -r -t 5 hello </dev/tcp/%s/22 && [[ $hello == SSH-2.0-* ]]'", s.Address))
		if err := l.Discard(ctx, "scratch"); err != nil {
			t.Fatal(err)
		}
		if status, err := Status(ctx, testName); err != nil || len(status) != 2 || status[Production] != "running" {
			t.Errorf("status %v, %v", status, err)
		}
	})

	step(t, "a server that a killed Up left behind is made anew", func(t *testing.T) {
		delete(l.Servers, Audit)
		if err := l.save(); err != nil {
			t.Fatal(err)
		}
		again, err := Up(ctx, opts)
		if err != nil {
			t.Fatal(err)
		}
		l = again
		if got := run(t, l, Audit, "ls /root"); got != "" {
			t.Errorf("the new server has %q", got)
		}
	})

	step(t, "a server refuses to start where the machine's kernel is not hidden", func(t *testing.T) {
		real := boot
		defer func() { boot = real }()
		boot = strings.Replace(real, `mount --bind /run/copy "/proc/sys/$1"`, ":", 1)
		if boot == real {
			t.Fatal("the line that hides the kernel's settings has changed: change this test with it")
		}
		_, err := l.Scratch(ctx, "sabotaged", "")
		if err == nil || !strings.Contains(err.Error(), "refuses to start") || !strings.Contains(err.Error(), "still the machine's kernel") {
			t.Errorf("got %v", err)
		}
		compareSettings(t, before, kernelSettings(t))
	})

	step(t, "Down leaves nothing", func(t *testing.T) {
		volumes, err := docker(ctx, nil, "inspect", "--format", "{{range .Mounts}}{{.Name}} {{end}}", l.container(Production), l.container(Audit))
		if err != nil || len(strings.Fields(volumes)) != 2 {
			t.Fatalf("volumes %q, %v", volumes, err)
		}
		if err := Down(ctx, testName); err != nil {
			t.Fatal(err)
		}
		for _, what := range [][]string{
			{"ps", "--all", "--quiet", "--filter", "label=" + labLabel + "=" + testName},
			{"ps", "--all", "--quiet", "--filter", "name=" + testName},
			{"network", "ls", "--quiet", "--filter", "name=" + testName},
		} {
			if out, err := docker(ctx, nil, what...); err != nil || out != "" {
				t.Errorf("docker %s: %q, %v", what, out, err)
			}
		}
		for _, volume := range strings.Fields(volumes) {
			if out, err := docker(ctx, nil, "volume", "ls", "--quiet", "--filter", "name="+volume); err != nil || out != "" {
				t.Errorf("volume %s is still there: %v", volume, err)
			}
		}
		if _, err := os.Stat(filepath.Dir(l.Key)); err == nil {
			t.Errorf("%s is still there", filepath.Dir(l.Key))
		}
		if _, err := Status(ctx, testName); !errors.Is(err, ErrNotFound) {
			t.Errorf("status: %v", err)
		}
		if err := Down(ctx, testName); err != nil {
			t.Errorf("a second Down: %v", err)
		}
	})
}

// step runs one part and tells how long it took; the parts after it depend on it.
func step(t *testing.T, promise string, f func(*testing.T)) {
	t.Helper()
	started := time.Now()
	if !t.Run(promise, f) {
		t.FailNow()
	}
	t.Logf("%6.2f s  %s", time.Since(started).Seconds(), promise)
}

// run runs a script as root on a server over SSH, with its host key pinned,
// and returns its standard output.
func run(t *testing.T, l *Lab, role, script string) string {
	t.Helper()
	out, err := ask(l, role, script)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func ask(l *Lab, role, script string) (string, error) {
	key, err := os.ReadFile(l.Key)
	if err != nil {
		return "", err
	}
	signer, err := ssh.ParsePrivateKey(key)
	if err != nil {
		return "", err
	}
	server := l.Servers[role]
	client, err := ssh.Dial("tcp", net.JoinHostPort(server.Address, "22"), &ssh.ClientConfig{
		User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, Timeout: 10 * time.Second,
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			if got := ssh.FingerprintSHA256(key); got != server.HostKeyFingerprint {
				return fmt.Errorf("host key %s, want %s", got, server.HostKeyFingerprint)
			}
			return nil
		},
	})
	if err != nil {
		return "", fmt.Errorf("%s: %w", role, err)
	}
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return "", fmt.Errorf("%s: %w", role, err)
	}
	var stdout, stderr bytes.Buffer
	session.Stdout, session.Stderr = &stdout, &stderr
	if err := session.Run("set -e\nexport DEBIAN_FRONTEND=noninteractive\n" + script); err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", role, err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}

// reboot has a server end itself, by a word of systemctl's, and waits until it
// has come up again.
func reboot(t *testing.T, l *Lab, role, word string) {
	t.Helper()
	const id = "cat /proc/sys/kernel/random/boot_id"
	before := run(t, l, role, id+"; systemd-run --quiet systemctl "+word)
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		// It may still answer while it shuts down.
		if now, err := ask(l, role, id); err == nil && !strings.Contains(before, now) {
			break
		} else if time.Since(began) > bootTimeout {
			t.Fatalf("%s is not up again after %s: %v", role, word, err)
		}
	}
	if err := awaitBoot(t.Context(), l.Servers[role]); err != nil {
		t.Fatal(err)
	}
}

// Counters, and what every process may move.
var moving = regexp.MustCompile(`/random/|/(file-nr|inode-nr|inode-state|dentry-state|dentry-negative|aio-nr|ns_last_pid|pty/nr|stat_refresh|syncs|lookups|reads|writes|drops|cache_hits|allocated_dquots|free_dquots|warnings)$`)

// kernelSettings returns the machine's settings outside of the network.
func kernelSettings(t *testing.T) map[string]string {
	t.Helper()
	out, err := exec.Command("find", "/proc/sys", "-path", "/proc/sys/net", "-prune", "-o", "-type", "f", "-perm", "-u+r", "-print").Output()
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{}
	for path := range strings.Lines(string(out)) {
		path = strings.TrimSpace(path)
		if content, err := os.ReadFile(path); err == nil && !moving.MatchString(path) {
			settings[path] = string(content)
		}
	}
	if len(settings) < 100 {
		t.Fatalf("only %d settings could be read", len(settings))
	}
	return settings
}

func compareSettings(t *testing.T, before, after map[string]string) {
	t.Helper()
	for path, value := range before {
		if after[path] != value {
			t.Errorf("%s of this machine was %q and is now %q", path, value, after[path])
		}
	}
}
