package transport

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
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
	asks    bool      // sudo may ask for a password
	silent  bool      // nothing is to be sent, not even the end of stdin, which would be a trip of its own
	stdout  *gate
	stderr  *gate
	shell   string // what the login shell says on stdout before sudo; "" without sudo

	mu  sync.Mutex
	err error // what went wrong on this side
}

func (c *Conn) prepare(command Command, out *output) *call {
	k := &call{conn: c, stdin: command.Stdin, stdout: newGate(out.stdout()), stderr: newGate(out.stderr())}
	script := strings.ReplaceAll(command.Script, "\x00", "") // no argument can hold it
	start := k.stdout.announcement("") + k.stderr.announcement(" >&2")
	if !command.Sudo || c.user == "root" {
		k.command = "exec sh -c " + shell.Quote(start+decoded) + " sh " + portable(script)
		if k.silent = command.Stdin == nil; k.silent {
			k.command += " </dev/null"
		}
		if len(k.command) >= maxArgument {
			k.silent = false
			body, stub := wrap(script, start)
			k.command, k.body = "exec sh -c "+shell.Quote(stub), body
		}
		return k
	}
	k.shell = rand.Text()
	body, stub := wrap(script, start+"unset LC_ALL; ")
	// LC_ALL=C makes sudo's messages readable to sudoFailed; the stub drops it
	// again. -H keeps root's files out of the user's home.
	sudo := "env LC_ALL=C sudo -H -n -- sh -c " + shell.Quote(stub)
	hello := "echo " + apart(k.shell) + "; "
	if k.asks = c.options.SudoPassword != nil && !c.root.free(); k.asks {
		k.stderr.prompt = rand.Text()
		sudo = "env LC_ALL=C sudo -H -S -p " + k.stderr.prompt + " -- sh -c " + shell.Quote(stub)
	} else if piped := hello + "printf %b " + portable(string(body)) + " | " + sudo; command.Stdin == nil && len(piped) < maxArgument {
		k.command, k.silent = piped, true
		return k
	}
	k.command, k.body = hello+"exec "+sudo, body
	return k
}

// started reports whether the script has begun to run.
func (k *call) started() bool { return k.stdout.passed() || k.stderr.passed() }

// notStarted explains why the script has not begun to run: the login shell
// did not come to sudo, or sudo did not come to the script.
func (k *call) notStarted(code int) error {
	if k.shell != "" && strings.Contains(k.stdout.said(), k.shell) {
		return k.conn.sudoFailed(code, k.stderr.said())
	}
	return k.conn.shellFailed(code, k.stdout.said()+"\n"+k.stderr.said())
}

// wrap returns script with a last line that proves it complete, and the stub
// that reads it from stdin, in full before anything of it runs, and runs it.
// What stdin holds after it is left to the script: dd reads not a byte too
// many, unlike busybox's head.
func wrap(script, first string) (body []byte, stub string) {
	end := rand.Text()
	body = []byte(script + "\n#" + end)
	stub = first + fmt.Sprintf(`holdfast_script=$(dd bs=%d count=1 iflag=fullblock 2>/dev/null); case $holdfast_script in *"#%s") eval "$holdfast_script";; `+
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
		case <-k.stderr.open:
			if !asked {
				c.root.setFree()
			}
			return nil
		case <-k.stderr.asked:
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
