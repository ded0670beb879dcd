//go:build lab

package hardening_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"holdfast/provision"
)

func TestAServerInABadStateIsHardenedAllTheSame(t *testing.T) {
	s := scratch(t, "adverse")
	// A locale that does not exist, a login that talks, and a Match block that
	// asks for more than sshd -T is usually told.
	s.on(`printf 'LC_ALL=xx_YY.UTF-8\nLANG=tr_TR.UTF-8\nLANGUAGE=tr\nPOSIXLY_CORRECT=1\n' | tee /etc/default/locale >>/etc/environment
printf 'echo "Welcome to \\"$(hostname)\\""\necho on stderr as well >&2\n' >>/root/.bashrc
cat /root/.bashrc >>/etc/skel/.bashrc
printf 'Match LocalPort 22\n\tX11Forwarding no\n' >/etc/ssh/sshd_config.d/50-operator.conf
systemctl reload ssh`)
	// A dpkg that was killed, with a package unpacked; and lists that are new
	// and name versions that the mirror has no more.
	s.on(`set -e
apt-get -qq update
cd /tmp
apt-get -qq download acl >/dev/null
dpkg --unpack acl_*.deb >/dev/null
dpkg-query -s acl >/var/lib/dpkg/updates/0001
cd /var/lib/apt/lists
for list in *_Packages*; do
    name=$list
    case $list in *.lz4) lz4 -dq --rm "$list"; name=${list%.lz4} ;; esac
    sed -i '/^Filename:.*\/unattended-upgrades_/s/$/.gone/' "$name"
done
# Else the mirror has nothing newer to give.
sed -i 's/^Date: .*/Date: Mon, 01 Jan 2024 00:00:00 UTC/; /Packages/s/^ [0-9a-f]\{8\}/ 00000000/' *InRelease
touch -d 2024-01-01 *InRelease
rm -f /var/cache/apt/*.bin
touch . partial`)
	s.login("root")
	var said strings.Builder
	plan := s.plan()
	if len(plan.Notes) > 0 {
		t.Errorf("the plan has notes: %q", plan.Notes)
	}
	if err := provision.Apply(t.Context(), s, plan, func(e provision.Event) { said.WriteString(e.String() + "\n") }); err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	for _, want := range []string{"finishing a package installation that was interrupted", "refreshing the package lists"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("it did not say %q:\n%s", want, said.String())
		}
	}
	if out := s.on("dpkg --audit"); out != "" {
		t.Errorf("dpkg is left with %s", out)
	}
	s.converged()
}

func TestWhatKeepsAServerFromBeingProvisionedIsNamedBeforeAnythingIsChanged(t *testing.T) {
	s := scratch(t, "unfit")
	for _, c := range []struct {
		what, break_, mend string
		want               error
	}{
		{"tools are gone", "mv /usr/bin/gzip /usr/bin/unshare /root", "mv /root/gzip /root/unshare /usr/bin",
			&provision.MissingToolsError{Tools: []string{"gzip", "unshare"}}},
		{"/etc is read-only", "mount --rbind /etc /etc && mount -o remount,ro,bind /etc", "mount -o remount,rw,bind /etc && umount -l /etc",
			&provision.ReadOnlyError{Paths: []string{"/etc"}}},
		{"/var is full", "mount -t tmpfs -o size=100m none /var", "umount -l /var",
			&provision.DiskFullError{Path: "/var", Free: 100}},
		{"/var has no inodes left", "mount -t tmpfs -o size=1g,nr_inodes=1001 none /var", "umount -l /var",
			&provision.DiskFullError{Path: "/var", Free: 1000, NoInodes: true}},
	} {
		s.on(c.break_)
		_, err := s.facts()
		s.on(c.mend)
		if !reflect.DeepEqual(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.what, err, c.want)
		}
	}
	// What is of use and not needed.
	s.on("mv /usr/bin/systemd-detect-virt /usr/bin/ss /root")
	if facts, err := s.facts(); err != nil || facts.Container == "" {
		t.Errorf("without systemd-detect-virt and ss the server is %q, %v", facts.Container, err)
	}
	s.on("mv /root/systemd-detect-virt /root/ss /usr/bin")
}

