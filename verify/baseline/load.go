package baseline

import (
	"embed"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"holdfast/verify"
)

// defaults holds the embedded baseline, one file a concern.
//
//go:embed rules/*.yml
var defaults embed.FS

// A Baseline is a checked set of rules with the waivers that apply to them.
type Baseline struct {
	rules   []entry // in file order
	waivers []Waiver
	// timeLimit bounds one evaluation of all rules, so that an expression
	// someone wrote badly can't hang a run.
	timeLimit time.Duration
}

// An entry is one rule of a baseline that may be switched off.
type entry struct {
	Rule
	code     *compiled
	disabled string // the reason, when an override switched the rule off
	at       func(key string) string
}

// Load reads a security-baseline.yml and the baseline it extends. Every
// expression is checked against the types of the facts. user may be empty: then
// the result is the default baseline. filename is used in errors, which read
// "file:line:column: …".
func Load(user []byte, filename string) (*Baseline, error) {
	doc, pos, err := parse(user, filename)
	if err != nil {
		return nil, err
	}
	b := &Baseline{waivers: doc.Waivers, timeLimit: 10 * time.Second}
	switch {
	case doc.Extends == DefaultName || len(user) == 0:
		if b.rules, err = loadDefaults(); err != nil {
			return nil, err
		}
	case doc.Extends != "":
		return nil, fmt.Errorf("%s: there is no baseline %q to extend; use %q", pos.at("extends"), doc.Extends, DefaultName)
	}
	if err := b.override(doc.Overrides, pos); err != nil {
		return nil, err
	}
	own, err := checkRules(doc.Rules, pos)
	if err != nil {
		return nil, err
	}
	b.rules = append(b.rules, own...)
	if err := b.checkIDs(); err != nil {
		return nil, err
	}
	if err := b.checkWaivers(pos); err != nil {
		return nil, err
	}
	return b, b.compile()
}

// Rules returns the rules that are in force, in file order.
func (b *Baseline) Rules() []Rule {
	var rules []Rule
	for _, e := range b.rules {
		if e.disabled == "" {
			rules = append(rules, e.Rule)
		}
	}
	return rules
}

func loadDefaults() ([]entry, error) {
	files, err := defaults.ReadDir("rules")
	if err != nil {
		return nil, err
	}
	var all []entry
	for _, file := range files {
		data, err := defaults.ReadFile("rules/" + file.Name())
		if err != nil {
			return nil, err
		}
		doc, pos, err := parse(data, DefaultName+"/"+file.Name())
		if err != nil {
			return nil, err
		}
		rules, err := checkRules(doc.Rules, pos)
		if err != nil {
			return nil, err
		}
		all = append(all, rules...)
	}
	return all, nil
}

// compile prepares all rules, on all processors.
func (b *Baseline) compile() error {
	c, err := newCompiler()
	if err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	failed := make([]error, len(b.rules))
	for i := range b.rules {
		e := &b.rules[i]
		if e.disabled != "" {
			continue
		}
		group.Go(func() error {
			e.code, failed[i] = c.compile(e.Rule, e.at)
			return nil
		})
	}
	_ = group.Wait() // the errors are in failed, in the order of the file
	return errors.Join(failed...)
}

