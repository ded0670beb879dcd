package transport

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

func is(err, target error) bool { return errors.Is(err, target) }

func TestTheRightKeyLogsIn(t *testing.T) {
	t.Parallel()
	server := startSSHD(t, nil)
	c := dial(t, server.target("root"), Options{})
	if c.User() != "root" {
		t.Errorf("User is %q", c.User())
	}
	if want := ssh.FingerprintSHA256(server.keys["ed25519"].PublicKey()); c.HostKey() != want {
		t.Errorf("HostKey is %s, want %s", c.HostKey(), want)
	}
	if out := mustRun(t, c, Command{Script: "id -un"}); out != "root\n" {
		t.Errorf("logged in as %q", out)
	}
}

func TestARefusedLoginNamesUserAndKeysAndNeverKeyMaterial(t *testing.T) {
	t.Parallel()
	server := startSSHD(t, nil)
	target := server.target("root")
	other := newKey(t, "ed25519")
	target.Identity = writeKey(t, filepath.Join(folder(t), "other"), other)
	err := dialFails(t, target, Options{}, ErrAuth, `"root"`, "authorized_keys",
		ssh.FingerprintSHA256(signer(t, other).PublicKey()), target.Identity)
	if strings.Contains(err.Error(), "PRIVATE") {
		t.Error("key material in the message")
	}
	target = server.target("root")
	target.User = "no-such-user"
	dialFails(t, target, Options{}, ErrAuth, `"no-such-user"`)
}

func TestAMissingIdentityIsNamed(t *testing.T) {
	t.Parallel()
	server := startSSHD(t, []string{"ed25519"})
	target := server.target("root")
	target.Identity = "/no/such/key"
	dialFails(t, target, Options{}, ErrAuth, "/no/such/key", "no such file")
	target.Identity = ""
	dialFails(t, target, Options{}, ErrAuth, "no key to offer")
}

func TestAnEncryptedKeyAsksForItsPassphraseOnlyWhenTheServerAcceptsIt(t *testing.T) {
	t.Parallel()
	server := startSSHD(t, []string{"ed25519"})
	for _, kind := range []string{"ed25519", "rsa"} {
		private := newKey(t, kind)
		block, err := ssh.MarshalPrivateKeyWithPassphrase(private, "test", []byte("open sesame"))
		if err != nil {
			t.Fatal(err)
		}
		target := server.target("root")
		target.Identity = writeFile(t, filepath.Join(folder(t), "locked"), string(pem.EncodeToMemory(block)))

		asked := 0
		options := Options{Passphrase: func(file string) ([]byte, error) {
			asked++
			if file != target.Identity {
				t.Errorf("asked for %s", file)
			}
			return []byte("open sesame"), nil
		}}
		dialFails(t, target, options, ErrAuth)
		if asked != 0 {
			t.Errorf("asked %d times for a key that is refused", asked)
		}
		server.admit("root", signer(t, private).PublicKey())
		dial(t, target, options)
		if asked != 1 {
			t.Errorf("asked %d times", asked)
		}
		options.Passphrase = func(string) ([]byte, error) { asked++; return []byte("guess"), nil }
		asked = 0
		err = dialFails(t, target, options, ErrAuth, "passphrase is wrong")
		if asked != maxPassphrases || strings.Contains(err.Error(), "guess") {
			t.Errorf("asked %d times: %v", asked, err)
		}
		options.Passphrase = nil
		dialFails(t, target, options, ErrAuth, "encrypted", "ssh-add")
	}
}

func TestAgentKeysAreOfferedAfterTheConfiguredOneAndAtMostFiveInAll(t *testing.T) {
	server := startSSHD(t, []string{"ed25519"}, "MaxAuthTries 20")
	target := server.target("root")
	keyring := agent.NewKeyring()
	var keys []ssh.PublicKey
	for range 6 {
		private := newKey(t, "ed25519")
		if err := keyring.Add(agent.AddedKey{PrivateKey: private, Comment: "ada@laptop"}); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, signer(t, private).PublicKey())
	}
	t.Setenv("SSH_AUTH_SOCK", serveAgent(t, keyring))

	server.admit("root", keys[3]) // the fifth after the identity
	dial(t, target, Options{})
	server.admit("root", keys[4])
	err := dialFails(t, target, Options{}, ErrAuth, "ada@laptop", "2 more were not tried")
	if n := strings.Count(err.Error(), "SHA256:"); n != maxKeys {
		t.Errorf("%d keys were offered: %v", n, err)
	}
}

func TestAnIdentityMayBeAPublicKeyWhosePrivateHalfIsInTheAgent(t *testing.T) {
	server := startSSHD(t, []string{"ed25519"})
	target := server.target("root")
	private := newKey(t, "rsa")
	public := signer(t, private).PublicKey()
	server.admit("root", public)
	keyring := agent.NewKeyring()
	if err := keyring.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSH_AUTH_SOCK", serveAgent(t, keyring))
	target.Identity = writeFile(t, filepath.Join(folder(t), "id.pub"), string(ssh.MarshalAuthorizedKey(public)))
	dial(t, target, Options{})
}

func serveAgent(t *testing.T, keyring agent.Agent) string {
	t.Helper()
	socket := filepath.Join(folder(t), "agent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go agent.ServeAgent(keyring, conn)
		}
	}()
	return socket
}

