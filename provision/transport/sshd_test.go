package transport

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// The tests talk to OpenSSH's own server, started as root on the loopback, and
// log in as throw-away users of this machine.

const sshdPath = "/usr/sbin/sshd"

// scratch is a folder that the throw-away users can enter, unlike t.TempDir.
var scratch string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if scratch, err = os.MkdirTemp("", "transport-"); err != nil {
			panic(err)
		}
		defer os.RemoveAll(scratch)
		if err := os.Chmod(scratch, 0o755); err != nil {
			panic(err)
		}
		// The operator's own keys, agent and configuration stay out of it.
		os.Setenv("HOME", filepath.Join(scratch, "nobody"))
		os.Unsetenv("SSH_AUTH_SOCK")
		defer removeAccounts()
		return m.Run()
	}())
}

// users are three accounts: free needs no password for sudo, asks needs one,
// none may not use sudo.
type users struct{ free, asks, none, password string }

var (
	accountsOnce  sync.Once
	accountsValue users
	accountsError error
	accountsMade  []string
	accountsMutex sync.Mutex
)

// accounts creates the throw-away users, which TestMain removes.
func accounts(t testing.TB) users {
	t.Helper()
	accountsOnce.Do(func() {
		tag := "hft" + strings.ToLower(rand.Text()[:6])
		u := users{free: tag + "free", asks: tag + "asks", none: tag + "none", password: "Gr8" + rand.Text()}
		shells := map[string]string{u.free: "/bin/bash", u.asks: "/bin/sh", u.none: "/bin/bash"}
		for _, name := range []string{u.free, u.asks, u.none} {
			if accountsError = createAccount(name, shells[name], u.password); accountsError != nil {
				return
			}
		}
		rules := fmt.Sprintf("%s ALL=(ALL) NOPASSWD: ALL\n%s ALL=(ALL) ALL\nDefaults:%s,%s use_pty\n", u.free, u.asks, u.free, u.asks)
		accountsError = os.WriteFile(sudoersFile(u), []byte(rules), 0o440)
		accountsValue = u
	})
	if accountsError != nil {
		t.Fatalf("create throw-away users (the test needs root, passwd and sudo): %v", accountsError)
	}
	return accountsValue
}

// createAccount adds a user that TestMain removes.
func createAccount(name, shell, password string) error {
	accountsMade = append(accountsMade, name)
	if out, err := exec.Command("useradd", "--create-home", "--shell", shell, name).CombinedOutput(); err != nil {
		return fmt.Errorf("useradd: %w: %s", err, out)
	}
	cmd := exec.Command("chpasswd")
	cmd.Stdin = strings.NewReader(name + ":" + password + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("chpasswd: %w: %s", err, out)
	}
	return nil
}

// account is one more throw-away user, with a login shell and what the
// sudoers say of it, such as "ALL=(ALL) NOPASSWD: ALL"; "" for nothing.
func account(t testing.TB, shell, sudo string) (name, password string) {
	t.Helper()
	accounts(t)
	accountsMutex.Lock()
	defer accountsMutex.Unlock()
	name, password = "hft"+strings.ToLower(rand.Text()[:8]), "Gr8"+rand.Text()
	if err := createAccount(name, shell, password); err != nil {
		t.Fatal(err)
	}
	if sudo != "" {
		file := "/etc/sudoers.d/" + name
		rules := fmt.Sprintf("%s %s\n", name, strings.ReplaceAll(sudo, "$USER", name))
		if err := os.WriteFile(file, []byte(rules), 0o440); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Remove(file) })
	}
	return name, password
}

func sudoersFile(u users) string { return filepath.Join("/etc/sudoers.d", u.free) }

func removeAccounts() {
	if len(accountsMade) == 0 {
		return
	}
	os.Remove(sudoersFile(accountsValue))
	for _, name := range accountsMade {
		exec.Command("userdel", "--remove", "--force", name).Run()
	}
}

// An sshd is one running server.
type sshd struct {
	t       testing.TB
	dir     string
	host    string // address it listens on, an IPv6 zone after "%"
	port    int
	keys    map[string]ssh.Signer // host keys: "ed25519", "ecdsa", "rsa"
	config  []string              // lines of sshd_config
	process *os.Process
}

// startSSHD starts a server with host keys of all three kinds, or with those
// of kinds, and further lines of sshd_config.
func startSSHD(t testing.TB, kinds []string, lines ...string) *sshd {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can start an sshd that lets other users in: without it nothing of the transport is tried; .ci/run is root")
	}
	if _, err := os.Stat(sshdPath); err != nil {
		t.Fatalf("%v: apt-get install openssh-server", err)
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		t.Fatal(err)
	}
	if kinds == nil {
		kinds = []string{"ed25519", "ecdsa", "rsa"}
	}
	s := &sshd{t: t, dir: folder(t), host: "127.0.0.1", keys: map[string]ssh.Signer{}}
	for _, line := range lines {
		if host, ok := strings.CutPrefix(line, "ListenAddress "); ok {
			s.host = host
		}
	}
	config := []string{
		"PidFile none", "StrictModes no", "UsePAM no",
		"PasswordAuthentication no", "KbdInteractiveAuthentication no", "LogLevel ERROR",
		"AuthorizedKeysFile " + s.dir + "/keys-%u",
	}
	if !strings.Contains(strings.Join(lines, "\n"), "Subsystem") {
		config = append(config, "Subsystem sftp internal-sftp")
	}
	if !strings.Contains(strings.Join(lines, "\n"), "MaxStartups") { // of this one the last counts
		config = append(config, "MaxStartups 200")
	}
	if !strings.Contains(strings.Join(lines, "\n"), "ListenAddress") {
		config = append(config, "ListenAddress "+s.host)
	}
	for _, kind := range kinds {
		private := newKey(t, kind)
		config = append(config, "HostKey "+writeKey(t, filepath.Join(s.dir, "host_"+kind), private))
		s.keys[kind] = signer(t, private)
	}
	s.config = append(slices.Clone(lines), config...) // the first value counts
	for range 5 {                                     // somebody else may take the free port meanwhile
		s.configure()
		if s.start() {
			return s
		}
	}
	t.Fatal("sshd does not start")
	return nil
}

