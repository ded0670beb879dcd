// Package access compares what the API roles could do with a database before
// and can do after, and prints both: who may read, write and call what, by
// PostgreSQL's own account (see verify.Access).
package access

import (
	"cmp"
	"slices"
	"strings"

	"holdfast/verify"
)

// The states of a cell, in order: the later, the more.
const (
	Absent     = "absent" // the object is not there
	Denied     = "denied"
	Nothing    = "nothing"
	Filtered   = "filtered"
	Everything = "everything"
	Failed     = "error" // planning fails, so requests do
)

// rank orders states by how much they let through.
func rank(state string) int {
	switch state {
	case Filtered:
		return 2
	case Everything:
		return 3
	case Nothing:
		return 1
	}
	return 0
}

// A Cell is what one role can do with one object.
type Cell struct {
	Object string `json:"object"` // "public.invoices", "public.total(integer)"
	Kind   string `json:"kind"`   // "table", "partitioned", "foreign", "view", "materialized", "function", "definer function", "published", "bucket"
	Role   string `json:"role"`   // or the publication
	Verb   string `json:"verb"`   // "select", "insert", "update", "delete", "truncate", "execute", "publish", "download"
	State  string `json:"state"`
	Filter string `json:"filter"` // of what the planner shows, when filtered
	// Columns that the verb is granted on; empty when on all.
	Columns []string `json:"columns"`

	basis basis // what a filter rests on
}

// A basis is what decides over rows, in the catalog's words: the planner's text
// depends on indexes and statistics too, and can't be compared.
type basis struct {
	permissive, restrictive []string // expressions of the policies that apply
	text                    string   // of a view: the planner's, which has the view's own conditions too
}

// Cells returns the access matrix of a database, functions included, sorted by
// object, role and verb.
func Cells(facts *verify.Database) []Cell {
	policies := map[string][]verify.Policy{}
	for _, p := range facts.Policies {
		policies[p.Schema+"."+p.Table] = append(policies[p.Schema+"."+p.Table], p)
	}
	memberOf := map[string][]string{}
	for _, r := range facts.Roles {
		memberOf[r.Name] = r.MemberOf
	}
	reads := map[string][]string{}
	for _, v := range facts.Views {
		reads[v.Schema+"."+v.Name] = v.Reads
	}
	truncate := map[string]verify.Grants{}
	for _, t := range facts.Tables {
		truncate[t.Schema+"."+t.Name] = t.Grants
	}
	var cells []Cell
	for _, a := range facts.Access {
		object := a.Schema + "." + a.Name
		add := func(verb, state, filter string) {
			c := Cell{Object: object, Kind: a.Kind, Role: a.Role, Verb: verb, State: state, Filter: filter, Columns: append([]string{}, a.Columns[verb]...)}
			if state == Filtered {
				roles := append([]string{"public", a.Role}, memberOf[a.Role]...)
				c.basis.add(policies[object], roles, verb)
				for _, table := range reads[object] {
					c.basis.add(policies[table], roles, verb)
				}
				if a.Kind == "view" {
					c.basis.text = stable(filter)
				}
			}
			cells = append(cells, c)
		}
		add("select", a.Select, a.Filter)
		add("insert", a.Insert, "")
		add("update", a.Update, "")
		add("delete", a.Delete, "")
		if grants, ok := truncate[object]; ok && slices.Contains(granted(grants, a.Role), "TRUNCATE") {
			add("truncate", Everything, "") // row level security does not apply to it
		}
	}
	for _, f := range facts.Functions {
		if !f.Exposed || f.Trigger || f.Extension != "" {
			continue
		}
		for _, role := range f.Callers {
			kind := "function"
			if f.SecurityDefiner {
				kind = "definer function"
			}
			cells = append(cells, Cell{Object: f.Schema + "." + f.Name + "(" + f.Arguments + ")", Kind: kind, Role: role, Verb: "execute", State: Everything, Columns: []string{}})
		}
	}
	for _, p := range facts.Publications {
		for _, table := range p.Tables {
			cells = append(cells, Cell{Object: table, Kind: "published", Role: p.Name, Verb: "publish", State: Everything, Columns: []string{}})
		}
	}
	if facts.Storage != nil {
		for _, b := range facts.Storage.Buckets {
			state := Denied
			if b.Public {
				state = Everything
			}
			cells = append(cells, Cell{Object: "bucket " + b.Name, Kind: "bucket", Role: "anon", Verb: "download", State: state, Columns: []string{}})
		}
	}
	slices.SortStableFunc(cells, func(a, b Cell) int {
		return cmp.Or(cmp.Compare(a.Object, b.Object), cmp.Compare(a.Role, b.Role))
	})
	return cells
}

