package transport

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

// line is a known_hosts line for the server and one of its keys.
func (s *sshd) line(kind string) string {
	return knownhosts.Line([]string{s.addr()}, s.keys[kind].PublicKey()) + "\n"
}

// unpinned is a target whose host key known_hosts decides about.
func (s *sshd) unpinned(lines ...string) Target {
	target := s.target("root")
	target.HostKey = ""
	target.KnownHosts = []string{filepath.Join(folder(s.t), "ours"),
		writeFile(s.t, filepath.Join(folder(s.t), "known_hosts"), strings.Join(lines, ""))}
	return target
}

func TestAPinnedKeyOfAnyTypeIsFound(t *testing.T) {
	t.Parallel()
	server := startSSHD(t, nil)
	for kind, key := range server.keys {
		target := server.unpinned()
		target.HostKey = ssh.FingerprintSHA256(key.PublicKey())
		dials := 0
		options := Options{Dial: countDials(&dials)}
		dial(t, target, options)
		if kind != "ed25519" {
			dials = 0
			dial(t, target, options)
			if dials != 1 {
				t.Errorf("%s: the type was not remembered, the second time took %d connections", kind, dials)
			}
		}
	}
}

func TestAWrongPinFailsAndShowsBothFingerprints(t *testing.T) {
	t.Parallel()
	server := startSSHD(t, nil)
	target := server.target("root")
	target.HostKey = "SHA256:" + strings.Repeat("A", 43)
	asked := false
	options := Options{AcceptNewHostKey: func(string, string, string) bool { asked = true; return true }}
	dialFails(t, target, options, ErrHostKey, target.HostKey, "ssh_host_ed25519_key.pub",
		ssh.FingerprintSHA256(server.keys["ed25519"].PublicKey()),
		ssh.FingerprintSHA256(server.keys["rsa"].PublicKey()))
	if asked {
		t.Error("asked about a key that contradicts the pin")
	}
}

func TestAnUnknownHostIsRefusedAskedAboutAndRecorded(t *testing.T) {
	t.Parallel()
	server := startSSHD(t, nil)
	target := server.unpinned()
	fingerprint := ssh.FingerprintSHA256(server.keys["ed25519"].PublicKey())
	dialFails(t, target, Options{}, ErrHostKey, fingerprint, "host-key:")

	answer, asked := false, 0
	options := Options{AcceptNewHostKey: func(host, keyType, shown string) bool {
		asked++
		if want := fmt.Sprintf("[127.0.0.1]:%d", server.port); host != want || keyType != "ssh-ed25519" || shown != fingerprint {
			t.Errorf("asked about %s %s %s", host, keyType, shown)
		}
		return answer
	}}
	dialFails(t, target, options, ErrHostKey, "not accepted")
	if _, err := os.Stat(target.KnownHosts[0]); err == nil {
		t.Error("a refused key was recorded")
	}
	answer = true
	dial(t, target, options)
	dial(t, target, options)
	if asked != 2 {
		t.Errorf("asked %d times, the accepted key was not remembered", asked)
	}
	recorded, err := os.ReadFile(target.KnownHosts[0])
	if err != nil || string(recorded) != server.line("ed25519") {
		t.Errorf("recorded %q, %v", recorded, err)
	}
	if info, err := os.Stat(target.KnownHosts[0]); err != nil || info.Mode() != 0o600 {
		t.Errorf("recorded with mode %v, %v", info.Mode(), err)
	}
}

func TestTheTimeAPersonTakesDoesNotCount(t *testing.T) {
	t.Parallel()
	server := startSSHD(t, []string{"ed25519"})
	dial(t, server.unpinned(), Options{Timeout: time.Second, AcceptNewHostKey: func(string, string, string) bool {
		time.Sleep(1500 * time.Millisecond)
		return true
	}})
}

func TestAKnownKeyIsNegotiatedWhateverItsTypeAndForm(t *testing.T) {
	t.Parallel()
	server := startSSHD(t, nil)
	hashed := xknownhosts.HashHostname(xknownhosts.Normalize(server.addr()))
	rsa := server.keys["rsa"].PublicKey()
	for name, line := range map[string]string{
		"rsa only":            server.line("rsa"),
		"ecdsa only":          server.line("ecdsa"),
		"hashed":              hashed + " " + strings.SplitN(server.line("ed25519"), " ", 2)[1],
		"wildcard, any port":  xknownhosts.Line([]string{"127.0.0.*"}, rsa) + "\n",
		"amid unreadable":     "rubbish\n@strange x y z\n[h ssh-rsa AAAA\n" + server.line("ecdsa") + "h ssh-future AAAA\n",
		"after a foreign one": xknownhosts.Line([]string{"other.example.com"}, server.keys["ed25519"].PublicKey()) + "\n" + server.line("rsa"),
	} {
		t.Run(name, func(t *testing.T) {
			dial(t, server.unpinned(line), Options{})
		})
	}
}

