package transport

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kevinburke/ssh_config"
	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

func countDials(n *int) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		*n++
		var d net.Dialer
		return d.DialContext(ctx, network, addr)
	}
}

func TestSSHConfigResolvesAHost(t *testing.T) {
	t.Parallel()
	config := writeFile(t, filepath.Join(folder(t), "config"), `
Host web prod-*
  HostName %h.example.com
  User ada
  Port 2222
  IdentityFile /keys/%r-%h
  IdentityFile "/keys/with space"
  IdentitiesOnly yes

Host inner
  HostName 10.0.0.5
  ProxyJump ops@outer:2200,middle

Host outer
  HostName outer.example.com
  ProxyJump gate
Host middle
  ProxyJump never
Host proxied
  ProxyCommand nc %h %p
Host loop
  ProxyJump loop
Host *
  User fallback
  IdentityAgent none
`)
	resolve := func(target Target) ([]hop, error) {
		t.Helper()
		return route(target, config)
	}
	hops, err := resolve(Target{Address: "web", Name: "production"})
	want := hop{name: "production", host: "web.example.com", port: 2222, user: "ada", only: true,
		identities: []string{"/keys/ada-web.example.com", "/keys/with space"}}
	if err != nil || len(hops) != 1 || !reflect.DeepEqual(hops[0], want) {
		t.Errorf("got %+v, %v", hops, err)
	}
	hops, err = resolve(Target{Address: "web", Port: 22, User: "root", Identity: "/k"})
	if err != nil || hops[0].port != 22 || hops[0].user != "root" || hops[0].required != "/k" {
		t.Errorf("what the target says does not win: %+v, %v", hops, err)
	}
	hops, err = resolve(Target{Address: "inner"})
	var chain []string
	for _, h := range hops {
		chain = append(chain, h.user+"@"+h.addr())
	}
	if got := strings.Join(chain, " "); err != nil || got != "fallback@gate:22 ops@outer.example.com:2200 fallback@middle:22 fallback@10.0.0.5:22" {
		t.Errorf("the way to inner is %q, %v", got, err)
	}
	if _, err = resolve(Target{Address: "proxied"}); err == nil || !strings.Contains(err.Error(), "ProxyJump") {
		t.Error(err)
	}
	if _, err = resolve(Target{Address: "loop"}); err == nil || !strings.Contains(err.Error(), "behind itself") {
		t.Error(err)
	}
	if _, err = route(Target{Address: "x"}, "/no/such/config"); err == nil {
		t.Error("a named configuration that is missing is not an error")
	}
}

// What the parser makes of a configuration is what OpenSSH's client makes of
// it, for any that the parser is trusted with.
func TestTheParserAgreesWithTheSSHClient(t *testing.T) {
	t.Parallel()
	client, err := exec.LookPath("ssh")
	if err != nil {
		t.Skip("there is no ssh client to compare with: the parser of ssh_config is tried by its own tests only")
	}
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(words ...string) string { return words[random.IntN(len(words))] }
	for range 150 {
		var b strings.Builder
		end := pick("\n", "\n", "\r\n")
		for range 1 + random.IntN(8) {
			if random.IntN(3) == 0 {
				b.WriteString(pick("Host *", "Host web", "Host web db", "Host w*", "Host !web *", "Host=db", "host ?b", "Host * !d*") + end)
			}
			for range random.IntN(4) {
				line := pick(
					"HostName %h.example.com", "HostName 192.0.2.1", "HostName=10.0.0.1", "hostname 2001:db8::7", "HostName fe80::1%%eth0",
					"User ada", "User\tgrace", "USER = joan", "Port 2222", "Port=2200", "Port 22",
					"IdentityFile ~/.ssh/a", "IdentityFile /keys/%h-%r-%p-%n", `IdentityFile "/keys/with space"`, "IdentityFile %d/b", "IdentityFile ${HOME}/c", "IdentityFile none",
					"CertificateFile /keys/cert.pub", "IdentitiesOnly yes", "IdentitiesOnly no", "IdentityAgent none", "IdentityAgent /run/agent-%u", "IdentityAgent SSH_AUTH_SOCK",
					"ProxyJump none", "ProxyJump gate", "ProxyJump ada@gate:2022,[2001:db8::1]:22", "ProxyJump ssh://gate:99",
					"HostKeyAlias web-%h", "HostKeyAlias one", "UserKnownHostsFile /a /b", "UserKnownHostsFile none", "GlobalKnownHostsFile /c",
					"ConnectTimeout 7", "CanonicalizeHostname no", "StrictHostKeyChecking no", "ServerAliveInterval 10", "AddKeysToAgent yes", "ForwardAgent yes",
					"# comment", "  # indented", "", "SendEnv LANG LC_*", "LocalForward 8080 localhost:80")
				b.WriteString(pick("", "  ", "\t") + line + pick("", "", " ", "\t") + end)
			}
		}
		file := writeFile(t, filepath.Join(folder(t), "config"), b.String())
		config, err := loadConfig(file)
		if err != nil || config.client != "" {
			t.Fatalf("the parser does not take %q: %v", b.String(), err)
		}
		asking := &sshConfig{client: client, file: file}
		for _, alias := range []string{"web", "db", "2001:db8::5"} {
			got, err := config.route(alias, "", 0, 0, true)
			want, wantErr := asking.route(alias, "", 0, 0, true)
			if (err == nil) != (wantErr == nil) || !reflect.DeepEqual(got, want) {
				type plain hop
				for i := range min(len(got), len(want)) {
					t.Logf("%+v\n%+v", plain(got[i]), plain(want[i]))
				}
				t.Errorf("%s in\n%s\nis %v, %v\nfor ssh %v, %v", alias, b.String(), got, err, want, wantErr)
			}
		}
		if t.Failed() {
			return
		}
	}
}

