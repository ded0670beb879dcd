// Package secrets makes, checks and keeps the secrets of an environment: each
// is generated to the rule that its service documents, and all live in one age
// file that the plain age tool opens too.
//
// No error, problem or name that leaves this package holds a secret's value.
package secrets

import (
	"maps"
	"slices"
)

// A Set is the secrets of one environment by name. Besides those of Rules it
// may hold the user's own, such as "STRIPE_SECRET_KEY".
type Set map[string]string

// Names returns the names in alphabetical order.
func (s Set) Names() []string { return slices.Sorted(maps.Keys(s)) }

// Values returns the values that must never be printed, in the order of their
// names: all but those whose rule says they are public. Secrets without a rule
// are the user's own and count as secret.
func (s Set) Values() []string {
	var values []string
	for _, name := range s.Names() {
		if rule, known := ruleOf(name); s[name] != "" && !(known && rule.Public) {
			values = append(values, s[name])
		}
	}
	return values
}

// Missing returns those of names that the set lacks or holds empty, in order.
func (s Set) Missing(names ...string) []string {
	var missing []string
	for _, name := range names {
		if s[name] == "" && !slices.Contains(missing, name) {
			missing = append(missing, name)
		}
	}
	return missing
}
