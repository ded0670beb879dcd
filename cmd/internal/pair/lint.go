package pair

import (
	"fmt"
	"slices"
	"strings"

	"holdfast/internal/ui"
	"holdfast/stacks/migrate/lint"
)

// lint judges migrations as files: all of them give the context, those pending
// up to a version count (empty: all). With none pending there is nothing to
// judge, and the grammar is not loaded.
func (p *Pair) lint(to string) error {
	pending := p.pendingVersions(to)
	if len(pending) == 0 {
		return nil
	}
	result := lint.Check(p.Migrations, lint.Options{Schemas: p.schemas(), Pending: pending})
	gate := lint.Severity(p.Env.Gate)
	if failing := result.Failing(gate); len(failing) > 0 {
		return &LintError{Findings: failing, Gate: gate}
	}
	if n := len(result.Findings); n > 0 {
		p.ui.Progress("", "note: %d findings in pending migrations are below the gate; `holdfast migrate lint` shows them", n)
	}
	return nil
}

// pendingVersions are those of the folder, up to one, that the observed history lacks.
func (p *Pair) pendingVersions(to string) []string {
	if p.Env.Stacks.Supabase == nil {
		return nil
	}
	var versions []string
	for _, f := range p.Migrations {
		if (to == "" || f.Version <= to) && !slices.Contains(p.Production.State.Migrations.Versions, f.Version) {
			versions = append(versions, f.Version)
		}
	}
	return versions
}

// A LintError is a pending migration that must not reach the database.
type LintError struct {
	Findings []lint.Finding
	Gate     lint.Severity
}

func (e *LintError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "pending migrations have %d findings at the gate (%s) or above; the database was not touched", len(e.Findings), e.Gate)
	for _, f := range e.Findings {
		fmt.Fprintf(&b, "\n  %s:%d:%d: %s %s: %s", f.Path, f.Line, f.Column, f.Severity, f.Rule, f.Message)
		if f.Fix != "" {
			b.WriteString("\n    fix: " + strings.ReplaceAll(f.Fix, "\n", "\n         "))
		}
	}
	return ui.Plain(b.String())
}

// Hint says what to do next.
func (e *LintError) Hint() string {
	return "mend the files, or accept a finding above its statement: -- holdfast:ignore RULE reason (docs/lint.md)"
}
