package provision

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"holdfast/internal/shell"
	"holdfast/provision/transport"
)

// lockTaken is the exit status of a lock script that did not get the lock
// (EX_TEMPFAIL of sysexits.h).
const lockTaken = 75

// LockScript returns the beginning of a script that holds the server: it prints
// "ready" and has the lock until the process that runs it ends, or it exits and
// says on stderr who has it. It is meant for [transport.Conn.Hold] and needs
// root. What is started with descriptor 9 open shares the lock; close it for
// what may outlive the run. holder is for people, as in "ada@laptop (process 7)".
func LockScript(holder string) string {
	record, err := json.Marshal(map[string]string{"holder": holder})
	if err != nil {
		panic(err) // a string can be marshalled
	}
	return "holder=" + shell.Quote(strings.TrimSuffix(string(record), "}")) + "\n" + serverScript("apply/lock.sh")
}

// A LockedError is a server that another run holds.
type LockedError struct {
	Holder string // "" when the other run has not said yet
	Since  string // RFC 3339, UTC, by the server's clock
}

func (e *LockedError) Error() string {
	if e.Holder == "" {
		return "another run holds the lock on the server"
	}
	return fmt.Sprintf("the lock on the server is held by %s since %s", e.Holder, e.Since)
}

// Hint says what to do next.
func (e *LockedError) Hint() string {
	return "wait for the other run; its lock is free as soon as it ends, however it ends"
}

// LockError reads why a script of [LockScript] was not "ready". Errors that do
// not speak of the lock come back as they are.
func LockError(err error) error {
	var exit *transport.ExitError
	if !errors.As(err, &exit) || exit.Code != lockTaken {
		return err
	}
	for line := range strings.Lines(exit.Stderr) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "held":
			var record struct{ Holder, Since string }
			// A record that is being written is no reason to fail differently.
			_ = json.Unmarshal([]byte(rest), &record)
			return &LockedError{Holder: record.Holder, Since: record.Since}
		case "busy":
			return errors.New("a step of a run that has lost its connection is still going on; run again in a few minutes")
		}
	}
	return err
}
