package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/crypto/ssh"
)

// A Command is one POSIX sh script to run on a server. It is not a secret:
// other users of the server may see it. Secrets travel on Stdin.
type Command struct {
	Script string
	// Sudo runs the script as root through sudo; without effect for root.
	Sudo bool
	// Stdin is what the script reads; nil: nothing. It may be read ahead of the
	// script, and one Read may still be under way when Run returns.
	Stdin  io.Reader
	Stdout io.Writer // nil discards
	Stderr io.Writer // nil discards; sudo's own messages are kept out
}

const (
	// maxArgument is the longest string, with its NUL, that Linux takes as one
	// argument of a program (MAX_ARG_STRLEN, execve(2)): sshd hands the command
	// to the user's shell as one.
	maxArgument = 128 << 10

	stderrTail = 4 << 10
)

// Run runs a script and waits until it has ended and closed its output, which
// what it leaves running in the background must not keep. It costs 2 round trips when the
// script fits into the command (127 KiB less quoting) and, under sudo, reads
// no Stdin; else 3; where sudo may ask for a password, 4.
//
// The error is an *ExitError when the script ran and failed, and wraps ErrSudo
// when it did not run because root could not be had, and ErrUnreachable when
// the connection broke, in which case the script may or may not have ended.
// When ctx ends, Run returns at once; the script is sent SIGTERM and its
// channel is closed. sshd delivers that only to the processes of a user other
// than root, so a script of root's goes on until it writes or reads: what must
// not outlive a run is started under a name that can be stopped.
func (c *Conn) Run(ctx context.Context, command Command) error {
	return c.run(ctx, command, false)
}

// run is Run; lasting says that the script goes on until it is told to end.
func (c *Conn) run(ctx context.Context, command Command, lasting bool) error {
	session, err := c.open(ctx, lasting)
	if err != nil {
		return err
	}
	defer c.release(lasting)
	out := newOutput(command.Stdout, command.Stderr, func() { session.Close() })
	defer out.close()
	call := c.prepare(command, out)
	session.Stdout, session.Stderr = call.stdout, call.stderr
	stdin, err := session.StdinPipe()
	if err != nil {
		return fmt.Errorf("run a script on %s: %w", c.name, err)
	}
	over, hangUp := context.WithCancel(ctx)
	defer hangUp()

	ended := make(chan error, 1)
	go func() { ended <- c.converse(over, session, call, stdin) }()
	select {
	case err = <-ended:
		session.Close()
	case <-ctx.Done():
		go func() { // may block on a dead network
			session.Signal(ssh.SIGTERM)
			session.Close()
		}()
		return fmt.Errorf("stopped on %s: %w", c.name, context.Cause(ctx))
	}
	return c.verdict(err, call, out)
}

// errExec stands for x/crypto's error, which carries the whole command.
var errExec = errors.New("the server refused to run a command; does its sshd_config force another one (ForceCommand), or authorized_keys?")

// converse starts the command, feeds it and waits for its end.
func (c *Conn) converse(ctx context.Context, session *ssh.Session, call *call, stdin io.WriteCloser) error {
	if err := session.Start(call.command); err != nil {
		if c.ended() {
			return c.lost()
		}
		return errExec
	}
	go func() {
		if err := call.feed(ctx, stdin); err != nil {
			session.Close()
		}
	}()
	return session.Wait()
}

// verdict turns the end of a session into Run's error.
func (c *Conn) verdict(err error, call *call, out *output) error {
	if local := out.failed(); local != nil {
		return fmt.Errorf("pass on the output of %s: %w", c.name, local)
	}
	if local := call.failed(); local != nil {
		return local
	}
	var exit *ssh.ExitError
	code, signal := 0, ""
	switch {
	case err == nil:
	case errors.As(err, &exit):
		code, signal = exit.ExitStatus(), exit.Signal()
	case errors.Is(err, errExec):
		return fmt.Errorf("run a script on %s: %w", c.name, err)
	case c.ended():
		return c.lost()
	default:
		code = -1
	}
	if !call.started() {
		return call.notStarted(code)
	}
	if code == 0 {
		return nil
	}
	return &ExitError{Code: code, Signal: signal, Stderr: out.tail()}
}

// An output passes a session's streams on to the caller's writers, one write
// at a time, and never after close; it keeps the end of stderr.
type output struct {
	mu      sync.Mutex
	out     io.Writer
	err     io.Writer
	end     []byte // tail of stderr
	failure error  // of a caller's writer
	onError func()
	closed  bool
}

func newOutput(stdout, stderr io.Writer, onError func()) *output {
	return &output{out: stdout, err: stderr, onError: onError}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func (o *output) stdout() io.Writer {
	return writerFunc(func(p []byte) (int, error) { return o.write(o.out, p, false) })
}

func (o *output) stderr() io.Writer {
	return writerFunc(func(p []byte) (int, error) { return o.write(o.err, p, true) })
}

// write always takes all of p: a stream that is not read would block the
// script, and the whole connection's window with it.
func (o *output) write(w io.Writer, p []byte, keep bool) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if keep {
		o.end = append(o.end, p...)
		o.end = o.end[max(0, len(o.end)-stderrTail):]
	}
	if w == nil || o.closed || o.failure != nil {
		return len(p), nil
	}
	if _, err := w.Write(p); err != nil {
		o.failure = err
		o.onError()
	}
	return len(p), nil
}

// close returns when no write is under way and lets none follow. A write that
// blocks holds it up, so a caller who cancels must keep reading or close the
// other end.
func (o *output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
}

func (o *output) failed() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failure
}

func (o *output) tail() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.end)
}