func granted(g verify.Grants, role string) []string {
	switch role {
	case "anon":
		return g.Anon
	case "authenticated":
		return g.Authenticated
	case "service_role":
		return g.ServiceRole
	}
	return nil
}

// add takes in the policies that apply to one of roles.
func (b *basis) add(policies []verify.Policy, roles []string, verb string) {
	for _, p := range policies {
		applies := slices.ContainsFunc(p.Roles, func(r string) bool { return slices.Contains(roles, r) })
		if !applies || p.Command != "all" && p.Command != verb {
			continue
		}
		expression := p.Using
		switch {
		case verb == "insert" && p.Check != "":
			expression = p.Check
		case verb == "update" && p.Check != "":
			expression += " check " + p.Check
		}
		if p.Permissive {
			b.permissive = append(b.permissive, expression)
		} else {
			b.restrictive = append(b.restrictive, expression)
		}
	}
}

// stable takes out of a planner's filter what differs from plan to plan.
func stable(filter string) string {
	return strings.NewReplacer("hashed ", "", "(returns $0)", "", "(returns $1)", "").Replace(filter)
}

// wider reports whether b may let a row through that a does not. It errs on the
// side of yes: what can't be told apart counts as wider.
func wider(a, b basis) bool {
	if a.text != b.text {
		return true
	}
	// Permissive policies are joined by OR, restrictive ones by AND.
	for _, expression := range b.permissive {
		if !slices.Contains(a.permissive, expression) && !slices.ContainsFunc(a.permissive, func(old string) bool { return narrows(expression, old) }) {
			return true
		}
	}
	for _, expression := range a.restrictive {
		if !slices.Contains(b.restrictive, expression) && !slices.ContainsFunc(b.restrictive, func(now string) bool { return narrows(now, expression) }) {
			return true
		}
	}
	return false
}

// narrows reports whether expression is old AND something, in PostgreSQL's own
// printing: "(old AND …)".
func narrows(expression, old string) bool {
	if strings.Contains(expression, " check ") || strings.Contains(old, " check ") {
		return false
	}
	rest, ok := strings.CutPrefix(expression, "("+old+" AND ")
	return ok && strings.HasSuffix(rest, ")") && !strings.Contains(rest, " OR ")
}

func same(a, b basis) bool {
	return a.text == b.text && slices.Equal(slices.Sorted(slices.Values(a.permissive)), slices.Sorted(slices.Values(b.permissive))) &&
		slices.Equal(slices.Sorted(slices.Values(a.restrictive)), slices.Sorted(slices.Values(b.restrictive)))
}

