package database

import (
	"slices"

	"holdfast/verify"
)

// An edge says that a view's definition names a relation.
type edge struct {
	View  string `json:"view"`  // "schema.name"
	Reads string `json:"reads"` // "schema.name"
}

// exemptions returns a function that tells whether row level security of a
// table does not apply to a role (check_enable_rls in PostgreSQL's source).
func exemptions(facts *verify.Database) func(role string, t verify.Table) bool {
	roles := map[string]verify.Role{}
	for _, r := range facts.Roles {
		roles[r.Name] = r
	}
	return func(role string, t verify.Table) bool {
		r := roles[role]
		if !t.RLSEnabled || r.Superuser || r.BypassRLS {
			return true
		}
		owns := role == t.Owner || slices.Contains(r.MemberOf, t.Owner)
		return owns && !t.RLSForced
	}
}

// reach fills in what each view reads and which row level security that skips.
//
// PostgreSQL checks what a view names as the view's owner, unless the view is a
// security invoker: then as whoever asks, also when it is reached through a view
// that is not (CREATE VIEW, "Notes"). So each view on the way counts for itself.
// A materialized view holds what its owner saw.
func reach(facts *verify.Database, edges []edge, exempt func(string, verify.Table) bool) {
	reads := map[string][]string{}
	for _, e := range edges {
		reads[e.View] = append(reads[e.View], e.Reads)
	}
	tables := map[string]verify.Table{}
	for _, t := range facts.Tables {
		tables[t.Schema+"."+t.Name] = t
	}
	views := map[string]verify.View{}
	for _, v := range facts.Views {
		views[v.Schema+"."+v.Name] = v
	}
	for i := range facts.Views {
		v := &facts.Views[i]
		v.Reads, v.Bypasses = []string{}, []string{}
		seen := map[string]bool{}
		var walk func(name string)
		walk = func(name string) {
			if seen[name] {
				return
			}
			seen[name] = true
			through := views[name]
			for _, target := range reads[name] {
				v.Reads = append(v.Reads, target)
				t, isTable := tables[target]
				if isTable && t.RLSEnabled && (!through.SecurityInvoker || through.Kind == "materialized") && exempt(through.Owner, t) {
					v.Bypasses = append(v.Bypasses, target)
				}
				if !isTable {
					walk(target)
				}
			}
		}
		walk(v.Schema + "." + v.Name)
		for _, list := range []*[]string{&v.Reads, &v.Bypasses} {
			slices.Sort(*list)
			*list = slices.Compact(*list)
		}
	}
}
