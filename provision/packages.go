package provision

import (
	"slices"
	"strings"
)

// Packages are Debian packages that are installed. Those of all resources are
// installed together. "a | b" is content with b, and installs a when neither is
// there.
type Packages struct {
	About
	Names []string
	// ByOS are further ones for one system, by [OS.Key].
	ByOS map[string][]string
}

// ID is "packages:" and the concern.
func (p Packages) ID() string { return "packages:" + p.Concern }

func (p Packages) observe(w *wanted) {
	for _, names := range p.ByOS {
		for _, name := range names {
			w.packages = append(w.packages, alternatives(name)...)
		}
	}
	for _, name := range p.Names {
		w.packages = append(w.packages, alternatives(name)...)
	}
}

// Change lists what is missing. A package that is unpacked and not configured
// counts as missing.
func (p Packages) Change(facts Facts) (Change, bool) {
	if !p.appliesTo(facts) {
		return Change{}, false
	}
	var missing []string
	for _, name := range slices.Concat(p.Names, p.ByOS[facts.OS.Key()]) {
		installed := func(name string) bool { return facts.Packages[name] == "installed" }
		if options := alternatives(name); !slices.ContainsFunc(options, installed) {
			missing = append(missing, options[0])
		}
	}
	if len(missing) == 0 {
		return Change{}, false
	}
	c := p.About.change(p.ID())
	c.Summary = "install " + strings.Join(missing, ", ")
	c.how.phase, c.how.packages = phasePackages, missing
	c.how.guarded = false // installing locks nobody out, and may take longer than a guard waits
	return c, true
}

func alternatives(name string) []string {
	options := strings.Split(name, "|")
	for i := range options {
		options[i] = strings.TrimSpace(options[i])
	}
	return options
}