func TestThePortOfAnSSHDWithBrokenSettingsIsItsOwnAndNot22(t *testing.T) {
	s := scratch(t, "brokenmatch")
	s.on("echo Port 2222 >/etc/ssh/sshd_config.d/10-port.conf && systemctl restart ssh")
	s.port = 2222
	s.login("root")
	s.on("printf 'Match User ada\\n\\tPort 23\\n' >/etc/ssh/sshd_config.d/90-broken.conf; ! sshd -T 2>/dev/null")
	facts, err := s.facts()
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(facts.SSHPorts, []int{2222}) || !strings.Contains(facts.SSHFault, "90-broken.conf") {
		t.Errorf("ports %v, fault %q", facts.SSHPorts, facts.SSHFault)
	}
	plan := provision.Diff(s.resources(), facts)
	if notes := strings.Join(plan.Notes, "\n"); !strings.Contains(notes, "90-broken.conf") {
		t.Errorf("the plan does not tell: %q", notes)
	}
	// sshd would not start with such settings: they are not touched.
	err = s.apply(t.Context(), plan)
	var failed *provision.StepError
	if !errors.As(err, &failed) || !failed.Reverted || !strings.Contains(err.Error(), "90-broken.conf") {
		t.Fatalf("got %v", err)
	}
	s.login("root") // anew, as before
	s.on("rm /etc/ssh/sshd_config.d/90-broken.conf")
	s.converge()

	s.on("printf 'Match User ada\\n\\tPort 23\\n' >/etc/ssh/sshd_config.d/90-broken.conf; mv /usr/bin/readlink /root")
	_, err = s.facts()
	s.on("mv /root/readlink /usr/bin; rm /etc/ssh/sshd_config.d/90-broken.conf")
	var none *provision.NoSSHPortError
	if !errors.As(err, &none) || !strings.Contains(err.Error(), "90-broken.conf") {
		t.Errorf("with no way to tell the port: %v", err)
	}
}

func TestAFileThatCannotBeReplacedIsNamedAndTheNextRunGoesOn(t *testing.T) {
	s := hardened(t, "audit")
	const file = "/etc/modprobe.d/holdfast.conf"
	s.on("command -v chattr >/dev/null || apt-get -qq install --no-install-recommends e2fsprogs >/dev/null 2>&1")
	for _, c := range []struct{ what, break_, mend, want string }{
		{"an immutable file", "chattr +i " + file, "chattr -i " + file, `"chattr -ai ` + file + `"`},
		{"an immutable folder", "chattr +i /etc/modprobe.d", "chattr -i /etc/modprobe.d", `"chattr -ai /etc/modprobe.d"`},
		{"a full disk", "mount -t tmpfs -o size=4k none /etc/modprobe.d && (head -c 4096 /dev/zero >/etc/modprobe.d/full)", "umount /etc/modprobe.d", "No space left on device"},
		{"no inodes", "mount -t tmpfs -o nr_inodes=2 none /etc/modprobe.d && touch /etc/modprobe.d/full", "umount /etc/modprobe.d", "No space left on device"},
		{"a read-only folder", "mount --bind /etc/modprobe.d /etc/modprobe.d && mount -o remount,ro,bind /etc/modprobe.d", "umount /etc/modprobe.d", "Read-only file system"},
	} {
		s.on("echo '# drift' >>" + file)
		plan := s.plan()
		s.on(c.break_)
		err := s.apply(t.Context(), plan)
		left := s.on("ls -A /etc/modprobe.d | grep -x '.*[.]holdfast' || true")
		s.on(c.mend)
		var failed *provision.StepError
		if !errors.As(err, &failed) || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want to hear %q of %s", c.what, err, c.want, file)
		}
		if left != "" {
			t.Errorf("%s: it left %s", c.what, left)
		}
		s.converge()
	}
}
