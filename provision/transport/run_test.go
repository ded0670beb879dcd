package transport

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// each runs a test as root, and as users who become root without and with a
// password, whose login shells are bash and sh (dash).
func each(t *testing.T, test func(t *testing.T, c *Conn)) {
	server := startSSHD(t, []string{"ed25519"})
	u := accounts(t)
	password := func() (string, error) { return u.password, nil }
	t.Run("as root", func(t *testing.T) { test(t, dial(t, server.target("root"), Options{})) })
	t.Run("sudo without password", func(t *testing.T) { test(t, dial(t, server.target(u.free), Options{})) })
	t.Run("sudo with password", func(t *testing.T) { test(t, dial(t, server.target(u.asks), Options{SudoPassword: password})) })
	t.Run("sudo with a password it does not need", func(t *testing.T) {
		test(t, dial(t, server.target(u.free), Options{SudoPassword: func() (string, error) {
			t.Error("asked for a password")
			return u.password, nil
		}}))
	})
}

func TestAScriptRunsAsRootWithItsStreamsUntouched(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *Conn) {
		for range 2 { // what the first run learns about sudo must not hurt the second
			var out, errs bytes.Buffer
			err := c.Run(t.Context(), Command{Sudo: true, Stdout: &out, Stderr: &errs,
				Script: "id -un; printf '%s\\n' \"it's a \\\\ \\$HOME \\`x\\`\"; echo complaint >&2; cat; echo \"${LC_ALL-unset}\""})
			if err != nil {
				t.Fatal(err)
			}
			if want := "root\nit's a \\ $HOME `x`\nunset\n"; out.String() != want {
				t.Errorf("stdout is %q, want %q", out.String(), want)
			}
			if errs.String() != "complaint\n" {
				t.Errorf("stderr is %q", errs.String())
			}
		}
	})
}

func TestStdinReachesTheScriptByteForByte(t *testing.T) {
	t.Parallel()
	input := make([]byte, 3<<20)
	rand.Read(input)
	each(t, func(t *testing.T, c *Conn) {
		for _, size := range []int{0, 1, len(input)} {
			out := mustRun(t, c, Command{Sudo: true, Script: "cat", Stdin: bytes.NewReader(input[:size])})
			if out != string(input[:size]) {
				t.Errorf("%d bytes came back as %d", size, len(out))
			}
		}
	})
}

func TestAScriptLongerThanOneArgumentRuns(t *testing.T) {
	t.Parallel()
	var script strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&script, "x=%d # it's a long script\n", i)
	}
	script.WriteString("echo $x; cat")
	each(t, func(t *testing.T, c *Conn) {
		if out := mustRun(t, c, Command{Sudo: true, Script: script.String()}); out != "19999\n" {
			t.Errorf("got %q", out)
		}
		out := mustRun(t, c, Command{Sudo: true, Script: script.String(), Stdin: strings.NewReader("after")})
		if out != "19999\nafter" {
			t.Errorf("with stdin: got %q", out)
		}
	})
}

func TestAScriptAroundTheArgumentLimitRuns(t *testing.T) {
	t.Parallel()
	server := startSSHD(t, []string{"ed25519"})
	u := accounts(t)
	for _, user := range []string{"root", u.free} {
		c := dial(t, server.target(user), Options{})
		for size := maxArgument - 700; size < maxArgument+50; size += 50 {
			script := "echo ok #" + strings.Repeat("x", size)
			if out := mustRun(t, c, Command{Sudo: true, Script: script}); out != "ok\n" {
				t.Errorf("%s, %d bytes: got %q", user, size, out)
			}
		}
	}
}