func TestAChangedKeyAlwaysFailsAndSaysWhereItWasKnownFrom(t *testing.T) {
	t.Parallel()
	server := startSSHD(t, []string{"ed25519", "rsa"})
	old := signer(t, newKey(t, "ed25519")).PublicKey()
	accept := Options{AcceptNewHostKey: func(string, string, string) bool { return true }}
	target := server.unpinned("# comment\nbad line\n", knownhosts.Line([]string{server.addr()}, old)+"\n")
	dialFails(t, target, accept, ErrHostKey, ssh.FingerprintSHA256(old), target.KnownHosts[1]+":3",
		ssh.FingerprintSHA256(server.keys["ed25519"].PublicKey()),
		fmt.Sprintf("ssh-keygen -R '[127.0.0.1]:%d' -f %s", server.port, target.KnownHosts[1]))

	gone := signer(t, newKey(t, "ecdsa")).PublicKey()
	target = server.unpinned(knownhosts.Line([]string{server.addr()}, gone) + "\n")
	dialFails(t, target, accept, ErrHostKey, ssh.FingerprintSHA256(gone), "ssh-ed25519")
}

func TestARevokedKeyFailsEvenWhenPinned(t *testing.T) {
	t.Parallel()
	server := startSSHD(t, []string{"ed25519"})
	target := server.unpinned("@revoked * " + strings.SplitN(server.line("ed25519"), " ", 2)[1])
	dialFails(t, target, Options{AcceptNewHostKey: func(string, string, string) bool { return true }}, ErrHostKey, "revoked", target.KnownHosts[1]+":1")
	target.HostKey = ssh.FingerprintSHA256(server.keys["ed25519"].PublicKey())
	dialFails(t, target, Options{}, ErrHostKey, "revoked")
}

func TestAHostCertificateOfAKnownAuthorityIsTrustedUntilItExpires(t *testing.T) {
	t.Parallel()
	authority := signer(t, newKey(t, "ed25519"))
	private := newKey(t, "ecdsa") // not the authority's type
	dir := folder(t)
	certify := func(until time.Time) {
		cert := &ssh.Certificate{Key: signer(t, private).PublicKey(), CertType: ssh.HostCert, KeyId: "production",
			ValidPrincipals: []string{"127.0.0.1"}, ValidBefore: uint64(until.Unix())}
		if err := cert.SignCert(rand.Reader, authority); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, "key-cert.pub"), string(ssh.MarshalAuthorizedKey(cert)))
	}
	writeKey(t, filepath.Join(dir, "key"), private)
	lines := []string{"HostKey " + dir + "/key", "HostCertificate " + dir + "/key-cert.pub"}
	known := "@cert-authority * " + string(ssh.MarshalAuthorizedKey(authority.PublicKey()))

	certify(time.Now().Add(time.Hour))
	server := startSSHD(t, []string{"rsa"}, lines...)
	dial(t, server.unpinned(known), Options{})

	certify(time.Now().Add(-time.Hour))
	server = startSSHD(t, []string{"rsa"}, lines...)
	dialFails(t, server.unpinned(known), Options{}, ErrHostKey, "expired")

	server = startSSHD(t, []string{"ed25519"})
	dialFails(t, server.unpinned(known), Options{}, ErrHostKey, "authority")
}

func TestKeysRecordedSideBySideAreAllKept(t *testing.T) {
	t.Parallel()
	file := filepath.Join(folder(t), "new", "known_hosts")
	done := make(chan error)
	for i := range 20 {
		key := signer(t, newKey(t, "ed25519")).PublicKey()
		go func() { done <- record(file, fmt.Sprintf("host%d", i), key) }()
	}
	for range 20 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	data, err := os.ReadFile(file)
	if err != nil || strings.Count(string(data), "\n") != 20 {
		t.Errorf("%d lines, %v", strings.Count(string(data), "\n"), err)
	}
}

// FuzzKnownHosts: whatever a known_hosts file holds, reading it does not fail,
// and a good line in it counts.
func FuzzKnownHosts(f *testing.F) {
	const good = "good.example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDbOz6bU1N6kFOpaJpWNzEFCYzYTZBNQ1gTpIr8A0yVM"
	_, _, key, _, _, err := ssh.ParseKnownHosts([]byte(good))
	if err != nil {
		f.Fatal(err)
	}
	for _, line := range []string{"", "# x", "h", "@revoked h", "@cert-authority * ssh-rsa AAAA", "|1|a|b ssh-rsa AAAA",
		"[h ssh-ed25519 AAAA", "!,!h ssh-ed25519 x", strings.Repeat("x", 70000), "@a @b c d", good, "*:22 " + good[17:]} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, foreign []byte) {
		file := filepath.Join(t.TempDir(), "known_hosts")
		if err := os.WriteFile(file, append(append(foreign, '\n'), good...), 0o600); err != nil {
			t.Fatal(err)
		}
		known, err := readKnownHosts([]string{file})
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(foreign), "@revoked") {
			return
		}
		if err := known.check("good.example.com:22", key); err != nil {
			t.Fatal(err)
		}
		known.of("any.example.com:2222")
	})
}

// FuzzPin: a pin is refused, or is a fingerprint as ssh-keygen prints it.
func FuzzPin(f *testing.F) {
	good := "SHA256:" + strings.Repeat("A", 43)
	for _, s := range []string{"", good, good + "=", "sha256:" + good[7:], "MD5:aa:bb", good + "\n", "SHA256:" + strings.Repeat("-", 43), good[:49]} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, pin string) {
		parsed, err := parsePin(pin)
		if err != nil || parsed == "" {
			if err == nil && pin != "" {
				t.Fatalf("%q pins nothing", pin)
			}
			return
		}
		again, err := parsePin(parsed)
		if err != nil || again != parsed || len(parsed) != len(good) || strings.TrimRight(pin, "=") != parsed {
			t.Fatalf("%q is %q, and that %q, %v", pin, parsed, again, err)
		}
	})
}
