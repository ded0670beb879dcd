package database

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"holdfast/verify"
)

// What a role can do with a relation; see verify.Access. In order: the later, the more.
const (
	denied     = "denied"
	nothing    = "nothing"
	filtered   = "filtered"
	everything = "everything"
	failed     = "error"
)

// A cell is one answer of matrix.sql.
type cell struct {
	Schema  string          `json:"schema"`
	Name    string          `json:"name"`
	Role    string          `json:"role"`
	Verb    string          `json:"verb"`
	State   string          `json:"state"` // SQLSTATE; empty when the query was planned
	Message string          `json:"message"`
	Columns []string        `json:"columns"` // those the privilege is on, when it is not on all
	Plan    json.RawMessage `json:"plan"`    // EXPLAIN's; absent when the privilege alone was looked at
}

// A plan is one node of EXPLAIN (FORMAT JSON).
type plan struct {
	Type     string `json:"Node Type"`
	Parent   string `json:"Parent Relationship"`
	Join     string `json:"Join Type"`
	Relation string `json:"Relation Name"`
	Schema   string `json:"Schema"`
	Filter   string `json:"Filter"`
	Once     string `json:"One-Time Filter"`
	Index    string `json:"Index Cond"`
	TID      string `json:"TID Cond"`
	Plans    []plan `json:"Plans"`
}

// A builder turns cells into one Access for each relation and role.
type builder struct {
	facts    *verify.Database
	exempt   func(string, verify.Table) bool
	kinds    map[string]string
	tables   map[string]verify.Table
	views    map[string]verify.View
	policies map[string][]verify.Policy // of a table
	access   []verify.Access
}

func newBuilder(facts *verify.Database, exempt func(string, verify.Table) bool) *builder {
	b := &builder{facts: facts, exempt: exempt, kinds: map[string]string{}, tables: map[string]verify.Table{}, views: map[string]verify.View{},
		policies: map[string][]verify.Policy{}, access: []verify.Access{}}
	for _, t := range facts.Tables {
		b.kinds[t.Schema+"."+t.Name], b.tables[t.Schema+"."+t.Name] = t.Kind, t
	}
	for _, v := range facts.Views {
		b.kinds[v.Schema+"."+v.Name], b.views[v.Schema+"."+v.Name] = v.Kind, v
	}
	for _, p := range facts.Policies {
		b.policies[p.Schema+"."+p.Table] = append(b.policies[p.Schema+"."+p.Table], p)
	}
	return b
}

// add takes in cells; those of one relation and role follow each other.
func (b *builder) add(cells []cell) error {
	for _, c := range cells {
		name := c.Schema + "." + c.Name
		if n := len(b.access); n == 0 || b.access[n-1].Schema != c.Schema || b.access[n-1].Name != c.Name || b.access[n-1].Role != c.Role {
			b.access = append(b.access, verify.Access{Schema: c.Schema, Name: c.Name, Kind: b.kinds[name], Role: c.Role, Columns: map[string][]string{}})
		}
		a := &b.access[len(b.access)-1]
		answer, filter, target, err := c.read()
		if err != nil {
			return fmt.Errorf("read the access matrix: %s as %s on %s: %w", c.Verb, c.Role, name, err)
		}
		if answer == failed && a.Error == "" {
			a.Error = c.State + " " + c.Message
		}
		if t, ok := b.tables[name]; ok && answer == everything && len(c.Plan) == 0 {
			answer = b.permitted(t, c.Role, c.Verb)
		}
		if len(c.Columns) > 0 && answer != denied {
			a.Columns[c.Verb] = c.Columns
		}
		switch c.Verb {
		case "select":
			a.Select, a.Filter = answer, filter
		case "insert":
			// The plan of an INSERT does not show what is checked.
			if t, ok := b.tables[target]; ok && answer == everything && !slices.Contains(b.views[name].Bypasses, target) {
				answer = b.permitted(t, c.Role, "insert")
			}
			a.Insert = answer
		case "update":
			a.Update = answer
		case "delete":
			a.Delete = answer
		}
	}
	return nil
}

// read returns what a cell says, the filter, and the table that is written to.
func (c cell) read() (answer, filter, target string, err error) {
	switch c.State {
	case "":
	case "42501", // insufficient_privilege
		"55000", "0A000", "42809": // the view can't be written to
		return denied, "", "", nil
	default:
		return failed, "", "", nil
	}
	if len(c.Plan) == 0 {
		return everything, "", "", nil
	}
	var explained []struct {
		Plan plan `json:"Plan"`
	}
	if err := json.Unmarshal(c.Plan, &explained); err != nil || len(explained) != 1 {
		return "", "", "", fmt.Errorf("read the plan: %v", err)
	}
	root := explained[0].Plan
	if root.Type == "ModifyTable" {
		target = root.Schema + "." + root.Relation
		if c.Verb == "insert" {
			return everything, "", target, nil
		}
	}
	answer, filters := root.access()
	if answer != filtered {
		return answer, "", target, nil
	}
	slices.Sort(filters)
	return answer, strings.Join(slices.Compact(filters), " and "), target, nil
}

// access says how many of the rows a plan lets through, and by which filters.
func (p plan) access() (string, []string) {
	// Where a view adds a condition of its own, the policies' false stays a filter.
	if p.Once == "false" || strings.HasPrefix(p.Filter, "(false AND ") && closing(p.Filter, 0) == len(p.Filter)-1 {
		return nothing, nil
	}
	var filters []string
	for _, f := range []string{p.Filter, p.Once, p.Index, p.TID} {
		if f != "" {
			filters = append(filters, f)
		}
	}
	result := everything
	if len(filters) > 0 || p.Join == "Semi" || p.Join == "Anti" {
		result = filtered
	}
	best, branches := nothing, 0
	for _, child := range p.Plans {
		if child.Parent == "InitPlan" || child.Parent == "SubPlan" {
			continue // computes a value, yields no rows
		}
		answer, more := child.access()
		filters = append(filters, more...)
		branches++
		if p.Type == "Append" || p.Type == "Merge Append" {
			// Rows of any branch come through: the widest counts.
			if order(answer) > order(best) {
				best = answer
			}
			continue
		}
		if order(answer) < order(result) {
			result = answer
		}
	}
	if (p.Type == "Append" || p.Type == "Merge Append") && branches > 0 && order(best) < order(result) {
		result = best
	}
	return result, filters
}

func order(answer string) int {
	return slices.Index([]string{denied, nothing, filtered, everything}, answer)
}

// permitted says what the policies let a role do that has the privilege.
func (b *builder) permitted(t verify.Table, role, verb string) string {
	if b.exempt(role, t) {
		return everything
	}
	var memberOf []string
	for _, r := range b.facts.Roles {
		if r.Name == role {
			memberOf = r.MemberOf
		}
	}
	permitted, free, restricted := false, false, false
	for _, p := range b.policies[t.Schema+"."+t.Name] {
		applies := slices.ContainsFunc(p.Roles, func(r string) bool {
			return r == "public" || r == role || slices.Contains(memberOf, r)
		})
		if !applies || p.Command != "all" && p.Command != verb {
			continue
		}
		always := p.UsingTrue
		if verb == "insert" {
			always = p.CheckTrue
		}
		switch {
		case !p.Permissive:
			restricted = restricted || !always
		default:
			permitted = true
			free = free || always
		}
	}
	switch {
	case !permitted:
		return nothing
	case free && !restricted:
		return everything
	}
	return filtered
}
