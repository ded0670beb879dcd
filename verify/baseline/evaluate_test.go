package baseline

import (
	"strings"
	"testing"
	"time"

	"holdfast/verify"
)

const waivers = `
extends: holdfast/v1
waivers:
  - {rule: kernel.modules, on: "production/udf", reason: r1, owner: o, expires: 2026-11-23}
  - {rule: ssh.macs, on: "hmac-*", reason: r2, owner: o, expires: 2026-11-22}
  - {rule: time.synchronized, on: audit, reason: r3, owner: o, expires: 2027-01-01}
`

func TestAWaiverAcceptsUntilItsLastDayAndOnlyWhatItNames(t *testing.T) {
	facts := mutated(t, edits{
		{prod + "kernel blocked", []any{}},
		{prod + "sshd macs -", "hmac-sha1"},
		{prod + "time synchronized", false},
		{audit + "time synchronized", false},
	})
	result := load(t, waivers).Evaluate(facts, today, judged...)
	verdict := map[string]Verdict{}
	for _, f := range result.Findings {
		verdict[f.Rule+" "+f.Server+" "+f.On] = f.Verdict
		if (f.Verdict == Waived || f.Verdict == WaiverExpired) != (f.Waiver != nil) {
			t.Errorf("finding %+v and its waiver don't agree", f)
		}
	}
	for key, want := range map[string]Verdict{
		"kernel.modules production udf":           Waived, // its last day is today
		"kernel.modules production hfs":           Fail,
		"ssh.macs production hmac-sha1":           WaiverExpired,
		"time.synchronized audit audit":           Waived,
		"time.synchronized production production": Fail,
	} {
		if verdict[key] != want {
			t.Errorf("%s is %q, want %q", key, verdict[key], want)
		}
	}
	if last := result.Findings[len(result.Findings)-1]; last.Verdict != Waived {
		t.Errorf("what is waived does not come last: %+v", last)
	}
	if Gate(result, High) == nil {
		t.Error("an expired waiver of a high finding passes the gate")
	}
}

func TestAWaiverThatAcceptsNothingIsAFinding(t *testing.T) {
	b := load(t, waivers)
	result := b.Evaluate(mutated(t, nil), today, judged...)
	if got := strings.Join(failing(result), " "); got != "waiver.unmatched" || len(result.Findings) != 3 {
		t.Fatalf("%d findings of %s", len(result.Findings), got)
	}
	if err := Gate(result, Medium); err != nil {
		t.Errorf("it fails a gate it should only be told at: %v", err)
	}
	if result := b.Evaluate(mutated(t, nil), today, verify.LayerNetwork); len(result.Findings) != 0 {
		t.Errorf("waivers of layers that are not evaluated are reported: %+v", result.Findings)
	}
}

func TestAnUndecidedRuleCantBeWaivedAndFailsEveryGate(t *testing.T) {
	result := load(t, waivers).Evaluate(mutated(t, edits{{audit + "time", nil}}), today, judged...)
	if Gate(result, Critical) == nil {
		t.Error("a rule that could not be decided passes the gate")
	}
	for _, f := range result.Findings {
		if f.Rule == "time.synchronized" && f.Verdict != Error {
			t.Errorf("it became %s", f.Verdict)
		}
		if f.Rule == unusedWaiver && strings.HasPrefix(f.On, "time.synchronized") {
			t.Error("its waiver is called useless")
		}
	}
}

func TestAnUndecidedRuleSaysWhatTheCollectorSaid(t *testing.T) {
	facts := mutated(t, edits{{prod + "sshd", nil}, {"compose", nil}})
	facts.Errors = []verify.CollectError{
		{Layer: "server", Server: "audit", What: "server.sshd", Message: "of the other server"},
		{Layer: "server", Server: "production", What: "server.sshd", Message: "sshd: no hostkeys available"},
		{Layer: "compose", Server: "production", What: "compose", Message: "Cannot connect to the Docker daemon"},
	}
	want := map[string]string{
		"ssh.root-login":        "could not be decided: server.sshd was not collected: sshd: no hostkeys available",
		"containers.privileged": "could not be decided: compose was not collected: Cannot connect to the Docker daemon",
	}
	for _, f := range load(t, "").Evaluate(facts, today, judged...).Findings {
		if text, ok := want[f.Rule]; ok {
			if f.Message != text || f.Verdict != Error {
				t.Errorf("%s: %s", f.Verdict, f.Message)
			}
			delete(want, f.Rule)
		}
	}
	if len(want) > 0 {
		t.Errorf("no finding for %v", want)
	}
}

func TestTheGateCountsFromItsSeverityOn(t *testing.T) {
	finding := func(s Severity, v Verdict) Result { return Result{Findings: []Finding{{Severity: s, Verdict: v}}} }
	for _, c := range []struct {
		result Result
		gate   Severity
		fails  bool
	}{
		{Result{}, Low, false},
		{finding(High, Fail), High, true},
		{finding(Critical, Fail), High, true},
		{finding(Medium, Fail), High, false},
		{finding(Low, Fail), Low, true},
		{finding(Critical, Waived), Low, false},
		{finding(High, WaiverExpired), High, true},
		{finding(Low, Error), Critical, true},
	} {
		if err := Gate(c.result, c.gate); (err != nil) != c.fails {
			t.Errorf("%+v at %s: %v", c.result.Findings, c.gate, err)
		}
	}
}

func TestAGlobMatchesAcrossSlashesAndDots(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"production", "production", true}, {"production", "production2", false}, {"*", "", true}, {"public.*", "public.a.b", true},
		{"production/*", "production/udf", true}, {"*/secrets/*.env", "supabase/secrets/db.env", true}, {"a*a", "a", false},
		{"*.b", "x.c", false}, {"a*b*c", "a-b-b-c", true}, {"a**c", "ac", true}, {"", "x", false},
	} {
		if got := glob(c.pattern, c.text); got != c.want {
			t.Errorf("glob(%q, %q) = %t", c.pattern, c.text, got)
		}
	}
}

// An expression someone wrote badly ends with the time limit, as an error.
func TestAnEndlessExpressionIsUndecided(t *testing.T) {
	text := strings.Replace(ownRule, `server.hostname != ""`, `L.all(a, L.all(b, L.all(c, L.all(d, L.all(e, L.all(f, L.all(g, L.all(h, L.all(i, true)))))))))`, 1)
	text = strings.ReplaceAll(text, "L.", "lists.range(100).")
	b := load(t, text)
	b.timeLimit = 200 * time.Millisecond
	result := b.Evaluate(mutated(t, nil), today, judged...)
	for _, f := range result.Findings {
		if f.Rule == "own.region" && f.Verdict == Error {
			return
		}
	}
	t.Error("it was decided")
}
