package baseline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"holdfast/verify"
)

// A Verdict is the outcome of a rule, or of one finding.
type Verdict string

// The verdicts.
const (
	Pass          Verdict = "pass"
	Fail          Verdict = "fail"
	Waived        Verdict = "waived"         // fails, and a waiver accepts it
	WaiverExpired Verdict = "waiver-expired" // fails, and the waiver that accepted it has run out
	Skipped       Verdict = "skipped"        // does not apply, or was switched off
	Error         Verdict = "error"          // could not be decided; never a pass
)

// Verdicts lists all verdicts, worst first.
func Verdicts() []Verdict { return []Verdict{Error, Fail, WaiverExpired, Waived, Skipped, Pass} }

// A Finding is one thing about which a rule does not hold, or could not be
// decided.
type Finding struct {
	Rule       string   `json:"rule"`
	Title      string   `json:"title"`
	Severity   Severity `json:"severity"`
	Layer      string   `json:"layer"`
	Runbook    int      `json:"runbook"`
	Server     string   `json:"server"` // role; empty when the rule is not about a server
	On         string   `json:"on"`     // the subject: a table, a container, a path, …; a server's role when it is about the server as such
	Message    string   `json:"message"`
	Fix        string   `json:"fix"`
	Evidence   string   `json:"evidence"` // the expression that decided
	References []string `json:"references"`
	Verdict    Verdict  `json:"verdict"` // Fail, Waived, WaiverExpired or Error
	Waiver     *Waiver  `json:"waiver"`  // with Waived and WaiverExpired
}

// An Outcome is what became of one rule.
type Outcome struct {
	Rule     string   `json:"rule"`
	Title    string   `json:"title"`
	Severity Severity `json:"severity"`
	Layer    string   `json:"layer"`
	Verdict  Verdict  `json:"verdict"` // the worst of its findings
	Checked  int      `json:"checked"` // how many things were looked at
	Reason   string   `json:"reason"`  // of Skipped
}

// A Result is what the rules say of one set of facts.
type Result struct {
	EvaluatedAt time.Time `json:"evaluated_at"`
	Findings    []Finding `json:"findings"` // worst first
	Outcomes    []Outcome `json:"outcomes"` // in the order of the baseline
}

// Evaluate evaluates the rules of the given layers, or of all layers when none
// is given, over facts. now decides which waivers have expired.
func (b *Baseline) Evaluate(facts *verify.Facts, now time.Time, layers ...string) Result {
	ctx, cancel := context.WithTimeout(context.Background(), b.timeLimit)
	defer cancel()

	run := evaluation{facts: facts, vars: variables(facts)}
	findings := make([][]Finding, len(b.rules))
	outcomes := make([]*Outcome, len(b.rules))
	var group sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i := range b.rules {
		e := &b.rules[i]
		if len(layers) > 0 && !slices.Contains(layers, e.Layer) {
			continue
		}
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			found, outcome := run.rule(ctx, e)
			findings[i], outcomes[i] = found, &outcome
		})
	}
	group.Wait()

	result := Result{EvaluatedAt: now.UTC(), Findings: []Finding{}, Outcomes: []Outcome{}}
	used := make([]bool, len(b.waivers))
	for i, outcome := range outcomes {
		if outcome == nil {
			continue
		}
		for j := range findings[i] {
			f := &findings[i][j]
			b.waive(f, now, used)
			outcome.Verdict = worse(outcome.Verdict, f.Verdict)
		}
		result.Findings = append(result.Findings, findings[i]...)
		result.Outcomes = append(result.Outcomes, *outcome)
	}
	result.add(b.unusedWaivers(used, result.Outcomes))
	slices.SortStableFunc(result.Findings, byWeight)
	return result
}

// byWeight orders findings: those that count before those accepted, then by
// severity, rule and subject.
func byWeight(a, b Finding) int {
	accepted := func(f Finding) int {
		if f.Verdict == Waived {
			return 1
		}
		return 0
	}
	return cmp.Or(accepted(a)-accepted(b), a.Severity.rank()-b.Severity.rank(),
		strings.Compare(a.Rule, b.Rule), strings.Compare(a.Server, b.Server), strings.Compare(a.On, b.On))
}

// worse returns the worse of two verdicts.
func worse(a, b Verdict) Verdict {
	if slices.Index(Verdicts(), b) < slices.Index(Verdicts(), a) {
		return b
	}
	return a
}

// An evaluation binds facts to the names expressions use.
type evaluation struct {
	facts *verify.Facts
	vars  map[string]any
}

