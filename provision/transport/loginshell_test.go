package transport

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// trying are characters that some shell treats differently from the others.
const trying = "it's \\ \\\\ \\0 \\n \\c %s %% !! !$ $HOME `id` \"q\" ~ {a,b} [x] * ? # ; & | < > ^ é\tend"

// loginShells are those that are installed, of the ones that people use.
func loginShells(t *testing.T) []string {
	var found []string
	for _, name := range []string{"bash", "dash", "zsh", "ksh", "fish", "tcsh", "csh"} {
		if path, err := exec.LookPath(name); err == nil {
			found = append(found, path)
		} else {
			t.Logf("%s is not installed and not tried", name)
		}
	}
	return found
}

func TestEveryLoginShellRunsTheSameScripts(t *testing.T) {
	t.Parallel()
	server := startSSHD(t, []string{"ed25519"})
	script := "cat <<'END'\n" + trying + "\nEND\nif true; then\n\techo \"$# ${LC_ALL-unset}\"\nfi\ncat; echo error >&2; exit 3"
	for _, shell := range loginShells(t) {
		t.Run(filepath.Base(shell), func(t *testing.T) {
			free, _ := account(t, shell, "ALL=(ALL) NOPASSWD: ALL")
			asks, password := account(t, shell, "ALL=(ALL) ALL")
			answer := func() (string, error) { return password, nil }
			for _, way := range []struct {
				user     string
				sudo     bool
				password func() (string, error)
			}{{free, false, nil}, {free, true, nil}, {asks, true, answer}} {
				c := dial(t, server.target(way.user), Options{SudoPassword: way.password})
				for _, padding := range []string{"", "\n#" + strings.Repeat("x", maxArgument)} {
					for _, input := range []string{"", "input\n"} {
						command := Command{Sudo: way.sudo, Script: script + padding}
						if input != "" {
							command.Stdin = strings.NewReader(input)
						}
						var out, errs bytes.Buffer
						command.Stdout, command.Stderr = &out, &errs
						var exit *ExitError
						if err := c.Run(t.Context(), command); !errors.As(err, &exit) || exit.Code != 3 {
							t.Errorf("%+v: %v", way, err)
						}
						if want := trying + "\n0 unset\n" + input; out.String() != want || errs.String() != "error\n" {
							t.Errorf("%+v: got %q and %q, want %q", way, out.String(), errs.String(), want)
						}
					}
				}
			}
		})
	}
}

