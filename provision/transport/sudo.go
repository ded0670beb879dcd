package transport

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"holdfast/internal/shell"
)

// promptPatience is how long sudo may take to ask, or to start the script,
// before it is taken to ask for something that cannot be answered. PAM delays
// after a wrong password are 2 to 3 s.
const promptPatience = 60 * time.Second

// A call is one Command in the form it travels in.
//
// As root the script is the command's argument. Under sudo it is not, since
// sudo writes its arguments to the log: there a short stub that reads the
// script from its stdin is. The login shell feeds the script to it, or, where
// stdin is needed for something else, too, we do.
type call struct {
	conn    *Conn
	command string
	body    []byte    // script to send before the caller's stdin
	stdin   io.Reader // the caller's
	gate    *gate     // nil without sudo
	asks    bool      // sudo may ask for a password
	silent  bool      // nothing is to be sent, not even the end of stdin, which would be a trip of its own
	stderr  io.Writer

	mu  sync.Mutex
	err error // what went wrong on this side
}

func (c *Conn) prepare(command Command, out *output) *call {
	k := &call{conn: c, stdin: command.Stdin, stderr: out.stderr()}
	if !command.Sudo || c.user == "root" {
		k.command = "exec sh -c " + shell.Quote(command.Script)
		if k.silent = command.Stdin == nil; k.silent {
			k.command += " </dev/null"
		}
		if len(k.command) >= maxArgument {
			k.silent = false
			body, stub := wrap(command.Script, "")
			k.command, k.body = "exec sh -c "+shell.Quote(stub), body
		}
		return k
	}
	k.gate = newGate(k.stderr)
	k.stderr = k.gate
	body, stub := wrap(command.Script, k.gate.announcement())
	// LC_ALL=C makes sudo's messages readable to sudoFailed; the stub drops it
	// again. -H keeps root's files out of the user's home.
	sudo := "env LC_ALL=C sudo -H -n -- sh -c " + shell.Quote(stub)
	if k.asks = c.options.SudoPassword != nil && !c.root.free(); k.asks {
		sudo = "env LC_ALL=C sudo -H -S -p " + k.gate.prompt + " -- sh -c " + shell.Quote(stub)
	} else if piped := "printf %s " + shell.Quote(string(body)) + " | " + sudo; command.Stdin == nil && len(piped) < maxArgument {
		k.command, k.silent = piped, true
		return k
	}
	k.command, k.body = "exec "+sudo, body
	return k
}

// wrap returns script with a last line that proves it complete, and the stub
// that reads it from stdin, in full before anything of it runs, and runs it.
// What stdin holds after it is left to the script.
func wrap(script, first string) (body []byte, stub string) {
	end := rand.Text()
	body = []byte(script + "\n#" + end)
	stub = first + fmt.Sprintf(`holdfast_script=$(head -c %d); case $holdfast_script in *"#%s") eval "$holdfast_script";; `+
		`*) echo "the script arrived incomplete and was not run" >&2; exit 74;; esac`, len(body), end)
	return body, stub
}

// feed sends what the command reads: the password when sudo asks, the script,
// the caller's stdin. Its error means that the session is to be closed.
func (k *call) feed(ctx context.Context, stdin io.WriteCloser) error {
	if k.silent {
		return nil
	}
	if k.asks {
		if err := k.unlock(ctx, stdin); err != nil {
			return k.fail(err)
		}
	}
	if _, err := stdin.Write(k.body); err != nil {
		return nil // the command has ended; its status says more
	}
	if k.stdin != nil {
		source := &readError{Reader: k.stdin}
		if _, err := io.Copy(stdin, source); err != nil && source.err != nil && ctx.Err() == nil {
			// Without an end of file, so that nothing takes the part for the whole.
			return k.fail(fmt.Errorf("read the input for %s: %w", k.conn.name, source.err))
		}
	}
	stdin.Close()
	return nil
}

// unlock waits until sudo starts the script, and gives it the password where
// it asks for one.
func (k *call) unlock(ctx context.Context, stdin io.Writer) error {
	c := k.conn
	asked := false
	for {
		select {
		case <-ctx.Done():
			return nil // the command has ended, or the caller has lost interest
		case <-k.gate.open:
			if !asked {
				c.root.setFree()
			}
			return nil
		case <-k.gate.asked:
			if asked {
				c.root.forget()
				return fail(ErrSudo, nil, "sudo on %s does not accept the password given for user %s; run again with the right one", c.name, c.user)
			}
			asked = true
			password, err := c.root.ask(c.options.SudoPassword)
			if err != nil {
				return fail(ErrSudo, err, "sudo on %s asks for the password of user %s, and there is none: %v", c.name, c.user, err)
			}
			if _, err := io.WriteString(stdin, password+"\n"); err != nil {
				return nil
			}
		case <-time.After(promptPatience):
			return fail(ErrSudo, nil, "sudo on %s neither starts nor asks for a password; it may want a second factor: let user %s use sudo without a password (NOPASSWD)", c.name, c.user)
		}
	}
}