func TestAServerThatTakesNoKeysOrWantsASecondFactorIsNamed(t *testing.T) {
	t.Parallel()
	server := startSSHD(t, []string{"ed25519"}, "PubkeyAuthentication no", "PasswordAuthentication yes")
	dialFails(t, server.target("root"), Options{}, ErrAuth, "only password")
	server = startSSHD(t, []string{"ed25519"}, "AuthenticationMethods publickey,password", "PermitRootLogin yes", "PasswordAuthentication yes")
	dialFails(t, server.target("root"), Options{}, ErrAuth, "second factor")
}

func TestAnUnreachableServerIsNamedWithWhatToDo(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	port := func(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }
	rude, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer rude.Close()
	go func() {
		for {
			conn, err := rude.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	options := Options{Timeout: 300 * time.Millisecond}
	for _, test := range []struct {
		target  Target
		mention string
	}{
		{Target{Address: "no-such-host.invalid"}, "no-such-host.invalid"},
		{Target{Address: "127.0.0.1", Port: freePort(t)}, "nothing listens on port"},
		{Target{Address: "127.0.0.1", Port: port(silent)}, "did not answer in time"},
		{Target{Address: "127.0.0.1", Port: port(rude)}, "closes the connection before it says who it is; it may be banning this address"},
	} {
		test.target.Name, test.target.User = "audit", "deploy"
		dialFails(t, test.target, options, ErrUnreachable, "connect to audit (deploy@", test.mention)
	}
}

func TestInterruptingTheConnectionIsNotMistakenForAnUnreachableServer(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err = Dial(ctx, Target{Address: "127.0.0.1", Port: silent.Addr().(*net.TCPAddr).Port}, Options{Config: "none"})
	if !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnreachable) {
		t.Error(err)
	}
}

func TestATargetThatCannotBeRightIsRefusedBeforeDialling(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		target  Target
		mention string
	}{
		{Target{Name: "production"}, "no address"},
		{Target{Address: "h", Port: 70000}, "70000"},
		{Target{Address: "h", HostKey: "MD5:aa"}, `"MD5:aa"`},
		{Target{Address: "h", HostKey: "SHA256:short"}, "ssh-keygen"},
	} {
		dialFails(t, test.target, Options{}, nil, test.mention)
	}
}

func TestAServerThatTurnsUsAwayIsNamedWithWhatToDo(t *testing.T) {
	t.Parallel()
	says := func(text string) Target {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					io.WriteString(conn, text)
					conn.(*net.TCPConn).CloseWrite()
					io.Copy(io.Discard, conn)
					conn.Close()
				}()
			}
		}()
		return Target{Address: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, User: "deploy"}
	}
	full := startSSHD(t, []string{"ed25519"}, "MaxStartups 1")
	time.Sleep(200 * time.Millisecond) // until it has forgotten how startSSHD knocked
	crowd, err := net.Dial("tcp", full.addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { crowd.Close() })

	expired, _ := account(t, "/bin/bash", "")
	if out, err := exec.Command("chage", "-E", "0", expired).CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	booting := startSSHD(t, []string{"ed25519"}, "UsePAM yes", "Banner $DIR/nologin")
	writeFile(t, booting.dir+"/nologin", "System is booting up. Unprivileged users are not permitted to log in yet.\n")
	slow := startSSHD(t, []string{"ed25519"}, "AuthorizedKeysCommand /usr/bin/sleep 5", "AuthorizedKeysCommandUser nobody")
	for name, test := range map[string]struct {
		target  Target
		mention string
	}{
		"many logins":         {full.target("root"), "MaxStartups"},
		"penalties":           {says("Not allowed at this time\r\n"), "PerSourcePenalties"},
		"another service":     {says("HTTP/1.1 400 Bad Request\r\n\r\n"), `"HTTP/1.1 400 Bad Request"`},
		"half a handshake":    {says("SSH-2.0-OpenSSH_9.2\r\n"), "during the handshake"},
		"an expired account":  {startSSHD(t, []string{"ed25519"}, "UsePAM yes").target(expired), "Your account has expired"},
		"a server that boots": {booting.target(expired), "while it starts or stops"},
		"a slow login":        {func() Target { s := slow.target("root"); slow.admit("root"); return s }(), "UseDNS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dialFails(t, test.target, Options{Timeout: time.Second}, ErrUnreachable, test.mention)
		})
	}
}

// A server moves its sshd to another port, and takes root's login away, while
// somebody is at work.
func TestAConnectionOutlivesAChangeOfPortAndUser(t *testing.T) {
	t.Parallel()
	server := startSSHD(t, []string{"ed25519"}, "PermitRootLogin yes")
	deploy, _ := account(t, "/bin/bash", "ALL=(ALL) NOPASSWD: ALL")
	root := server.target("root")
	c := dial(t, root, Options{})
	held, err := c.Hold(t.Context(), Command{Script: "echo ready; cat >/dev/null"})
	if err != nil {
		t.Fatal(err)
	}
	old := server.port
	server.reload("PermitRootLogin no")

	target := server.target(deploy)
	if server.port == old || target.Port == old {
		t.Fatal("the port is the same")
	}
	fresh := dial(t, target, Options{})
	if out := mustRun(t, fresh, Command{Script: "id -un", Sudo: true}); out != "root\n" {
		t.Errorf("ran as %q", out)
	}
	mustRun(t, c, Command{Script: "true"})
	if _, err := c.Stage(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if err := held.Release(); err != nil {
		t.Error(err)
	}
	dialFails(t, root, Options{}, ErrUnreachable, fmt.Sprintf("nothing listens on port %d", old))
	root.Port = server.port
	dialFails(t, root, Options{}, ErrAuth, "PermitRootLogin")
	target.Port = old
	dialFails(t, target, Options{}, ErrUnreachable, "nothing listens")
}