func TestAFailingScriptGivesItsCodeAndTheTailOfStderr(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *Conn) {
		for _, code := range []int{1, 3, 74, 127, 255} {
			err := c.Run(t.Context(), Command{Sudo: true, Script: fmt.Sprintf("yes noise | head -c 9000 >&2; echo the reason >&2; exit %d", code)})
			var exit *ExitError
			if !errors.As(err, &exit) || exit.Code != code || len(exit.Stderr) != stderrTail || !strings.HasSuffix(exit.Stderr, "the reason\n") {
				t.Errorf("code %d: %v", code, err)
				continue
			}
			wants(t, err, nil, fmt.Sprintf("exited %d", code), "the reason")
		}
		err := c.Run(t.Context(), Command{Sudo: true, Script: "if"})
		var exit *ExitError
		if !errors.As(err, &exit) || !strings.Contains(strings.ToLower(exit.Stderr), "syntax error") {
			t.Errorf("a syntax error: %v", err)
		}
	})
}

func TestAScriptEndedByASignalSaysSo(t *testing.T) {
	t.Parallel()
	c := dial(t, startSSHD(t, []string{"ed25519"}).target("root"), Options{})
	err := c.Run(t.Context(), Command{Script: "kill -KILL $$"})
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Signal != "KILL" || exit.Code != 137 {
		t.Errorf("%#v", err)
	}
	wants(t, err, nil, "signal KILL")
}

func TestSudoIsNotUsedUnlessAskedFor(t *testing.T) {
	t.Parallel()
	u := accounts(t)
	c := dial(t, startSSHD(t, []string{"ed25519"}).target(u.free), Options{})
	if out := mustRun(t, c, Command{Script: "id -un"}); out != u.free+"\n" {
		t.Errorf("ran as %q", out)
	}
}

func TestSudoThatFailsIsToldFromAScriptThatFails(t *testing.T) {
	t.Parallel()
	server := startSSHD(t, []string{"ed25519"})
	u := accounts(t)
	bare := startSSHD(t, []string{"ed25519"}, "SetEnv PATH=$DIR/bin")
	if out, err := exec.Command("sh", "-c", "mkdir "+bare.dir+"/bin && ln -s /usr/bin/env /bin/sh "+bare.dir+"/bin").CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	answer := func(password string) func() (string, error) {
		return func() (string, error) { return password, nil }
	}
	for name, test := range map[string]struct {
		server   *sshd
		user     string
		password func() (string, error)
		mention  string
	}{
		"a password is needed":      {server, u.asks, nil, "NOPASSWD"},
		"the password is wrong":     {server, u.asks, answer("wrong-one"), "does not accept the password"},
		"the person declines":       {server, u.asks, func() (string, error) { return "", errors.New("no terminal") }, "no terminal"},
		"not in sudoers":            {server, u.none, answer(u.password), "/etc/sudoers.d/" + u.none},
		"not in sudoers, no word":   {server, u.none, nil, "NOPASSWD"},
		"no sudo there":             {bare, u.free, nil, "apt-get install sudo"},
		"no sudo there, a password": {bare, u.free, answer("x"), "apt-get install sudo"},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, test.server.target(test.user), Options{SudoPassword: test.password})
			for _, stdin := range []io.Reader{nil, strings.NewReader("input")} {
				out, err := run(t, c, Command{Sudo: true, Script: "echo should not run; echo 'script text' >&2", Stdin: stdin})
				wants(t, err, ErrSudo, test.mention, "production")
				var exit *ExitError
				if errors.As(err, &exit) || out != "" {
					t.Errorf("the script ran: %q, %v", out, err)
				}
				for _, secret := range []string{"wrong-one", u.password, "script text"} {
					if strings.Contains(err.Error(), secret) {
						t.Errorf("the message holds %q: %v", secret, err)
					}
				}
			}
		})
	}
}