// greet lets everything print that a login may run before a command.
func greet(t *testing.T, user string) {
	t.Helper()
	home := "/home/" + user
	if err := os.MkdirAll(home+"/.ssh", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(home+"/.config/fish", 0o755); err != nil {
		t.Fatal(err)
	}
	const posix = "echo 'Welcome to Debian!'; echo warning >&2; printf 'no line end'\n"
	for file, text := range map[string]string{
		".bashrc": posix, ".profile": posix, ".bash_profile": posix, ".zshenv": posix, ".ssh/rc": posix,
		".config/fish/config.fish": posix, ".tcshrc": "echo 'Welcome to Debian'\n", ".cshrc": "echo 'Welcome'\n", ".bash_logout": posix,
	} {
		writeFile(t, filepath.Join(home, file), text)
	}
	if out, err := exec.Command("chown", "-R", user+":", home).CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
}

func TestWhatALoginPrintsDoesNotReachTheOutput(t *testing.T) {
	t.Parallel()
	server := startSSHD(t, []string{"ed25519"}, "PrintMotd yes", "Banner $DIR/banner")
	writeFile(t, server.dir+"/banner", "Authorised use only\r\n")
	for _, shell := range loginShells(t) {
		t.Run(filepath.Base(shell), func(t *testing.T) {
			user, _ := account(t, shell, "ALL=(ALL) NOPASSWD: ALL\nDefaults:$USER lecture=always, use_pty")
			greet(t, user)
			c := dial(t, server.target(user), Options{})
			for _, sudo := range []bool{false, true} {
				var out, errs bytes.Buffer
				if err := c.Run(t.Context(), Command{Sudo: sudo, Script: "echo fact; echo complaint >&2", Stdout: &out, Stderr: &errs}); err != nil {
					t.Error(err)
				}
				if out.String() != "fact\n" || errs.String() != "complaint\n" {
					t.Errorf("got %q and %q", out.String(), errs.String())
				}
			}
			held, err := c.Hold(t.Context(), Command{Sudo: true, Script: "echo ready; cat >/dev/null"})
			if err != nil {
				t.Fatal(err)
			}
			held.Release()
		})
	}
}

func TestAServerThatRunsNoScriptsIsNamedWithWhatToDo(t *testing.T) {
	t.Parallel()
	plain := startSSHD(t, []string{"ed25519"})
	refusing := writeFile(t, filepath.Join(folder(t), "menu"), "#!/bin/sh\nprintf '\\033[2JPress any key\\r\\n'\nexit 0\n")
	if err := os.Chmod(refusing, 0o755); err != nil {
		t.Fatal(err)
	}
	nologin, _ := account(t, "/usr/sbin/nologin", "")
	menu, _ := account(t, refusing, "")
	silent, _ := account(t, "/bin/false", "")
	expired, _ := account(t, "/bin/bash", "ALL=(ALL) NOPASSWD: ALL")
	if out, err := exec.Command("chage", "-d", "0", expired).CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	for name, test := range map[string]struct {
		server   *sshd
		user     string
		mentions []string
	}{
		"nologin":            {plain, nologin, []string{"nologin", "usermod --shell /bin/bash " + nologin}},
		"a menu":             {plain, menu, []string{`Press any key"`, "status 0", "ForceCommand"}},
		"a shell that fails": {plain, silent, []string{"said nothing", "getent passwd"}},
		"a forced command":   {startSSHD(t, []string{"ed25519"}, "ForceCommand echo this is a backup account"), "root", []string{"this is a backup account", "ForceCommand"}},
		"files only":         {startSSHD(t, []string{"ed25519"}, "ForceCommand internal-sftp"), "root", []string{"transfer files only"}},
		"password expired":   {startSSHD(t, []string{"ed25519"}, "UsePAM yes"), expired, []string{"chage -d", "log in once with ssh"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, test.server.target(test.user), Options{})
			for _, sudo := range []bool{false, true} {
				out, err := run(t, c, Command{Script: "echo fact", Sudo: sudo})
				wants(t, err, ErrShell, append(test.mentions, "production")...)
				if out != "" || strings.Contains(err.Error(), "\033") || strings.Contains(err.Error(), `\x1b`) {
					t.Errorf("output %q, %v", out, err)
				}
			}
			if _, err := c.Hold(t.Context(), Command{Script: "echo ready; cat >/dev/null"}); !errors.Is(err, ErrShell) {
				t.Errorf("hold: %v", err)
			}
		})
	}
}

func TestSudoThatInsistsOnATerminalIsNamed(t *testing.T) {
	t.Parallel()
	server := startSSHD(t, []string{"ed25519"})
	free, _ := account(t, "/bin/bash", "ALL=(ALL) NOPASSWD: ALL\nDefaults:$USER requiretty")
	asks, password := account(t, "/bin/bash", "ALL=(ALL) ALL\nDefaults:$USER requiretty")
	for _, user := range []string{free, asks} {
		c := dial(t, server.target(user), Options{SudoPassword: func() (string, error) { return password, nil }})
		_, err := run(t, c, Command{Sudo: true, Script: "true"})
		wants(t, err, ErrSudo, "requiretty", "Defaults:"+user+" !requiretty")
	}
}

