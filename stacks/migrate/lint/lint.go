// Package lint reads migrations and says what is wrong with them before any
// database is touched: what leaves data open, what blocks a live database, and
// what can't run at all.
//
// It reads with PostgreSQL's own grammar and folds the statements of all files
// into what they leave behind, so that a table whose row level security comes
// some lines later is fine, and one that loses it two files later is not. Rules
// are either about that end state or about what a live database goes through
// while a file runs; each says which in its text.
//
// It knows the files and nothing else: what a DO block builds as text, and what
// is in the database without a migration, it can't see. The gate inside the
// transaction (package migrate) judges the real catalog.
package lint

import (
	"cmp"
	"slices"

	"holdfast/stacks/migrate"
)

// Options say what is judged.
type Options struct {
	// Schemas are those the API serves; nil: public and graphql_public.
	Schemas []string
	// Pending are the versions that are not in the database yet; only findings in
	// them count, and a table that one of them creates has no traffic. Nil: it is
	// not known, all files count, and a table has traffic from the file after the
	// one that creates it.
	Pending []string
}

// A Finding is one rule that does not hold, at one place.
type Finding struct {
	Rule     string   `json:"rule"`
	Severity Severity `json:"severity"`
	Path     string   `json:"path"`
	Line     int      `json:"line"`   // from 1
	Column   int      `json:"column"` // from 1, in characters
	Message  string   `json:"message"`
	// Fix is the SQL that would be right, or what to do; of one line or several.
	Fix string `json:"fix,omitempty"`
	// Reason is why the file says that the finding is accepted; empty when it is not.
	Reason string `json:"reason,omitempty"`

	version   string
	statement int // index in its file, -1 for none
}

// A Result is what was found.
type Result struct {
	Files int `json:"files"` // that were read
	// Findings count, worst first in each file. Ignored are those that a
	// "-- holdfast:ignore" accepts, with its reason; Applied those in files that
	// the database has already.
	Findings []Finding `json:"findings"`
	Ignored  []Finding `json:"ignored"`
	Applied  []Finding `json:"applied"`
}

// Failing returns the findings from severity gate on.
func (r Result) Failing(gate Severity) []Finding {
	var list []Finding
	for _, f := range r.Findings {
		if f.Severity.AtLeast(gate) {
			list = append(list, f)
		}
	}
	return list
}

// Check judges files, which are in the order they are applied in
// (migrate.Read). It can't fail: what it can't read is a finding.
//
// The first call in a process loads the grammar, which takes over a second;
// see migrate.Warm.
func Check(files []migrate.File, options Options) Result {
	if options.Schemas == nil {
		options.Schemas = []string{"public", "graphql_public"}
	}
	l := &linter{options: options, schema: newSchema(), pending: map[string]bool{}}
	for _, version := range options.Pending {
		l.pending[version] = true
	}
	directives := make([][]*directive, len(files))
	i := 0
	for p := range parsed(files) {
		l.read(i, p)
		directives[i] = l.source.directives
		i++
	}
	l.order(files)
	l.endState()

	result := Result{Files: len(files), Findings: []Finding{}, Ignored: []Finding{}, Applied: []Finding{}}
	index := map[string]int{}
	for i, file := range files {
		index[file.Path] = i
	}
	found := l.findings
	for i, f := range found {
		found[i].Reason = accept(directives[index[f.Path]], f)
	}
	for i, file := range files {
		found = append(found, complaints(file, directives[i])...)
	}
	slices.SortStableFunc(found, func(a, b Finding) int {
		return cmp.Or(index[a.Path]-index[b.Path], a.Line-b.Line, a.Column-b.Column, a.Severity.rank()-b.Severity.rank(), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Message, b.Message))
	})
	for _, f := range slices.CompactFunc(found, same) {
		switch {
		case f.Reason != "":
			result.Ignored = append(result.Ignored, f)
		case !l.counts(f.version):
			result.Applied = append(result.Applied, f)
		default:
			result.Findings = append(result.Findings, f)
		}
	}
	return result
}

// same reports whether two findings say the same about the same place.
func same(a, b Finding) bool {
	return a.Rule == b.Rule && a.Path == b.Path && a.Line == b.Line && a.Column == b.Column && a.Message == b.Message
}

// counts reports whether findings in a file of that version count.
func (l *linter) counts(version string) bool {
	return l.options.Pending == nil || l.pending[version]
}

// exposed reports whether the API serves a schema.
func (o Options) exposed(schema string) bool { return slices.Contains(o.Schemas, schema) }
