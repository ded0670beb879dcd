package pair

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/user"

	"holdfast/provision"
	"holdfast/provision/transport"
)

// hold takes the server's lock and runs script, which was framed with nonce, in
// the same channel: a run that changes nothing pays one channel and not two.
// The lock is free as soon as the channel is gone, however this process ends.
func (s *Server) hold(ctx context.Context, script, nonce string, stdout, stderr *bytes.Buffer) error {
	lock := provision.LockScript(holder()) + "\n(\n" + script + "\n) 9>&-\ncat >/dev/null\n"
	held, err := s.conn.Hold(ctx, transport.Command{Script: lock, Sudo: true, Stderr: stderr})
	if err != nil {
		return provision.LockError(err)
	}
	s.lock = held
	// A server that does not answer must not keep Ctrl-C from being heard.
	stop := context.AfterFunc(ctx, func() { s.conn.Close() })
	defer stop()
	return readUntil(held.Stdout, nonce+" done", stdout)
}

// readUntil copies lines up to and including the one that is end.
func readUntil(from io.Reader, end string, to *bytes.Buffer) error {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadBytes('\n')
		to.Write(line)
		if bytes.Equal(bytes.TrimSuffix(line, []byte("\n")), []byte(end)) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the server's answer was cut off: %w", err)
		}
	}
}

// holder is how this process is named to whoever meets its lock.
func holder() string {
	name := "someone"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "an unknown machine"
	}
	return fmt.Sprintf("%s@%s (process %d)", name, host, os.Getpid())
}
