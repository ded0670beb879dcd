// Package report tells people and programs what a verification found: on the
// terminal, as JSON, as Markdown and as one HTML page. Every format shows the
// same Report; none of them decides anything.
//
// Names of tables, containers and files come from the observed servers, whose
// owners may be hostile: no format lets them write control sequences, markup or
// directions of writing.
package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"holdfast/verify"
	"holdfast/verify/access"
	"holdfast/verify/baseline"
)

// Schema is the version of the JSON format.
const Schema = 1

// A Report is one verification, ready to be shown.
type Report struct {
	Schema      int                   `json:"schema"`
	Environment string                `json:"environment"`
	CollectedAt time.Time             `json:"collected_at"`
	EvaluatedAt time.Time             `json:"evaluated_at"`
	Gate        baseline.Severity     `json:"gate"`   // findings from this severity on fail the run
	Passed      bool                  `json:"passed"` // the gate
	Reason      string                `json:"reason"` // why it did not pass; empty when it did
	Counts      Counts                `json:"counts"`
	Layers      []Layer               `json:"layers"`
	Findings    []baseline.Finding    `json:"findings"` // worst first
	Outcomes    []baseline.Outcome    `json:"rules"`
	Missing     []verify.CollectError `json:"missing"` // facts that could not be collected
	Access      []access.Row          `json:"access"`  // who can reach what in the database; roles that reach nothing of an object are left out
}

// Counts says how many rules ended in each verdict.
type Counts struct {
	Rules         int `json:"rules"`
	Pass          int `json:"pass"`
	Fail          int `json:"fail"`
	WaiverExpired int `json:"waiver_expired"`
	Error         int `json:"error"`
	Waived        int `json:"waived"`
	Skipped       int `json:"skipped"`
}

// A Layer is the counts of one layer.
type Layer struct {
	Name string `json:"name"`
	Counts
}

// New joins facts and result into a report. gate decides whether it passed.
func New(facts *verify.Facts, result baseline.Result, gate baseline.Severity) Report {
	r := Report{
		Schema: Schema, Environment: facts.Environment, CollectedAt: facts.CollectedAt, EvaluatedAt: result.EvaluatedAt,
		Gate: gate, Passed: true, Findings: result.Findings, Outcomes: result.Outcomes, Missing: facts.Errors,
		Access: []access.Row{},
		Counts: count(result.Outcomes, ""),
	}
	if err := baseline.Gate(result, gate); err != nil {
		r.Passed, r.Reason = false, err.Error()
	}
	if facts.Database != nil {
		r.Access = slices.DeleteFunc(append(r.Access, access.Rows(access.Cells(facts.Database))...), func(row access.Row) bool { return !row.Reaches() })
	}
	for _, name := range verify.Layers() {
		if c := count(result.Outcomes, name); c.Rules > 0 {
			r.Layers = append(r.Layers, Layer{name, c})
		}
	}
	return r
}

// count counts the outcomes of one layer, or of all when layer is empty.
func count(outcomes []baseline.Outcome, layer string) Counts {
	var c Counts
	for _, o := range outcomes {
		if layer != "" && o.Layer != layer {
			continue
		}
		c.Rules++
		switch o.Verdict {
		case baseline.Pass:
			c.Pass++
		case baseline.Fail:
			c.Fail++
		case baseline.WaiverExpired:
			c.WaiverExpired++
		case baseline.Error:
			c.Error++
		case baseline.Waived:
			c.Waived++
		case baseline.Skipped:
			c.Skipped++
		}
	}
	return c
}

// String is the counts as a line: "154 rules: 150 pass, 4 waived".
func (c Counts) String() string {
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{{c.Error, "undecided"}, {c.Fail, "failed"}, {c.WaiverExpired, "with an expired waiver"}, {c.Waived, "waived"}, {c.Skipped, "not applicable"}, {c.Pass, "passed"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	noun := "rules"
	if c.Rules == 1 {
		noun = "rule"
	}
	return fmt.Sprintf("%d %s: %s", c.Rules, noun, strings.Join(parts, ", "))
}

// Verdict is the gate's decision as a sentence.
func (r Report) Verdict() string {
	if r.Passed {
		return fmt.Sprintf("passed: nothing of severity %s or worse", r.Gate)
	}
	return "failed: " + r.Reason
}

// A group is the findings of one rule that share a verdict.
type group struct {
	baseline.Finding // the first of them, for what they share
	All              []baseline.Finding
}

// groups sorts findings by rule and verdict, in their order.
func groups(findings []baseline.Finding, verdicts ...baseline.Verdict) []group {
	var all []group
	index := map[string]int{}
	for _, f := range findings {
		if !slices.Contains(verdicts, f.Verdict) {
			continue
		}
		key := f.Rule + " " + string(f.Verdict)
		at, known := index[key]
		if !known {
			at = len(all)
			index[key] = at
			all = append(all, group{Finding: f})
		}
		all[at].All = append(all[at].All, f)
	}
	return all
}

// Fixes are the different remedies of a group's findings, in their order.
func (g group) Fixes() []string {
	var fixes []string
	for _, f := range g.All {
		if f.Fix != "" && !slices.Contains(fixes, f.Fix) {
			fixes = append(fixes, f.Fix)
		}
	}
	return fixes
}

// Open are the findings that need someone: failed, undecided, expired.
func (r Report) Open() []group {
	return groups(r.Findings, baseline.Fail, baseline.WaiverExpired, baseline.Error)
}

// Accepted are the waived findings.
func (r Report) Accepted() []group { return groups(r.Findings, baseline.Waived) }

// where names the thing a finding is about.
func where(f baseline.Finding) string {
	if f.Server == "" || f.Server == f.On {
		return f.On
	}
	return f.Server + " " + f.On
}

// because is a waiver in words.
func because(f baseline.Finding) string {
	if f.Waiver == nil {
		return ""
	}
	verb := "accepted until"
	if f.Verdict == baseline.WaiverExpired {
		verb = "was accepted until"
	}
	return fmt.Sprintf("%s %s by %s: %s", verb, f.Waiver.Expires, f.Waiver.Owner, f.Waiver.Reason)
}

// label is what a finding counts as.
func label(f baseline.Finding) string {
	if f.Verdict == baseline.Error {
		return "undecided"
	}
	return string(cmp.Or(f.Severity, baseline.Low))
}

// harmful reports whether a character of the basic plane does more than be
// seen: it controls, formats or breaks lines.
func harmful(r rune) bool {
	return unicode.IsControl(r) || r <= 0xffff && (unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r))
}

// plain makes foreign text harmless to whatever shows it: control characters,
// also those that turn the direction of writing or hide, become their code.
func plain(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n' || r == '\t':
			b.WriteByte(' ')
		case harmful(r):
			fmt.Fprintf(&b, "\\u%04x", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
