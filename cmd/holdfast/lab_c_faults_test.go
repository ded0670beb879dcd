//go:build lab

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var productionAddress = regexp.MustCompile(`(production:\n    address: )\S+`)

// towards points the production server of a copy of the environment at another
// address, with that server's host key.
func towards(t *testing.T, address, hostKey string) string {
	t.Helper()
	return variant(t, func(s string) string {
		s = productionAddress.ReplaceAllString(s, "${1}"+address)
		if hostKey != "" {
			s = strings.Replace(s, stage.lab.Servers["production"].HostKeyFingerprint, hostKey, 1)
		}
		return s
	})
}

// scratch is one further bare server, for what must not happen to the pair.
func scratch(t *testing.T) (dir string, run func(script string) string) {
	t.Helper()
	s, err := stage.lab.Scratch(t.Context(), "scratch", "")
	if err != nil {
		t.Fatal(err)
	}
	stage.lab.Servers["scratch"] = s
	t.Cleanup(func() {
		if err := stage.lab.Discard(context.Background(), "scratch"); err != nil {
			t.Log(err)
		}
	})
	return towards(t, s.Address, s.HostKeyFingerprint), func(script string) string { return on(t, "scratch", script) }
}

func TestC01AnUnreachableServerIsNamedWithWhatToCheck(t *testing.T) {
	nobody := strings.TrimSuffix(testSubnet, "0/24") + "250"
	dir := towards(t, nobody, "")
	holdfast(t, "plan", "-C", dir, "--connect-timeout", "3s").want(t, 4, "production", nobody, "check")
}

func TestC02AChangedHostKeyStopsEverything(t *testing.T) {
	wrong := variant(t, replace(stage.lab.Servers["production"].HostKeyFingerprint, "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"))
	holdfast(t, "deploy", "-C", wrong, "--yes").want(t, 4, "host key", stage.lab.Servers["production"].HostKeyFingerprint)

	// Not pinned, but known with another key.
	unpinned := variant(t, replace(`    host-key: "`+stage.lab.Servers["production"].HostKeyFingerprint+`"`+"\n", ""))
	key := filepath.Join(t.TempDir(), "other")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	public, _ := os.ReadFile(key + ".pub")
	known := stage.lab.Servers["production"].Address + " " + strings.Join(strings.Fields(string(public))[:2], " ") + "\n"
	if err := os.WriteFile(filepath.Join(unpinned, ".holdfast", "known_hosts"), []byte(known), 0o600); err != nil {
		t.Fatal(err)
	}
	holdfast(t, "deploy", "-C", unpinned, "--yes", "--accept-new-host-keys").want(t, 4, "host key")
	// Not known at all: refused without a word from a person, accepted with the flag.
	os.Remove(filepath.Join(unpinned, ".holdfast", "known_hosts"))
	holdfast(t, "plan", "-C", unpinned).want(t, 4, "host key")
	holdfast(t, "plan", "-C", unpinned, "--accept-new-host-keys").want(t, 0)
}

func TestC03AUserTheServerDoesNotKnowIsRefusedWithWhatWasTried(t *testing.T) {
	dir := variant(t, func(s string) string {
		return strings.Replace(s, "access:\n", "access:\n  user: ghost\n", 1)
	})
	holdfast(t, "plan", "-C", dir).want(t, 4, "ghost", "SHA256:")
}

func TestC04AUserWithoutSudoIsToldSo(t *testing.T) {
	dir, run := scratch(t)
	run("useradd -m -s /bin/bash plain && mkdir -p ~plain/.ssh && cp /root/.ssh/authorized_keys ~plain/.ssh/ && chown -R plain: ~plain/.ssh")
	edit(t, filepath.Join(dir, "holdfast.yml"), replace("production:\n", "production:\n    user: plain\n"))
	holdfast(t, "plan", "-C", dir).want(t, 4, "sudo")

	run("echo 'plain:typed-by-hand' | chpasswd && echo 'plain ALL=(ALL) ALL' > /etc/sudoers.d/plain")
	holdfastEnv(t, []string{"HOLDFAST_SUDO_PASSWORD=wrong-password"}, "plan", "-C", dir).want(t, 4, "password")
	r := holdfastEnv(t, []string{"HOLDFAST_SUDO_PASSWORD=typed-by-hand"}, "plan", "-C", dir)
	r.want(t, 2, "production")
	if strings.Contains(r.out+r.err, "typed-by-hand") {
		t.Error("the sudo password was printed")
	}
}

func TestC05AnUnsupportedSystemIsRefusedAtOnce(t *testing.T) {
	dir, run := scratch(t)
	run(`printf 'ID=fedora\nVERSION_ID=41\nPRETTY_NAME="Fedora Linux 41"\n' > /etc/os-release`)
	r := holdfast(t, "deploy", "-C", dir, "--yes", "--no-verify")
	r.want(t, 1, "Fedora Linux 41", "Debian 13")
}

