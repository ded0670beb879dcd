package transport

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/ssh"
)

// A Terminal is a person's end of an interactive session.
type Terminal struct {
	Kind          string // as in $TERM; default "xterm"
	Width, Height int    // in characters
	// Resized tells of each new width and height; nil: it stays as it is.
	Resized <-chan [2]int
	In      io.Reader // raw key strokes; one Read may still be under way when Interact returns
	Out     io.Writer
}

// Interact runs command on a terminal of the server's, as the user who logged
// in, until it ends; "" is that user's login shell. sudo asks for its password
// on that terminal by itself. The error is an *ExitError when the command ended
// with a status other than 0, and wraps ErrUnreachable when the connection broke.
func (c *Conn) Interact(ctx context.Context, command string, terminal Terminal) error {
	const lasting = true // nobody knows when the person is done
	session, err := c.open(ctx, lasting)
	if err != nil {
		return err
	}
	defer c.release(lasting)
	defer session.Close()
	kind := terminal.Kind
	if kind == "" {
		kind = "xterm"
	}
	if err := session.RequestPty(kind, terminal.Height, terminal.Width, ssh.TerminalModes{}); err != nil {
		return fmt.Errorf("open a terminal on %s: its sshd gives none (PermitTTY): %w", c.name, err)
	}
	session.Stdout, session.Stderr = terminal.Out, terminal.Out
	// Not session.Stdin: Wait would wait for a key stroke after the end.
	stdin, err := session.StdinPipe()
	if err != nil {
		return fmt.Errorf("open a terminal on %s: %w", c.name, err)
	}
	if command == "" {
		err = session.Shell()
	} else {
		err = session.Start(command)
	}
	if err != nil {
		return fmt.Errorf("run on %s: %w", c.name, errExec)
	}
	go func() {
		_, _ = io.Copy(stdin, terminal.In)
		stdin.Close()
	}()
	over := make(chan error, 1)
	go func() { over <- session.Wait() }()
	for {
		select {
		case size := <-terminal.Resized:
			_ = session.WindowChange(size[1], size[0])
		case <-ctx.Done():
			return fmt.Errorf("stopped on %s: %w", c.name, context.Cause(ctx))
		case err := <-over:
			var exit *ssh.ExitError
			switch {
			case err == nil:
				return nil
			case errors.As(err, &exit):
				return &ExitError{Code: exit.ExitStatus(), Signal: exit.Signal()}
			}
			return c.lost()
		}
	}
}
