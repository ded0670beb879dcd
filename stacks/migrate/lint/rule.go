package lint

import "slices"

// A Severity says how bad it is that a rule does not hold. The words are those
// of the baseline.
type Severity string

const (
	// Critical: applied, it lets outsiders read or change data, or it can't run at all.
	Critical Severity = "critical"
	// High: one more mistake away from that, or requests of a live app fail for long.
	High Severity = "high"
	// Medium: writers wait, or a safeguard is thinner than it should be.
	Medium Severity = "medium"
	// Low: worth knowing.
	Low Severity = "low"
)

// Severities returns all of them, worst first.
func Severities() []Severity { return []Severity{Critical, High, Medium, Low} }

func (s Severity) rank() int { return slices.Index(Severities(), s) }

// AtLeast reports whether s is as bad as gate, or worse.
func (s Severity) AtLeast(gate Severity) bool { return s.rank() <= gate.rank() }

// A Rule is one thing that migrations should not do.
type Rule struct {
	ID       string
	Severity Severity
	Title    string   // the promise
	Why      string   // what happens otherwise
	Sources  []string // PostgreSQL's documentation, and rules of the same meaning elsewhere
	// Given is an earlier migration that the two examples build on; may be empty.
	Given string
	// Wrong is a migration with the finding, Right one that does the same without;
	// a line such as "-- 20260201000000_invoices.sql" starts another file.
	Wrong, Right string
}

// Lookup returns a rule by its id.
func Lookup(id string) (Rule, bool) {
	i := slices.IndexFunc(rules, func(r Rule) bool { return r.ID == id })
	if i < 0 {
		return Rule{}, false
	}
	return rules[i], true
}

// Rules returns all rules, grouped by concern.
func Rules() []Rule { return slices.Clone(rules) }
