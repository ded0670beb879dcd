package access

import (
	"fmt"
	"slices"
	"strings"

	"holdfast/verify"
)

// An Allowance permits widenings of one object: "public.invoices:authenticated:select".
type Allowance struct {
	Object string // "schema.name", of a function with its argument types; "bucket name"
	Role   string // "*" is any
	Verb   string // "*" is any
}

// ParseAllowance reads "object:role:verb". A function's object has its argument
// types: "public.total(integer):anon:execute".
func ParseAllowance(text string) (Allowance, error) {
	parts := strings.Split(text, ":")
	n := len(parts)
	if n < 3 {
		return Allowance{}, fmt.Errorf("%q is not <schema.name>:<role>:<verb>, such as public.invoices:authenticated:select", text)
	}
	a := Allowance{Object: strings.Join(parts[:n-2], ":"), Role: parts[n-2], Verb: strings.ToLower(parts[n-1])}
	verbs := []string{"select", "insert", "update", "delete", "truncate", "execute", "download", "*"}
	switch {
	case !strings.Contains(a.Object, ".") && !strings.HasPrefix(a.Object, "bucket ") || strings.Contains(a.Object, "*"):
		return Allowance{}, fmt.Errorf("%q names no object as schema.name", text)
	case a.Role == "":
		return Allowance{}, fmt.Errorf("%q names no role", text)
	case !slices.Contains(verbs, a.Verb):
		return Allowance{}, fmt.Errorf("%q: the verb is one of %s", text, strings.Join(verbs, ", "))
	}
	return a, nil
}

// covers reports whether the allowance is for a change.
func (a Allowance) covers(c verify.AccessChange) bool {
	return a.Object == c.Object && (a.Role == "*" || a.Role == c.Role) && (a.Verb == "*" || a.Verb == c.Verb)
}

// Allow marks the changes that are allowed, and returns the allowances that no
// widening needed: a typo, perhaps.
func Allow(changes []verify.AccessChange, allowances []Allowance) (unused []Allowance) {
	used := map[Allowance]bool{}
	for i := range changes {
		for _, a := range allowances {
			if changes[i].Widening && a.covers(changes[i]) {
				changes[i].Allowed, used[a] = true, true
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(allowances), func(a Allowance) bool { return used[a] })
}