// An escalation is what a connection has learned about sudo.
type escalation struct {
	mu           sync.Mutex // held while a person is asked, so that one is asked once
	passwordless bool       // sudo was seen not to ask
	password     *string    // what SudoPassword answered
}

func (e *escalation) free() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.passwordless
}

func (e *escalation) setFree() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.passwordless = true
}

func (e *escalation) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.password = nil
}

func (e *escalation) ask(person func() (string, error)) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.password == nil {
		password, err := person()
		if err != nil {
			return "", err
		}
		if strings.ContainsAny(password, "\n\r\x00") {
			return "", errors.New("the password holds a line break")
		}
		e.password = &password
	}
	return *e.password, nil
}

func (k *call) fail(err error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = err
	return err
}

func (k *call) failed() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

type readError struct {
	io.Reader
	err error
}

func (r *readError) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// sudoFailed explains why no script ran. It sees sudo's messages, which are in
// English and never hold the script; knowing them (those of sudo 1.9 and of
// sudo-rs 0.2, Ubuntu's) only sharpens the advice.
func (c *Conn) sudoFailed(code int, said string) error {
	allow := fmt.Sprintf("as root, put %q into /etc/sudoers.d/%s", c.user+" ALL=(ALL) NOPASSWD: ALL", c.user)
	has := func(text string) bool { return strings.Contains(said, text) }
	why := fmt.Sprintf("failed with status %d (%s); try \"sudo -n true\" there", code, lastLines(said, 2))
	switch {
	case code == 127:
		why = "is not installed; install it as root (apt-get install sudo), or log in as root"
	case has("a password is required"), has("a terminal is required"), has("interactive authentication is required"):
		why = fmt.Sprintf("wants a password for user %s and none can be given here; run where it can be typed, or %s", c.user, allow)
	case has("incorrect password"), has("no password was provided"), has("authentication attempt"):
		c.root.forget() // sudo may be set to ask only once (passwd_tries)
		why = fmt.Sprintf("did not accept the password of user %s; run again with the right one", c.user)
	case has("is not in the sudoers"), has("is not allowed to"), has("may not run"), has("I'm afraid I can't do that"):
		why = fmt.Sprintf("does not let user %s become root; %s", c.user, allow)
	case has("must have a tty"):
		why = fmt.Sprintf("insists on a terminal (requiretty); as root, add \"Defaults:%s !requiretty\" to the sudoers", c.user)
	}
	return fail(ErrSudo, nil, "sudo on %s %s", c.name, why)
}

// A gate reads the stderr of a command under sudo. Until the script announces
// itself, what comes is sudo's: a prompt, or a complaint. After that it passes
// everything on. The words it looks for are random, and not spelled out in the
// command, so that neither sudo's echo of it nor the script can fake them.
type gate struct {
	prompt string
	mark   string
	out    io.Writer
	open   chan struct{} // closed when the script has started
	asked  chan struct{} // one value a prompt

	mu     sync.Mutex
	before []byte // what sudo said; prompts cut out
}

func newGate(out io.Writer) *gate {
	return &gate{prompt: rand.Text(), mark: rand.Text(), out: out, open: make(chan struct{}), asked: make(chan struct{}, 8)}
}

// announcement is the shell text by which the script says that it has started.
func (g *gate) announcement() string {
	half := len(g.mark) / 2
	return fmt.Sprintf(`printf '%%s%%s\n' %s %s >&2; unset LC_ALL; `, g.mark[:half], g.mark[half:])
}

func (g *gate) Write(p []byte) (int, error) {
	if g.passed() {
		return g.out.Write(p)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.before = append(g.before, p...)
	for {
		before, after, found := bytes.Cut(g.before, []byte(g.prompt))
		if !found {
			break
		}
		g.before = append(bytes.Clone(before), after...)
		select {
		case g.asked <- struct{}{}:
		default:
		}
	}
	before, after, found := bytes.Cut(g.before, []byte(g.mark+"\n"))
	if !found {
		g.before = g.before[max(0, len(g.before)-stderrTail):]
		return len(p), nil
	}
	if len(bytes.TrimSpace(before)) > 0 {
		slog.Debug("sudo said", "text", lastLines(string(before), 5))
	}
	g.before = before
	close(g.open)
	if len(after) > 0 {
		if _, err := g.out.Write(after); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// passed reports whether the script has started.
func (g *gate) passed() bool {
	select {
	case <-g.open:
		return true
	default:
		return false
	}
}

// said is what sudo printed on stderr before the script started.
func (g *gate) said() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return string(g.before)
}