func TestAConfigurationBeyondTheParserIsLeftToTheSSHClient(t *testing.T) {
	t.Parallel()
	config := writeFile(t, filepath.Join(folder(t), "config"), `
Match host web exec "true"
  HostName 192.0.2.7
  Port 2244
  User ada
  ProxyJump gate
Match host other exec "false"
  HostName wrong.example.com
Host web
  IdentityFile /keys/web
`)
	hops, err := route(Target{Address: "web"}, config)
	if err != nil || len(hops) != 2 || hops[1].addr() != "192.0.2.7:2244" || hops[1].user != "ada" || hops[0].host != "gate" {
		t.Fatalf("%+v, %v", hops, err)
	}
	if len(hops[1].identities) != 1 || len(hops[0].identities) != 0 {
		t.Errorf("identities %v and %v", hops[1].identities, hops[0].identities)
	}
	hops, err = route(Target{Address: "other"}, config)
	if err != nil || hops[0].host != "other" {
		t.Errorf("%+v, %v", hops, err)
	}
}

func TestAServerBehindABastionIsReachedAndEachHopIsChecked(t *testing.T) {
	t.Parallel()
	bastion, inner := startSSHD(t, []string{"ed25519"}), startSSHD(t, []string{"ed25519"})
	u := accounts(t)
	target := inner.target("root")
	jump := bastion.target(u.none)
	target.Address, target.Port = "inner", 0
	config := writeFile(t, filepath.Join(folder(t), "config"), fmt.Sprintf(`
Host inner
  HostName 127.0.0.1
  Port %d
  ProxyJump gate
Host gate
  HostName 127.0.0.1
  Port %d
  User %s
  IdentityFile %s
`, inner.port, bastion.port, u.none, jump.Identity))
	target.KnownHosts = []string{writeFile(t, filepath.Join(folder(t), "known_hosts"), bastion.line("ed25519"))}
	dials := 0
	c := dial(t, target, Options{Config: config, Dial: countDials(&dials)})
	if out := mustRun(t, c, Command{Script: "echo $SSH_CONNECTION"}); dials != 1 || !strings.HasSuffix(strings.TrimSpace(out), fmt.Sprint(inner.port)) {
		t.Errorf("%d dials, ended at %s", dials, out)
	}

	stranger := target
	stranger.KnownHosts = nil
	dialFails(t, stranger, Options{Config: config}, ErrHostKey, `bastion "gate" of production`)

	changed := target
	changed.KnownHosts = []string{writeFile(t, filepath.Join(folder(t), "known_hosts"),
		knownhosts.Line([]string{bastion.addr()}, inner.keys["ed25519"].PublicKey())+"\n")}
	dialFails(t, changed, Options{Config: config}, ErrHostKey, "has changed")

	lost := target
	lost.Port = freePort(t)
	dialFails(t, lost, Options{Config: config}, ErrUnreachable, "bastion")
}

func TestFilesWithCarriageReturnsAreRead(t *testing.T) {
	t.Parallel()
	server := startSSHD(t, []string{"ed25519"})
	target := server.unpinned(strings.ReplaceAll("# from Windows\n"+server.line("ed25519"), "\n", "\r\n"))
	private := newKey(t, "ed25519")
	crlf := func(file string) string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return writeFile(t, file, strings.ReplaceAll(string(text), "\n", "\r\n"))
	}
	target.Identity = crlf(writeKey(t, filepath.Join(folder(t), "id"), private))
	public := signer(t, private).PublicKey()
	writeFile(t, target.Identity+".pub", string(ssh.MarshalAuthorizedKey(public)))
	crlf(target.Identity + ".pub")
	server.admit("root", public)
	crlf(server.dir + "/keys-root")
	target.Address, target.Port, target.User = "web", 0, ""
	for _, start := range []string{"", "\ufeff"} {
		config := writeFile(t, filepath.Join(folder(t), "config"),
			fmt.Sprintf("%sHost web\r\n  HostName 127.0.0.1\r\n  Port %d\r\n  User root\r\n", start, server.port))
		c := dial(t, target, Options{Config: config})
		if out := mustRun(t, c, Command{Script: "printf 'a\\r\\nb\\r\\n'"}); out != "a\r\nb\r\n" {
			t.Errorf("got %q", out)
		}
	}
}

