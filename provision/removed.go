package provision

import "strings"

// Removed are Debian packages that are not installed. Removing one purges its
// settings, and removes what can't do without it.
type Removed struct {
	About
	Names []string
}

// ID is "removed:" and the concern.
func (r Removed) ID() string { return "removed:" + r.Concern }

func (r Removed) observe(w *wanted) { w.packages = append(w.packages, r.Names...) }

// Change lists what is installed, or was interrupted while it was installed. A
// package of which only settings are left counts as removed.
func (r Removed) Change(facts Facts) (Change, bool) {
	if !r.appliesTo(facts) {
		return Change{}, false
	}
	var there []string
	for _, name := range r.Names {
		switch facts.Packages[name] {
		case "", "not-installed", "config-files":
		default:
			there = append(there, name)
		}
	}
	if len(there) == 0 {
		return Change{}, false
	}
	c := r.About.change(r.ID())
	c.Summary = "remove " + strings.Join(there, ", ")
	c.how.phase = phasePackages
	c.how.script = "apt purge " + strings.Join(there, " ") + "\n"
	c.how.guarded = false // as with installing
	return c, true
}