var validID = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+(-[a-z0-9]+)*)+$`)

// checkRules checks what the types of a rule's keys do not say.
func checkRules(rules []Rule, pos positions) ([]entry, error) {
	var entries []entry
	for i, r := range rules {
		path := fmt.Sprintf("rules[%d]", i)
		at := func(key string) string { return pos.at(path + "." + key) }
		if missing := firstEmpty("id", r.ID, "title", r.Title, "layer", r.Layer, "severity", string(r.Severity),
			"holds", r.Holds, "message", r.Message, "fix", r.Fix); missing != "" {
			return nil, fmt.Errorf("%s: a rule needs %q", pos.at(path), missing)
		}
		if !validID.MatchString(r.ID) {
			return nil, fmt.Errorf("%s: rule id %q is not of the form group.some-name", at("id"), r.ID)
		}
		if !slices.Contains(verify.Layers(), r.Layer) {
			return nil, fmt.Errorf("%s: there is no layer %q%s", at("layer"), r.Layer, suggest(r.Layer, verify.Layers()))
		}
		if _, err := ParseSeverity(string(r.Severity)); err != nil {
			return nil, fmt.Errorf("%s: %w", at("severity"), err)
		}
		if r.Runbook < 0 || r.Runbook > 6 {
			return nil, fmt.Errorf("%s: runbook part %d is not 1 to 6", at("runbook"), r.Runbook)
		}
		for j, role := range r.On {
			if role != verify.Production && role != verify.Audit {
				return nil, fmt.Errorf("%s: there is no server role %q, only %s and %s", at(fmt.Sprintf("on[%d]", j)), role, verify.Production, verify.Audit)
			}
		}
		entries = append(entries, entry{Rule: r, at: at})
	}
	return entries, nil
}

// firstEmpty returns the first key of key-value pairs whose value is empty.
func firstEmpty(pairs ...string) string {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			return pairs[i]
		}
	}
	return ""
}

func (b *Baseline) checkIDs() error {
	seen := map[string]entry{}
	for _, e := range b.rules {
		if first, twice := seen[e.ID]; twice {
			return fmt.Errorf("%s: rule %s exists already, at %s; to change that one use \"overrides\"", e.at("id"), e.ID, first.at("id"))
		}
		seen[e.ID] = e
	}
	return nil
}

// find returns the rule with an id, or an error that names the closest one.
func (b *Baseline) find(id string) (*entry, error) {
	var ids []string
	for i := range b.rules {
		if b.rules[i].ID == id {
			return &b.rules[i], nil
		}
		ids = append(ids, b.rules[i].ID)
	}
	return nil, fmt.Errorf("there is no rule %q%s", id, suggest(id, ids))
}

func (b *Baseline) override(overrides []Override, pos positions) error {
	for i, o := range overrides {
		path := fmt.Sprintf("overrides[%d]", i)
		e, err := b.find(o.Rule)
		if err != nil {
			return fmt.Errorf("%s: %w", pos.at(path+".rule"), err)
		}
		if o.Severity != "" {
			if e.Severity, err = ParseSeverity(string(o.Severity)); err != nil {
				return fmt.Errorf("%s: %w", pos.at(path+".severity"), err)
			}
		}
		if o.Disabled {
			if o.Reason == "" {
				return fmt.Errorf("%s: switching rule %s off needs a \"reason\"", pos.at(path), o.Rule)
			}
			e.disabled = o.Reason
		}
		params := maps.Clone(e.Params)
		for name, value := range o.Params {
			old, known := params[name]
			if !known {
				return fmt.Errorf("%s: rule %s has no parameter %q%s", pos.at(path+".params"), o.Rule, name, suggest(name, slices.Sorted(maps.Keys(params))))
			}
			was, _ := paramType(old)
			is, err := paramType(value)
			if err != nil || !was.IsAssignableType(is) {
				return fmt.Errorf("%s: parameter %q of rule %s must be %s", pos.at(path+".params"), name, o.Rule, was)
			}
			params[name] = value
		}
		e.Params = params
	}
	return nil
}

func (b *Baseline) checkWaivers(pos positions) error {
	for i, w := range b.waivers {
		path := fmt.Sprintf("waivers[%d]", i)
		if _, err := b.find(w.Rule); err != nil {
			return fmt.Errorf("%s: %w", pos.at(path+".rule"), err)
		}
		if missing := firstEmpty("reason", w.Reason, "owner", w.Owner, "expires", w.Expires); missing != "" {
			return fmt.Errorf("%s: a waiver needs %q", pos.at(path), missing)
		}
		if _, err := time.Parse(time.DateOnly, w.Expires); err != nil {
			return fmt.Errorf("%s: %q is not a day of the form YYYY-MM-DD", pos.at(path+".expires"), w.Expires)
		}
	}
	return nil
}
