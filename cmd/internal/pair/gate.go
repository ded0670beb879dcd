package pair

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast/internal/ui"
	"holdfast/stacks/migrate"
	"holdfast/verify"
	"holdfast/verify/access"
	"holdfast/verify/baseline"
	"holdfast/verify/collect/database"
)

// A gate judges what migrations would leave behind, inside their transaction.
type gate struct {
	pair   *Pair
	rules  *baseline.Baseline
	tell   func(string)
	before *verify.Database   // as the transaction found it
	unused []access.Allowance // that no widening has needed so far
}

func (p *Pair) newGate(tell func(string)) (*gate, error) {
	rules, err := p.baseline()
	if err != nil {
		return nil, err
	}
	return &gate{pair: p, rules: rules, tell: tell, unused: p.options.AllowWidening}, nil
}

// look keeps what the API roles can do before the first migration.
func (g *gate) look(ctx context.Context, tx pgx.Tx) (err error) {
	if g.before, err = database.Collect(ctx, tx, database.Options{Schemas: g.pair.schemas()}); err != nil {
		return fmt.Errorf("the gate could not read the catalog: %w", err)
	}
	return nil
}

// judge evaluates the database rules on the catalog as the migrations would
// leave it, and says whose access they change.
func (g *gate) judge(ctx context.Context, tx pgx.Tx, _ []migrate.File) error {
	facts, err := database.Collect(ctx, tx, database.Options{Schemas: g.pair.schemas()})
	if err != nil {
		return fmt.Errorf("the gate could not read the new catalog: %w", err)
	}
	facts.AccessChanges = access.Compare(g.before, facts)
	unused := access.Allow(facts.AccessChanges, g.pair.options.AllowWidening)
	g.unused = slices.DeleteFunc(slices.Clone(g.unused), func(a access.Allowance) bool { return !slices.Contains(unused, a) })
	for _, c := range facts.AccessChanges {
		line := "access: " + access.Line(c)
		switch {
		case c.Allowed:
			line += " (allowed)"
		case c.Widening:
			line += " (wider)"
		}
		g.tell(line)
	}
	severity := baseline.Severity(g.pair.Env.Gate)
	result := g.rules.Evaluate(&verify.Facts{
		Version: verify.Version, Environment: g.pair.Env.Environment, CollectedAt: time.Now().UTC(), Database: facts,
	}, time.Now(), verify.LayerDatabase)
	if baseline.Gate(result, severity) == nil {
		return nil
	}
	origins, err := migrate.TableOrigins(g.pair.Migrations)
	if err != nil {
		return err
	}
	return &GateError{Findings: failing(result, severity), Origins: origins}
}

// failing returns the findings for which the gate refuses.
func failing(result baseline.Result, gate baseline.Severity) []baseline.Finding {
	return slices.DeleteFunc(slices.Clone(result.Findings), func(f baseline.Finding) bool {
		switch f.Verdict {
		case baseline.Error:
			return false
		case baseline.Fail, baseline.WaiverExpired:
			return !f.Severity.AtLeast(gate)
		}
		return true
	})
}

// A GateError is a state of the database that the baseline refuses.
type GateError struct {
	Findings []baseline.Finding
	Origins  map[string]migrate.Origin // table → where it was created
}

func (e *GateError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the migrations were rolled back: they would break %d rules of the baseline", len(e.Findings))
	for _, f := range e.Findings {
		b.WriteString("\n  ")
		object, _, _ := strings.Cut(f.On, ":")
		if o, ok := e.Origins[object]; ok {
			fmt.Fprintf(&b, "%s:%d: ", o.Path, o.Line)
		}
		fmt.Fprintf(&b, "%s %s: %s\n    fix: %s", f.Severity, f.Rule, f.Message, f.Fix)
	}
	return ui.Plain(b.String())
}

// Hint says what to do next.
func (e *GateError) Hint() string {
	return "mend the files and run again; `holdfast migrate up --dry-run` shows the same without keeping anything"
}
