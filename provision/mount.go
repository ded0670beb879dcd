package provision

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"holdfast/internal/shell"
)

// A Mount is how a file system is mounted, now and after the next boot. It is
// kept in fstab(5), which systemd.mount(5) prefers to units of one's own and
// which alone also speaks for /dev/shm (systemd-remount-fs.service(8)).
type Mount struct {
	About
	Where string // mount point: absolute, without blanks
	// What is mounted there at boot, of which Type: a device, a name such as
	// "tmpfs", or a folder with Type "none" and the option "bind". "": only the
	// options of what is mounted there anyway are kept.
	What, Type string
	// Options must be in force, as in "noexec"; others may be as well.
	Options []string
}

// MountFacts are what is mounted at a point.
type MountFacts struct {
	Type    string   `json:"type"`
	Source  string   `json:"source"`
	Options []string `json:"options"` // of the mount point, not of the file system
}

// ID is "mount:" and the point.
func (m Mount) ID() string { return "mount:" + m.Where }

const fstab = "/etc/fstab"

func (m Mount) observe(w *wanted) {
	w.mounts = append(w.mounts, m.Where)
	w.files = append(w.files, fstab)
}

// Change compares what is mounted, and what fstab says of the next boot. A
// point where nothing is mounted gets its mount at the next boot: mounting over
// a folder in use would hide its files from those who are at work there.
func (m Mount) Change(facts Facts) (Change, bool) {
	if !m.appliesTo(facts) {
		return Change{}, false
	}
	now, mounted := facts.Mounts[m.Where]
	if m.What == "" && !mounted {
		return Change{}, false
	}
	c := m.About.change(m.ID())
	// Before systemd reads fstab anew.
	c.how.phase, c.how.keep = phaseKernel, []string{fstab}
	var what []string
	if missing := m.missing(now.Options); mounted && len(missing) > 0 {
		what = append(what, fmt.Sprintf("mount %s %s from now on", m.Where, strings.Join(missing, ", ")))
		// "remount" alone would take what fstab says as well, size and all
		// (mount(8)): with "bind" it sets the mount point's own options.
		options := append(slices.Clone(now.Options), missing...)
		c.how.script = fmt.Sprintf("try mount -o %s %s\n", shell.Quote("remount,bind,"+strings.Join(options, ",")), shell.Quote(m.Where))
	}
	if line, want := fstabLine(facts, 2, m.Where), m.line(now); !m.kept(line) {
		what = append(what, fmt.Sprintf("keep that in %s", fstab))
		if !mounted {
			what[len(what)-1] = fmt.Sprintf("mount %s with %s at the next boot", m.Where, strings.Join(m.options(), ", "))
		}
		c.Diff = fstabDiff(line, want)
		c.how.script = fmt.Sprintf("fstab 2 %s %s\n", shell.Quote(m.Where), shell.Quote(want)) + c.how.script
		c.how.actions = []string{"daemon-reload"}
	}
	if len(what) == 0 {
		return Change{}, false
	}
	c.Summary = strings.Join(what, ", and ")
	return c, true
}

// options are those that can be in force, without words to mount(8) itself.
func (m Mount) options() []string {
	return slices.DeleteFunc(slices.Clone(m.Options), func(o string) bool { return o == "bind" })
}

// missing returns the options that are not among those in force.
func (m Mount) missing(have []string) []string {
	return slices.DeleteFunc(m.options(), func(o string) bool { return slices.Contains(have, o) })
}

// kept reports whether a line of fstab has all the options.
func (m Mount) kept(line string) bool {
	fields := strings.Fields(line)
	return len(fields) >= 4 && len(m.missing(strings.Split(fields[3], ","))) == 0 &&
		(m.What == "" || fields[0] == m.What && fields[2] == m.Type)
}

// line is the line of fstab.
func (m Mount) line(now MountFacts) string {
	what, kind := m.What, m.Type
	if what == "" {
		what, kind = now.Source, now.Type
	}
	options := slices.Clone(m.Options)
	if kind == "tmpfs" {
		options = append(options, "mode=1777")
	}
	return strings.Join([]string{what, m.Where, kind, strings.Join(options, ","), "0", "0"}, " ")
}

// fstabLine returns the line of fstab whose field, counted from 1, is key.
func fstabLine(facts Facts, field int, key string) string {
	for line := range strings.Lines(string(facts.Files[fstab].Content)) {
		if fields := strings.Fields(line); len(fields) >= field && !strings.HasPrefix(fields[0], "#") && fields[field-1] == key {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

func fstabDiff(old, line string) string {
	diff := "--- " + fstab + "\n+++ " + fstab + "\n"
	if old != "" {
		diff += "-" + old + "\n"
	}
	return diff + "+" + line + "\n"
}

// parseMounts reads lines of "mount POINT TYPE SOURCE OPTIONS" and of "swap
// FILE KIBIBYTES".
func (f *Facts) parseMounts(text string) error {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 5 && fields[0] == "mount":
			f.Mounts[fields[1]] = MountFacts{Type: fields[2], Source: fields[3], Options: strings.Split(fields[4], ",")}
		case len(fields) == 3 && fields[0] == "swap":
			kib, err := strconv.ParseInt(fields[2], 10, 64)
			if err != nil || kib < 0 {
				return fmt.Errorf("%s is swap of %q KiB", fields[1], fields[2])
			}
			f.SwapMiB += kib >> 10
		default:
			return fmt.Errorf("unreadable line %q", line)
		}
	}
	return nil
}
