package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"unicode"
)

// The kinds of failure that callers treat differently; test with errors.Is.
var (
	// ErrUnreachable: no name, no answer, refused, timed out, or cut off later.
	ErrUnreachable = errors.New("server unreachable")
	// ErrHostKey: the server's key is not the pinned or known one, is revoked,
	// or is unknown and nobody accepted it. Never retry on it.
	ErrHostKey = errors.New("host key refused")
	// ErrAuth: the server accepted none of the keys.
	ErrAuth = errors.New("login refused")
	// ErrShell: the server lets us in, but what answers there runs no scripts:
	// nologin, a forced command, a password that must be changed first.
	ErrShell = errors.New("no shell")
	// ErrSudo: root could not be had; the script has not run.
	ErrSudo = errors.New("sudo failed")
)

// A failure is a message of its own that is also one of the kinds above.
type failure struct {
	kind, cause error
	text        string
}

func fail(kind, cause error, format string, args ...any) error {
	return &failure{kind: kind, cause: cause, text: fmt.Sprintf(format, args...)}
}

func (f *failure) Error() string { return f.text }

func (f *failure) Unwrap() []error {
	if f.cause == nil {
		return []error{f.kind}
	}
	return []error{f.kind, f.cause}
}

// An ExitError is a script that ran and failed.
type ExitError struct {
	Code   int    // 1 to 255; 128 + number when a signal ended it; -1 when the server did not say
	Signal string // "TERM" and so on, or ""
	Stderr string // the last 4 KiB it printed on stderr
}

// Error gives the exit status and the end of what the script said.
func (e *ExitError) Error() string {
	status := fmt.Sprintf("exited %d", e.Code)
	switch {
	case e.Signal != "":
		status = "was ended by signal " + e.Signal
	case e.Code < 0:
		status = "ended without an exit status"
	}
	said := lastLines(e.Stderr, 3)
	if said == "" {
		return status + " without a word on stderr"
	}
	return status + ": " + said
}

// lastLines joins the last n lines of text that are not blank into one,
// without what would control a terminal.
func lastLines(text string, n int) string {
	printable := func(r rune) rune {
		if unicode.IsControl(r) && r != '\t' {
			return -1
		}
		return r
	}
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(strings.Map(printable, line)); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-n):], " / ")
}

// unreachable explains why no connection to a hop came about.
func unreachable(h hop, err error) error {
	const hint = "check the address, and that its network and firewall let you in"
	var dns *net.DNSError
	var why string
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		why = fmt.Sprintf("there is no host %q; check the address and the DNS record", h.host)
	case errors.As(err, &dns):
		why = fmt.Sprintf("the name %q could not be looked up (%v); check this machine's DNS", h.host, dns.Err)
	case errors.Is(err, syscall.ECONNREFUSED):
		why = fmt.Sprintf("nothing listens on port %d there, or a firewall turns you away (a ban by fail2ban looks the same); check the port, and that sshd runs (systemctl status ssh)", h.port)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		why = "there is no route to it; " + hint
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		why = "it did not answer in time; " + hint
	default:
		why = fmt.Sprintf("%v; %s", err, hint)
	}
	return fail(ErrUnreachable, err, "connect to %s: %s", h, why)
}

// silence explains a connection on which the login was not reached. proved
// means that the server has shown its host key.
func (m *meter) silence(err error, slow, proved bool) string {
	heard := m.received.Load() > 0
	greeting := m.greeting()
	switch {
	case strings.Contains(greeting, "MaxStartups"):
		return "too many others are logging in right now (MaxStartups in its sshd_config); try again in a minute"
	case strings.Contains(greeting, "Not allowed at this time"):
		return "it does not talk to this address for a while, after failed logins (PerSourcePenalties in its sshd_config); wait some minutes, or come from another address"
	case greeting != "":
		return fmt.Sprintf("no SSH server answers there, it says %q; check the port", greeting)
	case slow && !heard:
		return "it takes the connection and says nothing, so it did not answer in time; check the port, and that nothing in between (a proxy, a firewall) holds it up"
	case slow:
		return "it answers, but did not answer in time to finish the handshake; it may be overloaded: wait longer (--connect-timeout)"
	case !heard && cutOff(err):
		return "the server closes the connection before it says who it is; it may be banning this address (fail2ban, PerSourcePenalties) or have too many logins under way (MaxStartups): wait some minutes, or come from another address"
	case cutOff(err) && !proved:
		return "it closed the connection during the handshake; see \"journalctl -u ssh\" there for the reason"
	}
	return fmt.Sprintf("the handshake failed: %v; see \"journalctl -u ssh\" there for the reason", err)
}