// variables binds the global names. A missing layer is bound to an error, so
// that whatever reads it fails, and what does not read it does not care.
func variables(facts *verify.Facts) map[string]any {
	vars := map[string]any{"environment": facts.Environment, "servers": facts.Servers}
	bind := func(name string, missing bool, value any) {
		if missing {
			value = types.WrapErr(notCollected{name})
		}
		vars[name] = value
	}
	bind("compose", facts.Compose == nil, facts.Compose)
	bind("gateway", facts.Gateway == nil, facts.Gateway)
	bind("database", facts.Database == nil, facts.Database)
	bind("network", facts.Network == nil, facts.Network)
	return vars
}

// with returns the variables with more of them bound.
func with(vars map[string]any, more map[string]any) map[string]any {
	all := make(map[string]any, len(vars)+len(more))
	for name, value := range vars {
		all[name] = value
	}
	for name, value := range more {
		all[name] = value
	}
	return all
}

// rule evaluates one rule for each server it is for.
func (ev evaluation) rule(ctx context.Context, e *entry) ([]Finding, Outcome) {
	outcome := Outcome{Rule: e.ID, Title: e.Title, Severity: e.Severity, Layer: e.Layer, Verdict: Pass}
	if e.disabled != "" {
		outcome.Verdict, outcome.Reason = Skipped, e.disabled
		return nil, outcome
	}
	vars := ev.vars
	if len(e.Params) > 0 {
		params := make(map[string]any, len(e.Params))
		for name, value := range e.Params {
			params["params."+name] = value
		}
		vars = with(vars, params)
	}
	var findings []Finding
	applied := false
	check := func(role string, vars map[string]any) {
		found, checked, applies := ev.check(ctx, e, role, vars)
		findings = append(findings, found...)
		outcome.Checked += checked
		applied = applied || applies
	}
	if len(e.On) == 0 {
		check("", vars)
	}
	for _, role := range e.On {
		var server any = types.WrapErr(notCollected{"server"})
		if s := ev.facts.Servers[role]; s != nil {
			server = s
		}
		check(role, with(vars, map[string]any{"server": server, "role": role}))
	}
	if !applied {
		outcome.Verdict, outcome.Reason = Skipped, "does not apply here"
	}
	return findings, outcome
}

// check evaluates one rule once, or once for each element of its list. It
// returns the findings, how many things were looked at, and whether the rule
// applies at all.
func (ev evaluation) check(ctx context.Context, e *entry, role string, vars map[string]any) (findings []Finding, checked int, applies bool) {
	undecided := func(on string, err error) []Finding {
		f := e.finding(role, cmp.Or(on, role, environmentSubject))
		f.Verdict = Error
		f.Message = "could not be decided: " + ev.why(e.Layer, role, err)
		f.Fix = "make the missing facts available and verify again: holdfast verify --verbose shows what was asked"
		return append(findings, f)
	}
	if e.code.when != nil {
		when, _, err := e.code.when.ContextEval(ctx, vars)
		if err != nil {
			return undecided("", err), 0, true
		}
		if when != types.True {
			return nil, 0, false
		}
	}
	if e.code.each == nil {
		holds, _, err := e.code.holds.ContextEval(ctx, vars)
		if err != nil {
			return undecided("", err), 1, true
		}
		if holds != types.True {
			on := cmp.Or(e.code.subject.render(ctx, vars), role, environmentSubject)
			findings = append(findings, e.fail(ctx, role, on, vars))
		}
		return findings, 1, true
	}
	list, _, err := e.code.each.ContextEval(ctx, vars)
	if err != nil {
		return undecided("", err), 0, true
	}
	iterable, ok := list.(traits.Iterable)
	if !ok {
		return undecided("", fmt.Errorf("its list is %s", list.Type().TypeName())), 0, true
	}
	for it := iterable.Iterator(); it.HasNext() == types.True; {
		var item ref.Val = it.Next()
		itemVars := with(vars, map[string]any{"it": item})
		checked++
		holds, _, err := e.code.holds.ContextEval(ctx, itemVars)
		if err == nil && holds == types.True {
			continue
		}
		on := e.code.subject.render(ctx, itemVars)
		if err != nil {
			findings = undecided(on, err)
			continue
		}
		findings = append(findings, e.fail(ctx, role, on, itemVars))
	}
	return findings, checked, true
}

// environmentSubject stands for what a finding is about when it is neither a
// server nor one thing of a list.
const environmentSubject = "environment"

