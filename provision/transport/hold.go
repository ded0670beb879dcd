package transport

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// releasePatience is how long a holding script may take to end after its
// stdin has been closed.
const releasePatience = 10 * time.Second

// A Held is a script that has said "ready" and holds something, such as a
// lock, until it is released or the connection dies.
type Held struct {
	// Stdout is what the script prints after the "ready" line. It ends with
	// io.EOF when the script has ended well, else with the error that Run would
	// have returned. It must be read while the script prints more than 64 KiB.
	Stdout io.Reader

	pipe   *io.PipeReader
	stdin  *io.PipeWriter
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // valid after ended
}

// Hold starts a script that is to print the line "ready" on stdout and then to
// hold until its stdin ends, for example
//
//	exec 9>/run/lock/holdfast; flock -n 9 || exit 1; echo ready; cat >/dev/null
//
// The end of stdin also comes with the end of this process or of the
// connection, so nothing stays held by the dead. Where sudo is used Stdout does
// not end before the script does, so what the script reports in between needs
// an end mark of its own. command's Stdin and Stdout must be nil. ctx is for
// the time until "ready"; a script that ends before gives Run's error, and one
// that prints another line first is stopped.
//
// It costs as many round trips as Run: 2 as root, 3 under sudo. It occupies
// one of the connection's 4 sessions.
func (c *Conn) Hold(ctx context.Context, command Command) (*Held, error) {
	if command.Stdin != nil || command.Stdout != nil {
		return nil, errors.New("a holding script's stdin and stdout are taken")
	}
	inReader, inWriter := io.Pipe()
	outReader, outWriter := io.Pipe()
	command.Stdin, command.Stdout = inReader, outWriter

	running, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	h := &Held{pipe: outReader, stdin: inWriter, cancel: func() { cancel(context.Canceled) }, ended: make(chan struct{})}
	go func() {
		h.err = c.run(running, command, true)
		inReader.Close()
		outWriter.CloseWithError(h.err) // nil: io.EOF
		close(h.ended)
	}()

	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	lines := bufio.NewReaderSize(outReader, 64<<10)
	h.Stdout = lines
	line, err := lines.ReadString('\n')
	if !stop() {
		err = fmt.Errorf("stopped on %s: %w", c.name, context.Cause(ctx))
	}
	switch {
	case err == nil && line == "ready\n":
		return h, nil
	case errors.Is(err, io.EOF):
		err = fmt.Errorf("the script on %s ended without holding", c.name)
	case err == nil:
		err = fmt.Errorf("the script on %s said %q and not \"ready\"", c.name, strings.TrimSpace(line))
	}
	h.cancel()
	h.Release()
	return nil, err
}

// Lost is closed when the script has ended: after Release, or before it when
// the script or the connection died, and what it held is free.
func (h *Held) Lost() <-chan struct{} { return h.ended }

// Release closes the script's stdin, drops what it still prints, and waits up
// to 10 s for its end. The error is that of the script. It may be called
// again.
func (h *Held) Release() error {
	h.stdin.Close()
	go io.Copy(io.Discard, h.pipe)
	select {
	case <-h.ended:
	case <-time.After(releasePatience):
		h.cancel()
		<-h.ended
	}
	h.cancel()
	return h.err
}
