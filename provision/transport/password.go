package transport

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// maxPasswords is how often a person is asked for the password of a user.
const maxPasswords = 3

// A password is what a login falls back to where keys are refused, on first
// contact with a server that its provider has set up.
//
// Nobody is asked while a connection waits: sshd cuts off slow people
// (LoginGraceTime) and counts refused keys (MaxAuthTries). So the keys go over
// one connection, and each password over one of its own.
type password struct {
	person  func() (string, error) // nil: there is none
	value   string                 // what is to be offered; "" before and after
	last    string                 // the one that was refused, so that it is not sent again
	asked   int
	offered bool // on the present connection
	futile  bool // no other password would change the refusal
}

// forget drops what was typed. Go's strings cannot be wiped.
func (p *password) forget() { p.value, p.last = "", "" }

// passwordMethod is how the server takes a password, or "". Plain "password"
// comes first: it is one question, which needs no guessing.
func passwordMethod(methods []string) string {
	for _, m := range []string{"password", "keyboard-interactive"} {
		if slices.Contains(methods, m) {
			return m
		}
	}
	return ""
}

// another reports whether another connection with a password could do what the
// one that ended with refusal could not, having asked a person for it.
func (l *login) another(refusal error) (bool, error) {
	p := &l.password
	if p.person == nil || p.futile || !errors.Is(refusal, ErrAuth) || passwordMethod(l.methods) == "" {
		return false, nil
	}
	if p.value != "" {
		p.last, p.value = p.value, ""
	}
	if p.asked == maxPasswords {
		return false, nil
	}
	p.asked++
	value, err := p.person()
	switch {
	case err != nil:
		return false, fail(ErrAuth, err, "%v; and there is no password: %v", refusal, err)
	case value == "" || value == p.last:
		return false, nil // as from a variable, which says the same each time
	}
	p.value = value
	return true, nil
}

// offerPassword is called with a value to offer.
func (l *login) offerPassword() (ssh.AuthMethod, error) {
	p := &l.password
	method := passwordMethod(l.methods)
	switch {
	case p.offered:
		l.err = fmt.Errorf("it refuses the password for user %q", l.hop.user)
		if l.hop.user == "root" {
			l.err = fmt.Errorf("%w; where its sshd_config says PermitRootLogin prohibit-password, it refuses any: use a key, or the user that the provider has set up", l.err)
		} else {
			l.err = fmt.Errorf("%w; check the user name, and the password in the provider's console", l.err)
		}
		return nil, l.err
	case method == "":
		l.err = fmt.Errorf("it takes no password, only %s", strings.Join(l.methods, ", "))
		return nil, l.err
	}
	p.offered = true
	slog.Debug("offer the password", "host", l.hop.addr(), "user", l.hop.user, "method", method)
	if method == "password" {
		return ssh.Password(p.value), nil
	}
	return ssh.KeyboardInteractive(l.answer), nil
}

// answer is the ssh.KeyboardInteractiveChallenge: the password is the answer
// to the first question that is not echoed. What else is asked nobody can
// answer here.
func (l *login) answer(_, instruction string, questions []string, echos []bool) ([]string, error) {
	text := strings.ToLower(instruction + " " + strings.Join(questions, " "))
	p := &l.password
	switch {
	case strings.Contains(text, "change your password"), strings.Contains(text, "new password"), strings.Contains(text, "current password"):
		p.futile = true
		l.err = fmt.Errorf("it wants the password of user %q changed before anything else; log in once with ssh, choose a new one, and run again with that", l.hop.user)
	case len(questions) == 0:
		return nil, nil
	case len(questions) == 1 && !echos[0] && p.value != "":
		value := p.value
		p.value, p.last = "", value
		return []string{value}, nil
	default:
		p.futile = true
		l.err = fmt.Errorf("it asks %q, which cannot be answered here; exempt the user with a Match block (AuthenticationMethods publickey)",
			lastLines(strings.Join(questions, " "), 1))
	}
	return nil, l.err
}

// secondFactor goes on after a key that the server accepts and that is not
// enough.
func (l *login) secondFactor(accepted string) (ssh.AuthMethod, error) {
	p := &l.password
	switch {
	case p.offered && accepted == "publickey":
		return l.offerPassword() // which has been refused
	case p.person == nil || p.asked > 0 || passwordMethod(l.methods) == "":
		p.futile = true
		l.err = fmt.Errorf("it accepted the %s and wants a second factor (%s), which is not supported; exempt the user with a Match block (AuthenticationMethods publickey)",
			strings.Replace(accepted, "publickey", "key", 1), strings.Join(l.methods, ", "))
		return nil, l.err
	}
	p.asked = maxPasswords // the connection waits, so once is enough
	l.ask(func() { p.value, l.err = p.person() })
	if l.err != nil {
		l.err = fmt.Errorf("it accepted the key and wants the password of user %q, too, and there is none: %w", l.hop.user, l.err)
		return nil, l.err
	}
	return l.offerPassword()
}
