// Package baseline holds the rules that an environment must keep and evaluates
// them over facts. A rule is data: a CEL expression over verify.Facts with a
// severity, a message and what to do about it. The rules in the rules folder
// are the default baseline, "holdfast/v1"; an environment's
// security-baseline.yml extends it with own rules, other severities and
// waivers.
//
// Rules are pure functions of facts: nothing here touches a server, so saved
// facts give the same result again.
package baseline

import (
	"fmt"
	"strings"
)

// DefaultName is what a baseline extends to take the embedded rules.
const DefaultName = "holdfast/v1"

// A Severity says how bad it is that a rule does not hold.
type Severity string

// The severities, worst first.
const (
	// Critical: someone outside can read or change data, or take the server,
	// now, with what is public. Stop and repair.
	Critical Severity = "critical"
	// High: one more mistake, one leaked key or one known bug away from
	// critical; or a safeguard the design counts on is missing. Repair today.
	High Severity = "high"
	// Medium: defence in depth is thinner than declared, or an incident would
	// be harder to notice or to undo. Repair with the next change.
	Medium Severity = "medium"
	// Low: hygiene; nothing known follows from it alone.
	Low Severity = "low"
)

// Severities lists all severities, worst first.
func Severities() []Severity { return []Severity{Critical, High, Medium, Low} }

// rank is 0 for the worst severity; an unknown one ranks behind all.
func (s Severity) rank() int {
	for i, known := range Severities() {
		if s == known {
			return i
		}
	}
	return len(Severities())
}

// AtLeast reports whether s is as bad as gate or worse.
func (s Severity) AtLeast(gate Severity) bool { return s.rank() <= gate.rank() }

// ParseSeverity reads a severity as written in a file or on a command line.
func ParseSeverity(text string) (Severity, error) {
	s := Severity(text)
	if s.rank() == len(Severities()) {
		return "", fmt.Errorf("severity %q is none of critical, high, medium, low", text)
	}
	return s, nil
}

// A Rule is one entry of a baseline, as written in YAML.
type Rule struct {
	// ID names the rule for good: "ssh.password-login". Lower-case words
	// joined with "-", grouped by ".".
	ID       string   `yaml:"id"`
	Title    string   `yaml:"title"` // the promise, as a sentence without a full stop
	Layer    string   `yaml:"layer"` // one of verify.Layers
	Severity Severity `yaml:"severity"`
	// Runbook is the part of the runbook series the rule belongs to: 1 the
	// Supabase stack, 2 Next.js, 3 edge functions, 4 Trigger.dev, 5 the
	// auditor, 6 servers and operations.
	Runbook int `yaml:"runbook"`
	// On names the server roles the rule is evaluated for, with "server" and
	// "role" bound in its expressions. Empty: once for the environment.
	On []string `yaml:"on,omitempty"`
	// When, a CEL condition, says whether the rule applies at all. Empty: it
	// does.
	When string `yaml:"when,omitempty"`
	// Each is a CEL list; Holds is evaluated for each element, bound to "it".
	// Of a map, the keys are taken. Empty: Holds is evaluated once.
	Each string `yaml:"each,omitempty"`
	// Holds is the CEL condition that must be true.
	Holds string `yaml:"holds"`
	// Subject names the element a finding is about, with {CEL} placeholders.
	// Empty: the element itself when it is text, or its (schema and) name.
	Subject string `yaml:"subject,omitempty"`
	Message string `yaml:"message"` // what is wrong, with {CEL} placeholders; "{{" is a brace
	Fix     string `yaml:"fix"`     // a command or an edit, with {CEL} placeholders
	// Params are values the expressions use as params.NAME; an override in
	// security-baseline.yml may set another value of the same type.
	Params     map[string]any `yaml:"params,omitempty"`
	References []string       `yaml:"references,omitempty"`
}

// An Override changes a rule of the extended baseline.
type Override struct {
	Rule     string         `yaml:"rule"`
	Severity Severity       `yaml:"severity,omitempty"`
	Params   map[string]any `yaml:"params,omitempty"`
	Disabled bool           `yaml:"disabled,omitempty"`
	Reason   string         `yaml:"reason,omitempty"` // required with Disabled
}

// A Waiver accepts findings of one rule for a time. An expired waiver no longer
// accepts anything; one that matches nothing is itself reported.
type Waiver struct {
	Rule string `yaml:"rule" json:"rule"`
	// On is a glob ("*" is any text) over what the finding is about: its
	// subject, its server, or "server/subject". Empty: everything.
	On      string `yaml:"on,omitempty" json:"on,omitempty"`
	Reason  string `yaml:"reason" json:"reason"`
	Owner   string `yaml:"owner" json:"owner"`
	Expires string `yaml:"expires" json:"expires"` // the last day it counts, UTC, YYYY-MM-DD
}

// matches reports whether the waiver is for a finding of rule on subject.
func (w Waiver) matches(rule, server, subject string) bool {
	if w.Rule != rule {
		return false
	}
	return w.On == "" || glob(w.On, subject) || server != "" && (glob(w.On, server) || glob(w.On, server+"/"+subject))
}

// glob reports whether text matches pattern, in which "*" stands for any text,
// also with slashes and dots in it: subjects are paths, tables and services.
func glob(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	if !strings.HasPrefix(text, parts[0]) {
		return false
	}
	text = text[len(parts[0]):]
	for _, part := range parts[1 : len(parts)-1] {
		at := strings.Index(text, part)
		if at < 0 {
			return false
		}
		text = text[at+len(part):]
	}
	return strings.HasSuffix(text, parts[len(parts)-1])
}