func TestTheSudoPasswordIsAskedForOnceAndAgainAfterAWrongOne(t *testing.T) {
	t.Parallel()
	server := startSSHD(t, []string{"ed25519"})
	u := accounts(t)
	asked, password := 0, "wrong"
	c := dial(t, server.target(u.asks), Options{SudoPassword: func() (string, error) { asked++; return password, nil }})
	_, err := run(t, c, Command{Sudo: true, Script: "true"})
	wants(t, err, ErrSudo)
	password = u.password
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			if _, err := run(t, c, Command{Sudo: true, Script: "true"}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
}

func TestThePasswordIsInNoProcessListAndTheScriptInNoSudoLog(t *testing.T) {
	t.Parallel()
	server := startSSHD(t, []string{"ed25519"})
	u := accounts(t)
	c := dial(t, server.target(u.asks), Options{SudoPassword: func() (string, error) { return u.password, nil }})
	out := mustRun(t, c, Command{Sudo: true, Script: "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'; echo; echo in-the-script"})
	if strings.Contains(out, u.password) {
		t.Error("the password is in an argument list or environment")
	}
	if !strings.Contains(out, "sudo") || strings.Count(out, "in-the-script") != 1 {
		t.Error("the script is an argument of sudo")
	}
}

func TestCancellingEndsTheScriptAndReturnsAtOnce(t *testing.T) {
	t.Parallel()
	u := accounts(t)
	c := dial(t, startSSHD(t, []string{"ed25519"}).target(u.free), Options{})
	tag := rand.Text()
	ctx, cancel := context.WithCancel(t.Context())
	started := time.Now()
	time.AfterFunc(300*time.Millisecond, cancel)
	err := c.Run(ctx, Command{Script: "sleep 60 # \n: " + tag + "\nsleep 60"})
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "production") {
		t.Error(err)
	}
	if d := time.Since(started); d > time.Second {
		t.Errorf("it took %v", d)
	}
	for range 50 {
		if exec.Command("pgrep", "-f", "sh -c.*"+tag).Run() != nil {
			mustRun(t, c, Command{Script: "true"}) // the connection lives on
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("the script still runs")
}

func TestMoreCommandsThanSessionsWaitForEachOther(t *testing.T) {
	t.Parallel()
	c := dial(t, startSSHD(t, []string{"ed25519"}, "MaxSessions 4").target("root"), Options{})
	var group sync.WaitGroup
	for i := range 14 {
		group.Go(func() {
			if out, err := run(t, c, Command{Script: fmt.Sprintf("sleep 0.05; echo %d", i)}); err != nil || out != fmt.Sprintln(i) {
				t.Errorf("%d: %q, %v", i, out, err)
			}
		})
	}
	group.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	for range maxSessions {
		group.Go(func() { run(t, c, Command{Script: "sleep 0.5"}) })
	}
	time.Sleep(100 * time.Millisecond)
	if err := c.Run(ctx, Command{Script: "true"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for a session cannot be cancelled: %v", err)
	}
	group.Wait()
}

func TestAWriterOrReaderThatFailsEndsTheCommand(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *Conn) {
		full := errors.New("disk full")
		err := c.Run(t.Context(), Command{Sudo: true, Script: "echo x; sleep 0.2; echo y", Stdout: writerFunc(func([]byte) (int, error) { return 0, full })})
		if !errors.Is(err, full) {
			t.Errorf("writer: %v", err)
		}
		torn := errors.New("torn file")
		file := filepath.Join(folder(t), "whole")
		err = c.Run(t.Context(), Command{Sudo: true, Script: "cat >/dev/null && sleep 0.3 && touch " + file, Stdin: io.MultiReader(strings.NewReader("begin"), failingReader{torn})})
		if !errors.Is(err, torn) {
			t.Errorf("reader: %v", err)
		}
	})
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

func TestAForcedCommandOrALostConnectionIsNotASuccess(t *testing.T) {
	t.Parallel()
	server := startSSHD(t, []string{"ed25519"})
	c := dial(t, server.target("root"), Options{})
	err := c.Run(t.Context(), Command{Script: "kill -KILL $PPID; sleep 5"}) // our sshd process
	wants(t, err, ErrUnreachable, "production", "run again")
	err = c.Run(t.Context(), Command{Script: "true"})
	wants(t, err, ErrUnreachable)
	c.Close()

	c = dial(t, server.target("root"), Options{})
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := c.Run(t.Context(), Command{Script: "true"}); err == nil || errors.Is(err, ErrUnreachable) {
		t.Errorf("after Close: %v", err)
	}
}
