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

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
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