// Each keyword that is honoured, as a server sees it.
func TestWhatSSHConfigSaysIsDone(t *testing.T) {
	server := startSSHD(t, []string{"ed25519"})
	target := server.target("root")
	identity, pin := target.Identity, target.HostKey
	target.Identity = ""
	target.Address, target.Port, target.User = "web", 0, ""
	keyring := agent.NewKeyring()
	private, err := ssh.ParseRawPrivateKey([]byte(readFile(t, identity)))
	if err != nil {
		t.Fatal(err)
	}
	if err := keyring.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOLDFAST_TEST_SOCKET", serveAgent(t, keyring))
	dir := folder(t)
	included := writeFile(t, filepath.Join(dir, "included"), fmt.Sprintf("Host web\n  Port %d\n  User root\n  IdentityFile %s\n", server.port, identity))
	key := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(server.keys["ed25519"].PublicKey())))
	known := writeFile(t, filepath.Join(dir, "known-web"), "the-web "+key+"\n")
	unpinned := target
	unpinned.HostKey = ""
	base := fmt.Sprintf("Host web\n HostName 127.0.0.1\n Port %d\n User root\n", server.port)
	for name, test := range map[string]struct {
		target Target
		config string
	}{
		"Include":         {target, "Include " + included + "\nHost web\n HostName 127.0.0.1\n"},
		"Match host":      {target, "Match host web\n HostName 127.0.0.1\nMatch user root\n IdentityFile " + identity + "\n" + base},
		"Match all":       {target, base + "Match all\n IdentityFile " + identity + "\n"},
		"canonical names": {target, "CanonicalizeHostname yes\nCanonicalizeFallbackLocal yes\n" + base + " IdentityFile " + identity + "\n"},
		"no canonical":    {target, "CanonicalizeHostname no\n" + base + " IdentityFile " + identity + "\n"},
		"IdentityAgent":   {target, base + " IdentityAgent ${HOLDFAST_TEST_SOCKET}\n"},
		"HostKeyAlias":    {unpinned, base + " IdentityFile " + identity + "\n HostKeyAlias the-web\n UserKnownHostsFile " + dir + "/known-%n\n"},
		"no effect": {target, base + " IdentityFile " + identity + "\n AddKeysToAgent yes\n ServerAliveInterval 1\n ForwardAgent yes\n" +
			" RequestTTY force\n RemoteCommand /bin/false\n SendEnv *\n SetEnv A=b\n Ciphers 3des-cbc\n ControlMaster auto\n ControlPath /tmp/x\n LogLevel QUIET\n"},
	} {
		t.Run(name, func(t *testing.T) {
			config := writeFile(t, filepath.Join(folder(t), "config"), test.config)
			if out := mustRun(t, dial(t, test.target, Options{Config: config}), Command{Script: "id -un"}); out != "root\n" {
				t.Errorf("logged in as %q", out)
			}
		})
	}
	if pin == "" || readFile(t, known) != "the-web "+key+"\n" {
		t.Error("a file that ssh_config names was written to")
	}

	// It does not make host keys less strict.
	lax := base + " IdentityFile " + identity + "\n StrictHostKeyChecking no\n CheckHostIP no\n VerifyHostKeyDNS yes\n UserKnownHostsFile /dev/null\n"
	dialFails(t, unpinned, Options{Config: writeFile(t, filepath.Join(dir, "lax"), lax)}, ErrHostKey, "nothing is known")
	other := signer(t, newKey(t, "ed25519")).PublicKey()
	writeFile(t, known, "the-web "+string(ssh.MarshalAuthorizedKey(other)))
	changed := base + " HostKeyAlias the-web\n StrictHostKeyChecking no\n UserKnownHostsFile " + known + "\n"
	dialFails(t, unpinned, Options{Config: writeFile(t, filepath.Join(dir, "changed"), changed)}, ErrHostKey, "has changed", known+":1")

	// The time that it gives holds where the caller gives none.
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	config := writeFile(t, filepath.Join(dir, "timeout"), fmt.Sprintf("Host web\n HostName 127.0.0.1\n Port %d\n ConnectTimeout 1\n", silent.Addr().(*net.TCPAddr).Port))
	for _, timeout := range []time.Duration{0, 300 * time.Millisecond} {
		started := time.Now()
		dialFails(t, target, Options{Config: config, Timeout: timeout}, ErrUnreachable, "in time")
		if d := time.Since(started); timeout == 0 && d < 900*time.Millisecond || d > timeout+3*time.Second {
			t.Errorf("with timeout %v it took %v", timeout, d)
		}
	}
}