func (e *entry) finding(role, on string) Finding {
	return Finding{
		Rule: e.ID, Title: e.Title, Severity: e.Severity, Layer: e.Layer, Runbook: e.Runbook,
		Server: role, On: on, Evidence: strings.TrimSpace(e.Holds), References: e.References,
	}
}

func (e *entry) fail(ctx context.Context, role, on string, vars map[string]any) Finding {
	f := e.finding(role, on)
	f.Verdict = Fail
	f.Message = e.code.message.render(ctx, vars)
	f.Fix = e.code.fix.render(ctx, vars)
	return f
}

// why explains an evaluation error with what the collector said about the
// missing part.
func (ev evaluation) why(layer, role string, err error) string {
	var missing notCollected
	key, absent := strings.CutPrefix(err.Error(), "no such key: ")
	if !errors.As(err, &missing) && !absent {
		return err.Error()
	}
	for _, e := range ev.facts.Errors {
		sameServer := e.Server == "" || role == "" || e.Server == role
		switch {
		case absent && e.Layer == layer && strings.HasPrefix(e.Message, key+": "):
			return e.Message
		case !absent && sameServer && (e.What == missing.path || strings.HasPrefix(missing.path, e.What+".")):
			return fmt.Sprintf("%v: %s", missing, e.Message)
		}
	}
	if absent {
		return fmt.Sprintf("the facts have no %q", key)
	}
	return missing.Error()
}

// waive lets the waivers decide over one finding. An error can't be waived: it
// says that nobody knows.
func (b *Baseline) waive(f *Finding, now time.Time, used []bool) {
	for i := range b.waivers {
		w := &b.waivers[i]
		if !w.matches(f.Rule, f.Server, f.On) {
			continue
		}
		used[i] = true
		if f.Verdict == Error || f.Verdict == Waived {
			continue
		}
		f.Waiver = w
		if now.UTC().Format(time.DateOnly) > w.Expires {
			f.Verdict = WaiverExpired
		} else {
			f.Verdict = Waived
		}
	}
}

// unusedWaivers makes a finding of each waiver that accepted nothing: what it
// accepted is gone, or it is misspelt and accepts nothing by mistake.
func (b *Baseline) unusedWaivers(used []bool, outcomes []Outcome) []Finding {
	evaluated := map[string]bool{}
	for _, o := range outcomes {
		evaluated[o.Rule] = true
	}
	var findings []Finding
	for i, w := range b.waivers {
		if used[i] || !evaluated[w.Rule] {
			continue
		}
		findings = append(findings, Finding{
			Rule: unusedWaiver, Title: unusedWaiverTitle, Severity: Low, Layer: b.layerOf(w.Rule), Runbook: 6,
			On:      strings.TrimSuffix(w.Rule+" on "+w.On, " on "),
			Message: "the waiver accepts nothing: no finding of this rule matches it",
			Fix:     "remove the waiver from security-baseline.yml, or correct its \"on\"",
			Verdict: Fail, Waiver: &w,
		})
	}
	return findings
}

// The rule that unusedWaivers stands for; it has no expression.
const (
	unusedWaiver      = "waiver.unmatched"
	unusedWaiverTitle = "Every waiver accepts something"
)

func (b *Baseline) layerOf(rule string) string {
	for _, e := range b.rules {
		if e.ID == rule {
			return e.Layer
		}
	}
	return ""
}

// add puts the findings of the waiver rule in, with its outcome.
func (r *Result) add(findings []Finding) {
	if len(findings) == 0 {
		return
	}
	r.Findings = append(r.Findings, findings...)
	r.Outcomes = append(r.Outcomes, Outcome{
		Rule: unusedWaiver, Title: unusedWaiverTitle, Severity: Low, Layer: findings[0].Layer, Verdict: Fail, Checked: len(findings),
	})
}

// Gate returns an error that says why result may not pass, or nil. Findings
// count from severity upwards unless they are waived; a rule that could not be
// decided always counts.
func Gate(result Result, severity Severity) error {
	failed, undecided := 0, 0
	for _, f := range result.Findings {
		switch {
		case f.Verdict == Error:
			undecided++
		case f.Verdict != Waived && f.Severity.AtLeast(severity):
			failed++
		}
	}
	switch {
	case failed > 0 && undecided > 0:
		return fmt.Errorf("%s of severity %s or worse, and %s could not be decided", count(failed, "finding"), severity, count(undecided, "check"))
	case failed > 0:
		return fmt.Errorf("%s of severity %s or worse", count(failed, "finding"), severity)
	case undecided > 0:
		return fmt.Errorf("%s could not be decided", count(undecided, "check"))
	}
	return nil
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
