package provision

import (
	"encoding/base64"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"holdfast/internal/shell"
)

// A User is an account.
type User struct {
	About
	Name  string
	Shell string // of a new account; default /bin/bash
	// Groups are those the account is in besides its own, exactly. nil: whatever
	// they are.
	Groups []string
	// Keys are the lines of authorized_keys, exactly. nil: whatever they are.
	Keys []string
	// NoExpiry: neither the account nor its password expires, whatever
	// login.defs(5) says of new ones. PAM asks for a new password also of who
	// entered by key, and so lets nobody in any more (pam_unix(8), account).
	NoExpiry bool
	// NoPassword: no password opens the account.
	NoPassword bool
}

// accountFiles are those that useradd(8), usermod(8) and passwd(1) write: the
// guard undoes an account by putting them back.
var accountFiles = []string{"/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow", "/etc/subuid", "/etc/subgid"}

// ID is "user:" and the name.
func (u User) ID() string { return "user:" + u.Name }

func (u User) observe(w *wanted) { w.users = append(w.users, u.Name) }

// Change compares the account, its groups, its password's state and its keys.
func (u User) Change(facts Facts) (Change, bool) {
	c := u.About.change(u.ID())
	c.how.phase = phaseUsers
	name := shell.Quote(u.Name)
	var what []string
	now, exists := facts.Users[u.Name]
	if !exists {
		what = append(what, "create the user "+u.Name)
		// "*" is no lock, which sshd would heed where PAM is off, and yet no
		// password matches it.
		c.how.script += fmt.Sprintf("try useradd --create-home --user-group --shell %s --password '*' %s\n", shell.Quote(orElse(u.Shell, "/bin/bash")), name)
		now = UserFacts{Home: "/home/" + u.Name, Password: "locked", Groups: []string{u.Name}}
	}
	if u.NoExpiry && (!exists || now.Expires) {
		if exists {
			what = append(what, "keep "+u.Name+" from expiring")
		}
		c.how.script += "try chage --mindays 0 --maxdays -1 --inactive -1 --expiredate -1 --lastday -1 " + name + "\n"
	}
	if u.NoPassword && now.Password != "locked" {
		what = append(what, "lock the password of "+u.Name)
		c.how.script += "try passwd --lock " + name + "\n"
	}
	if u.Groups != nil {
		if want := sorted(append(slices.Clone(u.Groups), u.Name)); !slices.Equal(sorted(now.Groups), want) {
			what = append(what, fmt.Sprintf("put %s into %s", u.Name, orElse(strings.Join(u.Groups, ", "), "no group but its own")))
			c.how.script += fmt.Sprintf("try usermod --groups %s %s\n", shell.Quote(strings.Join(sorted(u.Groups), ",")), name)
		}
	}
	if u.Keys != nil {
		text := strings.Join(u.Keys, "\n") + "\n"
		file := path.Join(now.Home, ".ssh", "authorized_keys")
		old := orElse(now.Keys, &Keys{})
		if (*old != Keys{FolderMode: "0700", Mode: "0600", Owner: u.Name, Text: text}) {
			what = append(what, fmt.Sprintf("let the declared keys, %d of them, and no others log in as %s", len(u.Keys), u.Name))
			c.Diff = diff(file, []byte(old.Text), []byte(text), now.Keys != nil, false)
			c.how.keep = []string{file}
			c.how.script += fmt.Sprintf("try install -d -m 0700 -o %s -g %s %s\n", name, name, shell.Quote(path.Dir(file))) +
				File{Path: file, Content: text}.script("0600", u.Name+":"+u.Name)
		}
	}
	if c.how.guarded {
		c.how.keep = append(c.how.keep, accountFiles...)
	}
	c.Summary = strings.Join(what, ", ")
	return c, len(what) > 0
}

// parseUsers reads lines of tab-separated fields, one kind for the account and
// one for its keys.
func (f *Facts) parseUsers(text string) error {
	for line := range strings.Lines(text) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		switch {
		case fields[0] == "user" && len(fields) == 7:
			id, err := strconv.Atoi(fields[2])
			if err != nil {
				return fmt.Errorf("user %s has the id %q", fields[1], fields[2])
			}
			if !path.IsAbs(fields[3]) {
				return fmt.Errorf("user %s has the home %q", fields[1], fields[3])
			}
			f.Users[fields[1]] = UserFacts{ID: id, Home: fields[3], Shell: fields[4], Password: fields[5], Groups: strings.Fields(fields[6])}
		case fields[0] == "expires" && len(fields) == 2:
			user, ok := f.Users[fields[1]]
			if !ok {
				return fmt.Errorf("expiry of %q, who is no user", fields[1])
			}
			user.Expires = true
			f.Users[fields[1]] = user
		case fields[0] == "keys" && len(fields) == 6:
			user, ok := f.Users[fields[1]]
			if !ok {
				return fmt.Errorf("keys of %q, who is no user", fields[1])
			}
			text, err := base64.StdEncoding.DecodeString(fields[5])
			if err != nil {
				return fmt.Errorf("unreadable keys of %s: %w", fields[1], err)
			}
			user.Keys = &Keys{FolderMode: octal(fields[2]), Mode: octal(fields[3]), Owner: fields[4], Text: string(text)}
			f.Users[fields[1]] = user
		default:
			return fmt.Errorf("unreadable line %q", line)
		}
	}
	return nil
}

// octal brings a mode as stat prints it to four digits.
func octal(mode string) string {
	return strings.Repeat("0", max(0, 4-len(mode))) + mode
}
