package provision

import (
	"fmt"
	"strings"

	"holdfast/internal/shell"
)

// Sysctls are kernel settings, now and after the next boot.
type Sysctls struct {
	About
	Path     string // of the sysctl.d(5) file that persists them
	Settings []Setting
}

// A Setting is one kernel setting.
type Setting struct {
	Key   string // as in "net.ipv4.ip_forward"
	Value string
	// Optional: kernels may lack the key, and are then left without it. It is
	// persisted all the same, for the next kernel.
	Optional bool
}

// ID is "sysctl:" and the path.
func (s Sysctls) ID() string { return "sysctl:" + s.Path }

func (s Sysctls) observe(w *wanted) {
	s.file().observe(w)
	for _, setting := range s.Settings {
		w.sysctls = append(w.sysctls, procPath(setting.Key))
	}
}

func procPath(key string) string { return strings.ReplaceAll(key, ".", "/") }

// file is what persists the settings. A "-" before a key makes systemd-sysctl
// go on without a word where the kernel lacks it.
func (s Sysctls) file() File {
	var b strings.Builder
	b.WriteString("# Written by Holdfast.\n")
	for _, setting := range s.Settings {
		if setting.Optional {
			b.WriteString("-")
		}
		fmt.Fprintf(&b, "%s = %s\n", setting.Key, setting.Value)
	}
	return File{About: s.About, Path: s.Path, Content: b.String()}
}

// Change compares the file and the live values.
func (s Sysctls) Change(facts Facts) (Change, bool) {
	file, write := s.file().Change(facts)
	var live, script strings.Builder
	n := 0
	for _, setting := range s.Settings {
		now, known := facts.Sysctls[setting.Key]
		if now == setting.Value || !known && setting.Optional {
			continue
		}
		n++
		fmt.Fprintf(&live, "-%s = %s\n+%s = %s\n", setting.Key, now, setting.Key, setting.Value)
		fmt.Fprintf(&script, "set_sysctl %s %s\n", shell.Quote(procPath(setting.Key)), shell.Quote(setting.Value))
	}
	if !write && n == 0 {
		return Change{}, false
	}
	c := s.About.change(s.ID())
	c.Diff = file.Diff
	c.how = how{guarded: s.Guarded, phase: phaseKernel, keep: file.how.keep, script: file.how.script + script.String()}
	if n > 0 {
		c.Diff += "--- live\n+++ live\n" + live.String()
	}
	switch {
	case write && n > 0:
		c.Summary = fmt.Sprintf("set %d kernel settings, and keep them in %s", n, s.Path)
	case write:
		c.Summary = "keep the kernel settings in " + s.Path
	default:
		c.Summary = fmt.Sprintf("set %d kernel settings that have drifted", n)
	}
	return c, true
}
