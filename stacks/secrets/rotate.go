package secrets

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Follow returns values together with what has to be made anew because it is
// derived from one of them that differs from what is in force: a new JWT_SECRET
// makes new API keys. What values itself holds stays as it is.
func (f *File) Follow(values Set, now time.Time) (Set, error) {
	set := f.Wanted()
	for name, value := range values {
		set[name] = value
	}
	for name := range values {
		rule, known := ruleOf(name)
		if !known || values[name] == f.Set[name] {
			continue
		}
		for _, derived := range rule.Rotation.Reissues {
			if _, given := values[derived]; !given || values[derived] == f.Set[derived] {
				delete(set, derived)
			}
		}
	}
	set, err := Generate(set, now)
	if err != nil {
		return nil, err
	}
	followed := Set{}
	for name, value := range set {
		if f.Set[name] != value {
			followed[name] = value
		}
	}
	return followed, nil
}

// Renew returns new values for the named secrets and for what is derived from
// them. It fails for a secret that is not there, and for the user's own, which
// only the user can make.
func (f *File) Renew(names []string, now time.Time) (Set, error) {
	for _, name := range names {
		_, known := ruleOf(name)
		switch {
		case !known && f.Set[name] != "":
			return nil, hinted(fmt.Errorf("%s is your own: who issued it makes the new one", name),
				"put the new value in with `holdfast secrets edit --set "+name+"`, then `holdfast deploy`")
		case !known:
			return nil, hinted(fmt.Errorf("there is no secret %q", name), "`holdfast secrets list` shows them")
		case f.Set[name] == "":
			return nil, hinted(fmt.Errorf("%s has no value yet", name), "`holdfast init` in the environment's folder makes it")
		}
	}
	named := func(name string) bool {
		return slices.ContainsFunc(names, func(n string) bool {
			rule, _ := ruleOf(n)
			return n == name || slices.Contains(rule.Rotation.Reissues, name)
		})
	}
	set := Set{}
	for name, value := range f.Set {
		if !named(name) {
			set[name] = value
		}
	}
	set, err := Generate(set, now)
	if err != nil {
		return nil, err
	}
	values := Set{}
	for name, value := range set {
		if named(name) {
			values[name] = value
		}
	}
	return values, nil
}

// Involved reports whether a new value of the secret has to be stored in a running
// database, or brings others with it: it can't simply be written down.
func Involved(name string) bool {
	rule, known := ruleOf(name)
	return known && (len(rule.Rotation.Stored) > 0 || len(rule.Rotation.Reissues) > 0)
}

// A Placement is one Stored that has to follow, with the secret whose value it takes.
type Placement struct {
	Stored
	Secret string
}

// Placements returns what has to follow in the databases of a stack when the named
// secrets change, each place once, in the order of the rules.
func Placements(stack string, names []string) []Placement {
	var all []Placement
	for _, rule := range rules {
		if !slices.Contains(names, rule.Name) {
			continue
		}
		for _, s := range rule.Rotation.Stored {
			same := func(p Placement) bool { return p.SQL != "" && p.Database == s.Database && p.SQL == s.SQL }
			if s.Stack == stack && !slices.ContainsFunc(all, same) {
				all = append(all, Placement{s, rule.Name})
			}
		}
	}
	return all
}

// Restarts returns the services that read one of the named secrets, as
// "stack/service", sorted.
func Restarts(names []string) []string {
	var services []string
	for _, rule := range rules {
		if slices.Contains(names, rule.Name) {
			services = append(services, rule.Consumers...)
		}
	}
	slices.Sort(services)
	return slices.Compact(services)
}

// Describe says in a few words what rotating a secret entails besides restarts.
func (p Procedure) Describe() string {
	var parts []string
	if len(p.Reissues) > 0 {
		parts = append(parts, "makes "+strings.Join(p.Reissues, ", ")+" anew")
	}
	for _, s := range p.Stored {
		if len(s.Roles) > 0 {
			parts = append(parts, "changes passwords in the "+s.Stack+" database")
		} else {
			parts = append(parts, "rebuilds what "+s.Holder+" keeps")
		}
	}
	if p.Breaks != "" {
		parts = append(parts, "ends "+p.Breaks)
	}
	if p.Loses != "" {
		parts = append(parts, "LOSES "+p.Loses)
	}
	if len(parts) == 0 {
		return "restarts its consumers"
	}
	return strings.Join(parts, "; ")
}

// effects names the kinds of things that Describe tells.
func (p Procedure) effects() string {
	kinds := []string{"restarts"}
	if len(p.Stored) > 0 {
		kinds = append(kinds, "database")
	}
	if len(p.Reissues) > 0 {
		kinds = append(kinds, "new keys")
	}
	if p.Breaks != "" {
		kinds = append(kinds, "clients")
	}
	if p.Loses != "" {
		kinds = append(kinds, "LOSES DATA")
	}
	return strings.Join(kinds, ", ")
}