func TestC06AHeldPackageLockIsWaitedForAndNamed(t *testing.T) {
	dir, run := scratch(t)
	run(`cat > /root/hold.py <<'E'
import fcntl, time
f = open("/var/lib/dpkg/lock-frontend", "w"); fcntl.lockf(f, fcntl.LOCK_EX); time.sleep(12)
E
apt-get install -y -qq python3-minimal >/dev/null 2>&1 || true
setsid python3 /root/hold.py >/dev/null 2>&1 &`)
	r := holdfast(t, "deploy", "-C", dir, "--yes", "--no-verify", "--health-timeout", "1s")
	if !strings.Contains(r.err, "lock") || !strings.Contains(r.err, "python3") {
		t.Errorf("it did not say who holds the package lock:\n%s", clip(r.err))
	}
	if got := run("command -v nft dpkg | wc -l"); strings.TrimSpace(got) != "2" {
		t.Errorf("the packages were not installed after the lock was free")
	}
}

func TestC07AFullDiskIsNamedAndARerunRepairs(t *testing.T) {
	dir := variant(t, replace("NEXT_PUBLIC_SITE_NAME: Lab", "NEXT_PUBLIC_SITE_NAME: Full"))
	on(t, "production", "mount -t tmpfs -o size=16k tmpfs /opt/holdfast/releases")
	r := holdfast(t, "deploy", "-C", dir, "--yes", "--no-verify")
	on(t, "production", "umount /opt/holdfast/releases")
	r.want(t, 1, "No space left on device")
	holdfast(t, "deploy", "-C", stage.dir, "--yes", "--no-verify").want(t, 0)
	holdfast(t, "plan", "-C", stage.dir).want(t, 0)
}

func TestC08ATakenPortIsNamedWithItsHolder(t *testing.T) {
	on(t, "production", `docker stop edge-caddy-1 >/dev/null; command -v python3 >/dev/null || apt-get install -y -qq python3-minimal >/dev/null
cat > /root/take.py <<'E'
import socket, time
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("0.0.0.0", 80)); s.listen(); time.sleep(600)
E
systemd-run --quiet --unit=port-thief python3 /root/take.py; sleep 1`)
	r := holdfast(t, "deploy", "-C", stage.dir, "--yes", "--no-verify")
	on(t, "production", "systemctl stop port-thief")
	r.want(t, 1, "address already in use", "python3", "80")
	holdfast(t, "deploy", "-C", stage.dir, "--yes", "--no-verify").want(t, 0)
	holdfast(t, "plan", "-C", stage.dir).want(t, 0)
}

func TestC09AContainerThatNeverGetsHealthyBringsTheFormerReleaseBack(t *testing.T) {
	before := on(t, "production", "readlink /opt/holdfast/current")
	dir := variant(t, replace("health: /api/health", "health: /api/never"))
	r := holdfast(t, "deploy", "-C", dir, "--yes", "--no-verify", "--health-timeout", "45s")
	r.want(t, 1, "service app is not healthy", "runs again")
	if after := on(t, "production", "readlink /opt/holdfast/current"); after != before {
		t.Errorf("current moved from %s to %s", before, after)
	}
	holdfast(t, "plan", "-C", stage.dir).want(t, 0, "nothing to change")
}

func TestC10AMissingSecretAndAMissingIdentityAreConfigurationErrors(t *testing.T) {
	dir := variant(t, replace("    health: /api/health", "    health: /api/health\n    secrets: [STRIPE_SECRET_KEY]"))
	holdfast(t, "plan", "-C", dir).want(t, 3, "STRIPE_SECRET_KEY")

	dir = variant(t, func(s string) string { return s + "\n" })
	os.Remove(filepath.Join(dir, ".holdfast", "identity.txt"))
	holdfast(t, "plan", "-C", dir).want(t, 3, "identity", "--identity")
	os.Remove(filepath.Join(dir, "secrets.age"))
	holdfast(t, "plan", "-C", dir).want(t, 3, "secrets.age")
}

func TestC11TwoDeploysAtOnceOneWinsAndTheOtherSaysWhoHoldsTheLock(t *testing.T) {
	first := command(t.Context(), nil, "deploy", "-C", variant(t, replace("NEXT_PUBLIC_SITE_NAME: Lab", "NEXT_PUBLIC_SITE_NAME: First")), "--yes", "--no-verify")
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1500 * time.Millisecond)
	second := holdfast(t, "deploy", "-C", stage.dir, "--yes", "--no-verify")
	if err := first.Wait(); err != nil {
		t.Errorf("the first deploy failed: %v", err)
	}
	second.want(t, 1, "lock", "process")
	holdfast(t, "deploy", "-C", stage.dir, "--yes", "--no-verify").want(t, 0)
}