func readFile(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAServerBehindSeveralBastionsIsReachedAndEachHopIsChecked(t *testing.T) {
	t.Parallel()
	hops := []*sshd{startSSHD(t, []string{"ed25519"}), startSSHD(t, []string{"ecdsa"}), startSSHD(t, []string{"rsa"})}
	target := hops[2].target("root")
	for _, s := range hops[:2] {
		s.admit("root", signer(t, mustParse(t, target.Identity)).PublicKey())
	}
	config := writeFile(t, filepath.Join(folder(t), "config"), fmt.Sprintf("Host 127.0.0.1\n  IdentityFile %s\nMatch host 127.0.0.1 exec \"test %%p = %d\"\n  ProxyJump root@%s,root@%s\n",
		target.Identity, hops[2].port, hops[0].addr(), hops[1].addr()))
	lines := []string{hops[0].line("ed25519"), hops[1].line("ecdsa")}
	file := filepath.Join(folder(t), "known_hosts")
	target.KnownHosts = []string{file}
	for known := range 4 {
		writeFile(t, file, strings.Join(lines[:min(known, 2)], ""))
		if known < 2 {
			dialFails(t, target, Options{Config: config}, ErrHostKey, fmt.Sprint(hops[known].port), "bastion", "nothing is known")
			continue
		}
		c := dial(t, target, Options{Config: config})
		if out := mustRun(t, c, Command{Script: "echo $SSH_CONNECTION"}); !strings.HasSuffix(strings.TrimSpace(out), fmt.Sprint(hops[2].port)) {
			t.Errorf("ended at %s", out)
		}
	}
}

func mustParse(t *testing.T, identity string) any {
	t.Helper()
	private, err := ssh.ParseRawPrivateKey([]byte(readFile(t, identity)))
	if err != nil {
		t.Fatal(err)
	}
	return private
}

// FuzzConfig: whatever ssh_config holds, it is understood or refused, the ways
// it gives are short, and each hop has an address.
func FuzzConfig(f *testing.F) {
	for _, s := range []string{"", "Host *\n ProxyJump a,b,c\n", "Host a\nProxyJump a\n", "Host \"", "HostName %h%h\nPort 99999", "Host !*\nUser \x00",
		"ProxyJump [::1]:22", "HostKeyAlias \nUserKnownHostsFile \"a b\" c", "ConnectTimeout -1", "IdentityFile ${", "\ufeffHost *\r\n  Port 22\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if conditional, includes := foreign(text, t.TempDir()); conditional || includes || strings.Contains(strings.ToLower(text), "include") {
			return // ssh's part
		}
		parsed, err := ssh_config.DecodeBytes([]byte(text))
		if err != nil {
			return
		}
		config := &sshConfig{parsed: []*ssh_config.Config{parsed}}
		for _, alias := range []string{"web", "::1", "a"} {
			hops, err := config.route(alias, "", 0, 0, true)
			if err != nil {
				continue
			}
			if len(hops) == 0 || hops[len(hops)-1].bastion {
				t.Fatalf("%q leads nowhere", alias)
			}
			for _, h := range hops {
				if h.port < 1 || h.port > 65535 || h.timeout < 0 {
					t.Fatalf("%+v", h)
				}
			}
		}
	})
}

// FuzzJump: a hop of ProxyJump is refused, or means the same when written out.
func FuzzJump(f *testing.F) {
	for _, s := range []string{"gate", "ada@gate:2222", "ssh://ada@gate:2222/", "[::1]:22", "::1", "a@b@c", "@", ":", "gate:", "gate:0", "[fe80::1%eth0]:22", "ssh://"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		host, login, port, err := parseJump(spec)
		if err != nil {
			return
		}
		if host == "" || port < 0 || port > 65535 {
			t.Fatalf("%q is %q, %q, %d", spec, host, login, port)
		}
		if port == 0 || strings.ContainsAny(host, "[]@") || host != strings.TrimSpace(host) || strings.HasPrefix(login, "ssh://") || strings.TrimSpace(login) != login {
			return
		}
		written := net.JoinHostPort(host, fmt.Sprint(port))
		if login != "" {
			written = login + "@" + written
		}
		againHost, againLogin, againPort, err := parseJump(written)
		if err != nil || againHost != host || againLogin != login || againPort != port {
			t.Fatalf("%q is %q, %q, %d, and %q is %q, %q, %d, %v", spec, host, login, port, written, againHost, againLogin, againPort, err)
		}
	})
}
