package baseline

import (
	"strings"
	"testing"
	"time"
)

const ownRule = `
extends: holdfast/v1
rules:
  - id: own.region
    title: The servers are named
    layer: server
    severity: low
    runbook: 6
    on: [production]
    holds: server.hostname != ""
    message: "no name"
    fix: "name it"
`

func TestAMistakeIsNamedWithItsPlaceAndTheLikelyWord(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"unknown key":         {"extends: holdfast/v1\nwaiver: []\n", `b.yml:2:1: unknown key "waiver" in the file (did you mean "waivers"?)`},
		"unknown rule key":    {"rules:\n  - id: a.b\n    titel: x\n", `b.yml:3:5: unknown key "titel" in rules[0] (did you mean "title"?)`},
		"key twice":           {"extends: holdfast/v1\nextends: holdfast/v1\n", `b.yml:2:1: key "extends" is given twice`},
		"wrong type":          {"waivers: yes\n", `b.yml:1:10: waivers must be a list`},
		"no number":           {strings.Replace(ownRule, "runbook: 6", "runbook: six", 1), `line 8: cannot unmarshal`},
		"not YAML":            {"rules: [\n", `b.yml: line `},
		"unknown baseline":    {"extends: holdfast/v9\n", `b.yml:1:10: there is no baseline "holdfast/v9" to extend; use "holdfast/v1"`},
		"misspelt field":      {strings.Replace(ownRule, "server.hostname", "server.hostnam", 1), `b.yml:10:12: "holds" of rule own.region: character 7 of "server.hostnam != \"\"": undefined field 'hostnam' (did you mean "hostname"?)`},
		"misspelt variable":   {strings.Replace(ownRule, "server.hostname", "sever.hostname", 1), `did you mean`},
		"wrong result":        {strings.Replace(ownRule, `server.hostname != ""`, "server.hostname", 1), `is of type string, not bool`},
		"compares types":      {strings.Replace(ownRule, `!= ""`, "!= 3", 1), `no matching overload`},
		"broken message":      {strings.Replace(ownRule, `"no name"`, `"no {server.nam}"`, 1), `b.yml:11:14: "message" of rule own.region: character 7 of "server.nam": undefined field 'nam'`},
		"open placeholder":    {strings.Replace(ownRule, `"no name"`, `"no {server.hostname"`, 1), `has a "{" that is not closed`},
		"unknown layer":       {strings.Replace(ownRule, "layer: server", "layer: servers", 1), `there is no layer "servers" (did you mean "server"?)`},
		"unknown severity":    {strings.Replace(ownRule, "severity: low", "severity: urgent", 1), `severity "urgent" is none of`},
		"unknown role":        {strings.Replace(ownRule, "[production]", "[staging]", 1), `b.yml:9:10: there is no server role "staging"`},
		"no fix":              {strings.Replace(ownRule, `fix: "name it"`, `fix: ""`, 1), `a rule needs "fix"`},
		"odd id":              {strings.Replace(ownRule, "own.region", "Own Region", 1), `is not of the form group.some-name`},
		"existing id":         {strings.Replace(ownRule, "own.region", "ssh.root-login", 1), `rule ssh.root-login exists already, at holdfast/v1/ssh.yml`},
		"nameless list":       {strings.Replace(ownRule, "holds:", "each: server.firewall.chains.map(c, c.rules).flatten()\n    holds:", 1), `gives things without a name`},
		"each is no list":     {strings.Replace(ownRule, "holds:", "each: server.hostname\n    holds:", 1), `is string, not a list`},
		"override unknown":    {"extends: holdfast/v1\noverrides: [{rule: ssh.root-logins, severity: low}]\n", `b.yml:2:20: there is no rule "ssh.root-logins" (did you mean "ssh.root-login"?)`},
		"override param":      {"extends: holdfast/v1\noverrides: [{rule: ssh.max-auth-tries, params: {maximum: 2}}]\n", `has no parameter "maximum"`},
		"override param type": {"extends: holdfast/v1\noverrides: [{rule: ssh.max-auth-tries, params: {max: many}}]\n", `parameter "max" of rule ssh.max-auth-tries must be int`},
		"disabled, no reason": {"extends: holdfast/v1\noverrides: [{rule: ssh.max-auth-tries, disabled: true}]\n", `needs a "reason"`},
		"waiver unknown":      {"extends: holdfast/v1\nwaivers: [{rule: time.sync, reason: x, owner: y, expires: 2027-01-01}]\n", `b.yml:2:18: there is no rule "time.sync"`},
		"waiver no expiry":    {"extends: holdfast/v1\nwaivers: [{rule: time.synchronized, reason: x, owner: y}]\n", `a waiver needs "expires"`},
		"waiver bad day":      {"extends: holdfast/v1\nwaivers: [{rule: time.synchronized, reason: x, owner: y, expires: soon}]\n", `"soon" is not a day of the form YYYY-MM-DD`},
		"alias of a mapping":  {"waivers:\n  - &w {rule: a.b, reason: x, owner: y, expires: 2027-01-01}\n  - *w\n", `b.yml:3:5: only single values can be repeated`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load([]byte(c.text), "b.yml")
			if err == nil {
				t.Fatal("it was accepted")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestOwnRulesParametersAndSeveritiesAreInForce(t *testing.T) {
	b := load(t, ownRule+`
overrides:
  - rule: ssh.max-auth-tries
    severity: critical
    params: {max: 2}
  - rule: listening.declared
    params: {audit: [9100]}
  - rule: kernel.apparmor
    disabled: true
    reason: the provider's kernel has none
`)
	facts := mutated(t, edits{
		{prod + "hostname", ""}, {audit + "sshd maxauthtries", 2}, {prod + "apparmor enabled", false},
		{audit + "listening sockets -", socket("tcp", "0.0.0.0", 9100, "node_exporter")},
	})
	result := b.Evaluate(facts, today, judged...)
	if got := strings.Join(failing(result), " "); got != "own.region ssh.max-auth-tries" {
		t.Fatalf("findings of %s", got)
	}
	if result.Findings[0].Rule != "ssh.max-auth-tries" || result.Findings[0].Severity != Critical || result.Findings[0].Server != "production" {
		t.Errorf("the worst finding is not first, or not as overridden: %+v", result.Findings[0])
	}
	for _, o := range result.Outcomes {
		if o.Rule == "kernel.apparmor" && (o.Verdict != Skipped || o.Reason != "the provider's kernel has none") {
			t.Errorf("the disabled rule is shown as %+v", o)
		}
	}
	for _, r := range b.Rules() {
		if r.ID == "kernel.apparmor" {
			t.Error("a disabled rule is listed as in force")
		}
	}
}

func TestWithoutExtendsOnlyOwnRulesAreInForce(t *testing.T) {
	b := load(t, strings.Replace(ownRule, "extends: holdfast/v1", "", 1))
	if rules := b.Rules(); len(rules) != 1 || rules[0].ID != "own.region" {
		t.Errorf("rules in force: %+v", rules)
	}
}

func TestAllDefaultRulesSayWhatTheyAreFor(t *testing.T) {
	for _, r := range load(t, "").Rules() {
		if r.Runbook == 0 || len(r.References) == 0 || strings.HasSuffix(r.Title, ".") {
			t.Errorf("%s: runbook %d, references %v, title %q", r.ID, r.Runbook, r.References, r.Title)
		}
	}
}

func BenchmarkLoadDefaultBaseline(b *testing.B) {
	for b.Loop() {
		if _, err := Load(nil, ""); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEvaluate(b *testing.B) {
	baseline, facts := load(b, ""), mutated(b, nil)
	for b.Loop() {
		baseline.Evaluate(facts, time.Now())
	}
}

func FuzzLoadNeverPanics(f *testing.F) {
	f.Add(strings.Replace(ownRule, "extends: holdfast/v1", "", 1))
	f.Add("rules:\n  - {id: a.b, title: t, layer: server, severity: low, holds: 'environment == \"x\"', message: '{environment}', fix: '{{}}'}\n")
	f.Add("waivers: &a [*a]")
	f.Add("overrides: [{rule: x, params: {a: [1, 'b']}}]")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, DefaultName) || text == "" {
			return // loading the default rules each time only makes the fuzzer slow
		}
		_, _ = Load([]byte(text), "fuzz.yml")
	})
}