// Compare returns what has changed from before to after, sorted by object, role
// and verb.
//
// A change is a widening when more gets through, or may: for a filter that is
// not provably narrower. The access of a new object is a change and no
// widening: there is nothing to compare with, and the rules of the baseline
// (access.*, functions.*) say what may be open. One that is dropped and made
// anew under its name is compared.
func Compare(before, after *verify.Database) []verify.AccessChange {
	type key struct{ object, role, verb string }
	old := map[key]Cell{}
	known := map[string]bool{}
	for _, c := range Cells(before) {
		old[key{c.Object, c.Role, c.Verb}] = c
		known[c.Object] = true
	}
	for _, f := range before.Functions { // one that nobody may call has no cell
		known[f.Schema+"."+f.Name+"("+f.Arguments+")"] = true
	}
	changes := []verify.AccessChange{}
	for _, c := range Cells(after) {
		k := key{c.Object, c.Role, c.Verb}
		was, there := old[k]
		delete(old, k)
		if !there {
			was = Cell{Object: c.Object, Kind: c.Kind, Role: c.Role, Verb: c.Verb, State: Absent, Columns: []string{}}
			if known[c.Object] {
				was.State = Denied
			}
		}
		if change, ok := compare(was, c); ok {
			changes = append(changes, change)
		}
	}
	left := map[string]bool{}
	for _, c := range Cells(after) {
		left[c.Object] = true
	}
	for _, f := range after.Functions {
		left[f.Schema+"."+f.Name+"("+f.Arguments+")"] = true
	}
	for _, was := range old {
		now := was
		now.State, now.Filter, now.Columns, now.basis = Absent, "", []string{}, basis{}
		if left[was.Object] {
			now.State = Denied
		}
		if change, ok := compare(was, now); ok {
			changes = append(changes, change)
		}
	}
	slices.SortFunc(changes, func(a, b verify.AccessChange) int {
		return cmp.Or(cmp.Compare(a.Object, b.Object), cmp.Compare(a.Role, b.Role), cmp.Compare(verbOrder(a.Verb), verbOrder(b.Verb)))
	})
	return changes
}

func verbOrder(verb string) int {
	return slices.Index([]string{"select", "insert", "update", "delete", "truncate", "execute", "publish", "download"}, verb)
}

func compare(was, now Cell) (verify.AccessChange, bool) {
	change := verify.AccessChange{Object: now.Object, Kind: now.Kind, Role: now.Role, Verb: now.Verb,
		Before: was.State, After: now.State, FilterBefore: strings.Join(was.basis.expressions(), " or "), FilterAfter: strings.Join(now.basis.expressions(), " or "),
		ColumnsBefore: was.Columns, ColumnsAfter: now.Columns}
	// More columns are more access, also where the rows are the same.
	more := rank(was.State) > 0 && rank(now.State) > 0 && moreColumns(was.Columns, now.Columns)
	closed := func(state string) bool { return state == Absent || state == Denied }
	switch {
	case closed(was.State) && closed(now.State):
		return change, false // whether there was nothing to deny does not matter
	case was.State == Absent, now.Verb == "publish":
		// Realtime asks the table's policies before it passes a change on.
		return change, true
	case was.State == Filtered && now.State == Filtered:
		if same(was.basis, now.basis) {
			change.Widening = more
			return change, !slices.Equal(was.Columns, now.Columns)
		}
		change.Widening = more || wider(was.basis, now.basis)
		return change, true
	case was.State == now.State:
		// A function that now runs as its owner does more than before.
		definer := was.Kind == "function" && now.Kind == "definer function" && now.Role != "service_role"
		change.Widening = more || definer
		return change, definer || !slices.Equal(was.Columns, now.Columns)
	}
	change.Widening = more || rank(now.State) > rank(was.State)
	return change, true
}

// moreColumns reports whether after has a column that before has not; empty is all.
func moreColumns(before, after []string) bool {
	if len(before) == 0 {
		return false
	}
	return len(after) == 0 || slices.ContainsFunc(after, func(c string) bool { return !slices.Contains(before, c) })
}

// expressions are the conditions that a filter consists of.
func (b basis) expressions() []string {
	list := slices.Clone(b.permissive)
	for _, r := range b.restrictive {
		list = append(list, "restrictive "+r)
	}
	if b.text != "" {
		list = append(list, b.text)
	}
	return list
}