func TestAnyShMayBeBehindTheName(t *testing.T) {
	t.Parallel()
	for _, sh := range []string{"dash", "bash", "busybox", "ksh"} {
		path, err := exec.LookPath(sh)
		if err != nil {
			t.Logf("%s is not installed and not tried", sh)
			continue
		}
		server := startSSHD(t, []string{"ed25519"}, "SetEnv PATH=$DIR/bin:/usr/bin:/bin", "LogLevel QUIET", "AcceptEnv *")
		if err := os.Mkdir(server.dir+"/bin", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, server.dir+"/bin/sh"); err != nil {
			t.Fatal(err)
		}
		c := dial(t, server.target("root"), Options{})
		for _, padding := range []string{"", "\n#" + strings.Repeat("x", maxArgument)} {
			out, err := run(t, c, Command{Script: "cat <<'END'\n" + trying + "\nEND\ncat" + padding, Stdin: strings.NewReader("in\r\nput")})
			if err != nil || out != trying+"\nin\r\nput" {
				t.Errorf("%s: %q, %v", sh, out, err)
			}
		}
	}
}

func TestFewSessionsAreEnough(t *testing.T) {
	t.Parallel()
	for _, most := range []int{1, 2} {
		c := dial(t, startSSHD(t, []string{"ed25519"}, fmt.Sprint("MaxSessions ", most)).target("root"), Options{})
		var group sync.WaitGroup
		for i := range 8 {
			group.Go(func() {
				if out, err := run(t, c, Command{Script: fmt.Sprintf("sleep 0.1; echo %d", i)}); err != nil || out != fmt.Sprintln(i) {
					t.Errorf("%d: %q, %v", i, out, err)
				}
			})
		}
		group.Wait()
		held, err := c.Hold(t.Context(), Command{Script: "echo ready; cat >/dev/null"})
		if err != nil {
			t.Fatal(err)
		}
		started := time.Now()
		_, err = run(t, c, Command{Script: "true"})
		if most > 1 {
			if err != nil {
				t.Error(err)
			}
		} else {
			wants(t, err, nil, "MaxSessions", "production")
		}
		if d := time.Since(started); d > 5*time.Second {
			t.Errorf("it took %v", d)
		}
		if err := held.Release(); err != nil {
			t.Error(err)
		}
		mustRun(t, c, Command{Script: "true"})
	}
	c := dial(t, startSSHD(t, []string{"ed25519"}, "MaxSessions 0").target("root"), Options{})
	_, err := run(t, c, Command{Script: "true"})
	wants(t, err, nil, "MaxSessions")
}

// The gate finds its mark however the stream is cut, and passes on all that
// follows.
func TestTheStartOfAScriptIsFoundHoweverItArrives(t *testing.T) {
	t.Parallel()
	for range 2000 {
		var out bytes.Buffer
		g := newGate(&out)
		g.prompt = "PROMPT"
		before := strings.Repeat("noise\r\n", rand.IntN(2000))
		text := "first\n" + g.mark + "\n\x00last"
		end := []string{"\n", "\r\n"}[rand.IntN(2)]
		prompts := rand.IntN(3)
		stream := before + strings.Repeat("PROMPT", prompts) + "no line end" + g.mark + end + text
		for len(stream) > 0 {
			n := 1 + rand.IntN(min(len(stream), 1+rand.IntN(4000)))
			if _, err := g.Write([]byte(stream[:n])); err != nil {
				t.Fatal(err)
			}
			stream = stream[n:]
		}
		if out.String() != text || len(g.asked) != prompts || len(g.said()) > stderrTail+4000 {
			t.Fatalf("got %q, %d prompts of %d", out.String(), len(g.asked), prompts)
		}
	}
}

// FuzzPortable: the shells of this machine make of a portable word what it
// was made from.
func FuzzPortable(f *testing.F) {
	for _, s := range []string{"", "-n", "a\nb\n\nc", trying, "\x01\x7f\x80\xff", "\\\\'!'", "%d%s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		s = strings.ReplaceAll(s, "\x00", "")
		for _, name := range []string{"dash", "bash", "fish", "tcsh"} {
			if _, err := exec.LookPath(name); err != nil {
				continue
			}
			cmd := exec.Command(name, "-c", "printf %b "+portable(s))
			cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir()}
			out, err := cmd.Output()
			if err != nil || string(out) != s {
				t.Fatalf("%s reads %q as %q, %v", name, s, out, err)
			}
		}
	})
}
