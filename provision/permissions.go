package provision

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"holdfast/internal/shell"
)

// Permissions bound what an existing file or folder gives away: no bit beyond
// Mode. One that is not there, or is a link, is left so.
type Permissions struct {
	About
	Path         string      // absolute, without blanks
	Mode         fs.FileMode // permission bits, with setuid, setgid and sticky as in chmod(1)
	Owner, Group string      // "": whoever it is
}

// PathFacts are the permissions of a file or folder that exists.
type PathFacts struct {
	Mode         fs.FileMode `json:"mode"` // the low twelve bits of stat(2)'s
	Owner, Group string
}

// ID is "permissions:" and the path.
func (p Permissions) ID() string { return "permissions:" + p.Path }

func (p Permissions) observe(w *wanted) { w.paths = append(w.paths, p.Path) }

// Change compares mode and owner.
func (p Permissions) Change(facts Facts) (Change, bool) {
	now, exists := facts.Paths[p.Path]
	if !exists || !p.appliesTo(facts) {
		return Change{}, false
	}
	var what []string
	script := fmt.Sprintf("[ ! -L %[1]s ] || { echo %[1]s is a link by now; exit 1; }\n", shell.Quote(p.Path))
	owner, group := orElse(p.Owner, now.Owner), orElse(p.Group, now.Group)
	if owner != now.Owner || group != now.Group {
		what = append(what, fmt.Sprintf("to %s:%s, not %s:%s", owner, group, now.Owner, now.Group))
		script += fmt.Sprintf("try chown %s %s\n", shell.Quote(owner+":"+group), shell.Quote(p.Path))
	}
	if now.Mode&^p.Mode != 0 {
		what = append(what, fmt.Sprintf("mode %04o, not %04o", now.Mode&p.Mode, now.Mode))
		script += fmt.Sprintf("try chmod %04o %s\n", now.Mode&p.Mode, shell.Quote(p.Path))
	}
	if len(what) == 0 {
		return Change{}, false
	}
	c := p.About.change(p.ID())
	c.Summary = "give " + p.Path + " " + strings.Join(what, ", and ")
	c.how.phase = phaseUnits // a package may bring the file, and chown clears setuid bits that chmod sets
	c.how.script = script
	return c, true
}

// parsePaths reads lines of "mode owner group path", with stat(2)'s whole mode
// in hex.
func (f *Facts) parsePaths(text string) error {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) != 4 {
			return fmt.Errorf("unreadable line %q", line)
		}
		mode, err := strconv.ParseUint(fields[0], 16, 32)
		if err != nil {
			return fmt.Errorf("%s has the mode %q", fields[3], fields[0])
		}
		const kind, link = 0o170000, 0o120000 // inode(7)
		if mode&kind != link {
			f.Paths[fields[3]] = PathFacts{Mode: fs.FileMode(mode & 0o7777), Owner: fields[1], Group: fields[2]}
		}
	}
	return nil
}
