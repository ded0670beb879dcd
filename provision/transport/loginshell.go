package transport

import (
	"fmt"
	"strings"
)

// A command reaches the server as one string that the user's login shell
// reads, whichever that is. Ours are written in what POSIX shells, csh, tcsh
// and fish have in common: simple commands, pipes, and words in single quotes
// that hold neither of the four characters which these treat differently.

// portable returns script as one quoted word from which every login shell
// makes the same argument, and printf %b (POSIX) the script. Not in the word:
// the quote and the backslash (fish), "!" and line breaks (csh), and what is
// not ASCII (whatever the locale is).
func portable(script string) string {
	var b strings.Builder
	b.Grow(len(script) + len(script)/8 + 2)
	b.WriteByte('\'')
	for i := range len(script) {
		switch c := script[i]; {
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\'' || c == '\\' || c == '!' || c < ' ' && c != '\t' || c >= 0x7f:
			fmt.Fprintf(&b, `\0%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('\'')
	return b.String()
}

// decoded is the stub that runs a portable script, given as its argument.
const decoded = `holdfast_script=$(printf %b "$1"); shift; eval "$holdfast_script"`

// shellFailed explains why no script ran although the server has let us in.
func (c *Conn) shellFailed(code int, said string) error {
	has := func(text string) bool { return strings.Contains(said, text) }
	var why string
	switch {
	case has("required to change your password"), has("Password change required"), has("password has expired"), has("Your password has expired"):
		why = fmt.Sprintf("wants the password of user %s changed before anything else; log in once with ssh and choose a new one, or as root: chage -d %s %s",
			c.user, `"$(date +%F)"`, c.user)
	case has("account is currently not available"):
		why = fmt.Sprintf("lets user %s in but gives no shell (nologin); as root: usermod --shell /bin/bash %s", c.user, c.user)
	case has("This service allows sftp connections only"):
		why = fmt.Sprintf("lets user %s transfer files only (ForceCommand internal-sftp in its sshd_config); exempt the user", c.user)
	default:
		answer := "nothing"
		if text := lastLines(said, 3); text != "" {
			answer = fmt.Sprintf("%q", text)
		}
		why = fmt.Sprintf("ran something else in place of the script: it ended with status %d and said %s; look for a forced command (ForceCommand in sshd_config, command= in authorized_keys) and at the login shell of user %s (getent passwd %s)",
			code, answer, c.user, c.user)
	}
	return fail(ErrShell, nil, "%s %s", c.name, why)
}