// configure writes the configuration with a new port and further lines that go
// before the others.
func (s *sshd) configure(lines ...string) {
	s.t.Helper()
	s.config = append(slices.Clone(lines), s.config...)
	s.port = freePort(s.t)
	write := func(lines ...string) {
		text := strings.Join(append(lines, s.config...), "\n")
		writeFile(s.t, s.file(), strings.ReplaceAll(text, "$DIR", s.dir)+"\n")
	}
	port := fmt.Sprint("Port ", s.port)
	// OpenSSH from 9.8 on bans addresses that fail to log in; older ones don't
	// know the word.
	write(port, "PerSourcePenalties no")
	if exec.Command(sshdPath, "-t", "-f", s.file()).Run() != nil {
		write(port)
	}
}

func (s *sshd) file() string { return filepath.Join(s.dir, "sshd_config") }

// start reports whether the server came up on its port.
func (s *sshd) start() bool {
	t := s.t
	var log bytes.Buffer
	cmd := exec.Command(sshdPath, "-D", "-e", "-f", s.file())
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.process = cmd.Process
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("sshd on port %d said:\n%s", s.port, log.String())
		}
	})
	return s.listens(ended)
}

// listens reports whether the server answers on its port before it ends.
func (s *sshd) listens(ended <-chan struct{}) bool {
	for {
		if conn, err := net.Dial("tcp", s.addr()); err == nil {
			conn.Close()
			return true
		}
		select {
		case <-ended:
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// reload moves the running server to another port, as "systemctl reload ssh"
// does after a change of sshd_config.
func (s *sshd) reload(lines ...string) {
	s.t.Helper()
	s.configure(lines...)
	if err := s.process.Signal(syscall.SIGHUP); err != nil {
		s.t.Fatal(err)
	}
	patience := make(chan struct{})
	time.AfterFunc(5*time.Second, func() { close(patience) })
	if !s.listens(patience) {
		s.t.Fatal("sshd does not come back")
	}
}

func (s *sshd) addr() string { return net.JoinHostPort(s.host, strconv.Itoa(s.port)) }

// admit lets public keys log in as user.
func (s *sshd) admit(user string, keys ...ssh.PublicKey) {
	s.t.Helper()
	var b bytes.Buffer
	for _, k := range keys {
		b.Write(ssh.MarshalAuthorizedKey(k))
	}
	if err := os.WriteFile(filepath.Join(s.dir, "keys-"+user), b.Bytes(), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// target is a login as user with a fresh identity that the server admits and
// the host key pinned.
func (s *sshd) target(user string) Target {
	s.t.Helper()
	private := newKey(s.t, "ed25519")
	s.admit(user, signer(s.t, private).PublicKey())
	target := Target{Name: "production", Address: s.host, Port: s.port, User: user,
		Identity: writeKey(s.t, filepath.Join(folder(s.t), "id"), private)}
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		if k, ok := s.keys[kind]; ok {
			target.HostKey = ssh.FingerprintSHA256(k.PublicKey())
			break
		}
	}
	return target
}

func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(scratch, "t")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func newKey(t testing.TB, kind string) any {
	t.Helper()
	var key any
	var err error
	switch kind {
	case "ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case "ecdsa":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "rsa":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func signer(t testing.TB, private any) ssh.Signer {
	t.Helper()
	s, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func writeKey(t testing.TB, file string, private any) string {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(private, "test")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, file, string(pem.EncodeToMemory(block)))
	return file
}

func writeFile(t testing.TB, file, content string) string {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// dial connects and closes at the end of the test.
func dial(t testing.TB, target Target, options Options) *Conn {
	t.Helper()
	if options.Config == "" {
		options.Config = "none"
	}
	c, err := Dial(t.Context(), target, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// dialFails connects in vain.
func dialFails(t testing.TB, target Target, options Options, kind error, mentions ...string) error {
	t.Helper()
	if options.Config == "" {
		options.Config = "none"
	}
	c, err := Dial(t.Context(), target, options)
	if err == nil {
		c.Close()
		t.Fatal("the connection came about")
	}
	wants(t, err, kind, mentions...)
	return err
}

// wants checks an error's kind and that its message says what it must.
func wants(t testing.TB, err, kind error, mentions ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %v", kind)
	}
	for _, other := range []error{ErrUnreachable, ErrHostKey, ErrAuth, ErrShell, ErrSudo} {
		if is(err, other) != (other == kind) {
			t.Errorf("errors.Is(err, %v) is %v for: %v", other, is(err, other), err)
		}
	}
	for _, m := range mentions {
		if !strings.Contains(err.Error(), m) {
			t.Errorf("the message lacks %q: %v", m, err)
		}
	}
}

// run runs a script and returns its stdout.
func run(t testing.TB, c *Conn, command Command) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	command.Stdout = &out
	err := c.Run(ctx, command)
	return out.String(), err
}

func mustRun(t testing.TB, c *Conn, command Command) string {
	t.Helper()
	out, err := run(t, c, command)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
