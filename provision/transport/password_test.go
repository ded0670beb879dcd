package transport

import (
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// replies gives one password after another, the last one for ever, and counts.
type replies struct {
	t     *testing.T
	words []string
	asked int
}

func (r *replies) ask() (string, error) {
	r.asked++
	return r.words[min(r.asked, len(r.words))-1], nil
}

// stranger is a target whose keys the server does not know.
func (s *sshd) stranger(user string) Target {
	target := s.target(user)
	s.admit(user)
	return target
}

func TestAPasswordLogsInOnFirstContact(t *testing.T) {
	user, password := account(t, "/bin/bash", "")
	var log strings.Builder
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	defer slog.SetDefault(before)
	for name, lines := range map[string][]string{
		"password":             {"PasswordAuthentication yes", "MaxAuthTries 2"},
		"password and PAM":     {"PasswordAuthentication yes", "UsePAM yes"},
		"keyboard-interactive": {"KbdInteractiveAuthentication yes", "UsePAM yes"},
		"no keys":              {"PasswordAuthentication yes", "PubkeyAuthentication no"},
		"root":                 {"PasswordAuthentication yes", "PermitRootLogin no"},
		"slow person":          {"PasswordAuthentication yes", "LoginGraceTime 1"},
	} {
		t.Run(name, func(t *testing.T) {
			server := startSSHD(t, []string{"ed25519"}, lines...)
			right := &replies{t: t, words: []string{"wrong-one", password}}
			ask := right.ask
			if name == "slow person" {
				ask = func() (string, error) { time.Sleep(1500 * time.Millisecond); return right.ask() }
			}
			target := server.stranger(user)
			target.HostKey = ""
			accepted := 0
			c := dial(t, target, Options{Password: ask, AcceptNewHostKey: func(string, string, string) bool { accepted++; return true }})
			if out := mustRun(t, c, Command{Script: "id -un"}); out != user+"\n" {
				t.Errorf("logged in as %q", out)
			}
			if right.asked != 2 || accepted != 1 {
				t.Errorf("asked for the password %d times and about the host key %d times", right.asked, accepted)
			}
			// Not asked where a key will do.
			right.asked = 0
			dial(t, server.target(user), Options{Password: right.ask})
			if name != "no keys" && right.asked != 0 {
				t.Errorf("asked %d times though the key is good", right.asked)
			}
		})
	}
	if strings.Contains(log.String(), password) || strings.Contains(log.String(), "wrong-one") {
		t.Error("the password is in the log")
	}
}

func TestAPasswordThatDoesNotLogInIsNamedAndNeverShown(t *testing.T) {
	t.Parallel()
	user, password := account(t, "/bin/bash", "")
	passwords := startSSHD(t, []string{"ed25519"}, "PasswordAuthentication yes")
	keyboard := startSSHD(t, []string{"ed25519"}, "KbdInteractiveAuthentication yes", "UsePAM yes")
	for name, test := range map[string]struct {
		target   Target
		words    []string
		asked    int
		mentions []string
	}{
		"three wrong ones":          {passwords.stranger(user), []string{"wrong-1", "wrong-2", "wrong-3", "wrong-4"}, 3, []string{"refuses the password", user, "console"}},
		"three wrong ones, PAM":     {keyboard.stranger(user), []string{"wrong-1", "wrong-2", "wrong-3", "wrong-4"}, 3, []string{"refuses the password", user}},
		"the same wrong one":        {passwords.stranger(user), []string{"wrong-1"}, 2, []string{"refuses the password"}},
		"root under prohibition":    {startSSHD(t, []string{"ed25519"}, "PasswordAuthentication yes", "PermitRootLogin prohibit-password").stranger("root"), []string{password}, 2, []string{"prohibit-password"}},
		"a server that takes none":  {startSSHD(t, []string{"ed25519"}).stranger(user), []string{password}, 0, []string{"none of these keys", "authorized_keys"}},
		"a server that has the key": {Target{Address: "127.0.0.1", Port: freePort(t), User: user}, []string{password}, 0, []string{"nothing listens"}},
	} {
		t.Run(name, func(t *testing.T) {
			given := &replies{t: t, words: test.words}
			kind := ErrAuth
			if name == "a server that has the key" {
				kind = ErrUnreachable
			}
			err := dialFails(t, test.target, Options{Password: given.ask}, kind, test.mentions...)
			if given.asked != test.asked {
				t.Errorf("asked %d times, want %d", given.asked, test.asked)
			}
			for _, word := range test.words {
				if strings.Contains(err.Error(), word) {
					t.Errorf("the message holds the password: %v", err)
				}
			}
		})
	}
	declined := errors.New("no terminal")
	err := dialFails(t, passwords.stranger(user), Options{Password: func() (string, error) { return "", declined }}, ErrAuth, "no terminal", "none of these keys")
	if !errors.Is(err, declined) {
		t.Error(err)
	}
}

// Some providers hand out a password that must be changed at the first login.
func TestAPasswordThatMustBeChangedIsNamed(t *testing.T) {
	t.Parallel()
	user, password := account(t, "/bin/bash", "ALL=(ALL) NOPASSWD: ALL")
	if out, err := exec.Command("chage", "-d", "0", user).CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	given := &replies{t: t, words: []string{password}}
	keyboard := startSSHD(t, []string{"ed25519"}, "KbdInteractiveAuthentication yes", "UsePAM yes")
	dialFails(t, keyboard.stranger(user), Options{Password: given.ask}, ErrAuth, "changed before anything else", "log in once with ssh")
	if given.asked != 1 {
		t.Errorf("asked %d times", given.asked)
	}
	for _, pam := range []string{"yes", "no"} {
		server := startSSHD(t, []string{"ed25519"}, "PasswordAuthentication yes", "UsePAM "+pam)
		c := dial(t, server.stranger(user), Options{Password: given.ask})
		_, err := run(t, c, Command{Script: "echo fact", Sudo: true})
		wants(t, err, ErrShell, "changed before anything else", "log in once with ssh")
	}
}

func TestASecondFactorIsAPasswordOrNamed(t *testing.T) {
	t.Parallel()
	user, password := account(t, "/bin/bash", "")
	server := startSSHD(t, []string{"ed25519"}, "AuthenticationMethods publickey,password", "PasswordAuthentication yes")
	given := &replies{t: t, words: []string{password}}
	dial(t, server.target(user), Options{Password: given.ask})
	if given.asked != 1 {
		t.Errorf("asked %d times", given.asked)
	}
	wrong := &replies{t: t, words: []string{"wrong-one"}}
	dialFails(t, server.target(user), Options{Password: wrong.ask}, ErrAuth, "refuses the password")
	server = startSSHD(t, []string{"ed25519"}, "AuthenticationMethods password,publickey", "PasswordAuthentication yes")
	dialFails(t, server.target(user), Options{Password: given.ask}, ErrAuth, "accepted the password", "second factor")
}

// What a keyboard-interactive conversation may ask is the server's choice.
func TestOnlyAPasswordIsAnsweredAndOnlyOnce(t *testing.T) {
	t.Parallel()
	l := &login{hop: hop{user: "root"}}
	ask := func(instruction string, echo bool, questions ...string) ([]string, error) {
		echos := make([]bool, len(questions))
		for i := range echos {
			echos[i] = echo
		}
		return l.answer("", instruction, questions, echos)
	}
	for _, test := range []struct {
		instruction string
		echo        bool
		questions   []string
		want        string
		mention     string
	}{
		{"", false, nil, "[]", ""},
		{"", false, []string{"Passwort: "}, "[secret]", ""},
		{"", true, []string{"login: "}, "", `"login:"`},
		{"", false, []string{"Password: ", "OTP: "}, "", "cannot be answered"},
		{"You are required to change your password immediately (administrator enforced).", false, []string{"Current password: "}, "", "changed before"},
	} {
		l.err, l.password.value = nil, "secret"
		answers, err := ask(test.instruction, test.echo, test.questions...)
		if err != nil && (!strings.Contains(err.Error(), test.mention) || test.mention == "") || err == nil && fmt.Sprint(answers) != test.want {
			t.Errorf("%+v: %q, %v", test, answers, err)
		}
	}
	l.err, l.password.value = nil, "secret"
	ask("", false, "Password: ")
	if answers, err := ask("", false, "Verification code: "); err == nil || !strings.Contains(err.Error(), "Verification code") {
		t.Errorf("%q, %v", answers, err)
	}
}
