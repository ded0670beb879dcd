package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/verify"
	"holdfast/verify/baseline"
)

func TestLynisReportIsRead(t *testing.T) {
	l, err := parseLynis("# Lynis Report\nlynis_version=3.1.4\n" +
		"suggestion[]=SSH-7408|Consider hardening SSH configuration|MaxSessions (set 10 to 2)|-|\n" +
		"suggestion[]=DEB-0280|Install libpam-tmpdir|-|-|\n" +
		"warning[]=PKGS-7392|Found one or more vulnerable packages.|-|-|\nhardening_index=59\n")
	if err != nil {
		t.Fatal(err)
	}
	if l.Version != "3.1.4" || l.Index != 59 ||
		!slices.Equal(l.Suggestions, []Suggestion{
			{"SSH-7408", "Consider hardening SSH configuration", "MaxSessions (set 10 to 2)"}, {"DEB-0280", "Install libpam-tmpdir", ""}}) ||
		!slices.Equal(l.Warnings, []Suggestion{{"PKGS-7392", "Found one or more vulnerable packages.", ""}}) {
		t.Errorf("read %+v", l)
	}
	for _, report := range []string{"", "lynis_version=3.1.4\n", "hardening_index=many\n"} {
		if l, err := parseLynis(report); err == nil {
			t.Errorf("%q is read as %+v", report, l)
		}
	}
}

func TestSSHAuditsNotesAreCounted(t *testing.T) {
	a, err := parseSSHAudit([]byte(`{
		"kex": [{"algorithm": "ecdh-sha2-nistp256", "notes": {"fail": ["using elliptic curves"], "info": ["available since"]}}],
		"key": [{"algorithm": "ecdsa-sha2-nistp256", "notes": {"fail": ["using elliptic curves"], "warn": ["weak random"]}}],
		"enc": [{"algorithm": "aes256-ctr", "notes": {"info": ["available since"]}}],
		"mac": [{"algorithm": "umac-64@openssh.com", "notes": {"warn": ["encrypt-and-MAC", "small tag"]}}]}`))
	if err != nil || a.Failures != 2 || a.Warnings != 3 {
		t.Errorf("got %+v, %v", a, err)
	}
	for _, answer := range []string{"", "[exception] cannot connect", `{"kex": [], "key": []}`} {
		if a, err := parseSSHAudit([]byte(answer)); err == nil {
			t.Errorf("%q is read as %+v", answer, a)
		}
	}
}

func TestDockerBenchIsCountedByTheRulesThatStandForIt(t *testing.T) {
	rules := []baseline.Rule{
		{ID: "holds", References: []string{"docker-bench 2.1", "CIS Docker 2.1"}},
		{ID: "fails", References: []string{"docker-bench 2.10", "docker-bench 2.2"}},
		{ID: "fails-too", References: []string{"docker-bench 2.2"}},
		{ID: "audit", References: []string{"docker-bench 1.1.3"}},
		{ID: "skipped", References: []string{"docker-bench 7.1"}},
		{ID: "elsewhere", References: []string{"docker-bench 2.3"}},
	}
	result := baseline.Result{
		Findings: []baseline.Finding{
			{Rule: "fails", Server: verify.Production, Verdict: baseline.Fail},
			{Rule: "fails-too", Server: verify.Production, Verdict: baseline.Fail},
			{Rule: "audit", Server: verify.Production, Verdict: baseline.Fail},
			{Rule: "elsewhere", Server: verify.Audit, Verdict: baseline.Error},
		},
		Outcomes: []baseline.Outcome{
			{Rule: "holds", Verdict: baseline.Pass}, {Rule: "fails", Verdict: baseline.Fail}, {Rule: "fails-too", Verdict: baseline.Fail},
			{Rule: "audit", Verdict: baseline.Fail}, {Rule: "skipped", Verdict: baseline.Skipped}, {Rule: "elsewhere", Verdict: baseline.Error},
		},
	}
	checks := []baseline.BenchCheck{{ID: "2.12", Warns: true}, {ID: "2.2", Warns: true}, {ID: "2.1"}, {ID: "2.11"}}
	b, err := countBench(checks, rules, result)
	if err != nil || b.Checked != 6 || !slices.Equal(b.Warn, []string{"1.1.3", "2.2", "2.10", "2.12"}) || !slices.Equal(b.Audit, []string{"1.1.3"}) {
		t.Errorf("got %+v, %v", b, err)
	}
	result.Findings = append(result.Findings, baseline.Finding{Rule: "holds", Server: verify.Production, Verdict: baseline.Error, Message: "could not be decided"})
	if b, err := countBench(checks, rules, result); err == nil {
		t.Errorf("what could not be decided counts as %+v", b)
	}
}

func TestAMissedGoalAndASuggestionWithoutReasonAreNamed(t *testing.T) {
	good := func() *Column {
		return &Column{
			Lynis:    &Lynis{Index: 84, Suggestions: []Suggestion{{Test: "LYNIS"}}},
			SSHAudit: &SSHAudit{Version: "3.3"}, DockerBench: &DockerBench{},
			First: 40 * time.Second, NoOp: 600 * time.Millisecond, Distant: 1200 * time.Millisecond, RoundTrips: 12,
		}
	}
	theirs := &Column{Lynis: &Lynis{Index: 77}, SSHAudit: &SSHAudit{Failures: 1}, First: 164 * time.Second, NoOp: 2 * time.Minute}
	for _, test := range []struct {
		says  string // "" when nothing is missed
		spoil func(*Column)
	}{
		{"", func(*Column) {}},
		{"Lynis index", func(c *Column) { c.Lynis.Index = 83 }},
		{"ssh-audit", func(c *Column) { c.SSHAudit.Warnings = 1 }},
		{"docker-bench", func(c *Column) { c.DockerBench.Warn = []string{"1", "2", "3", "4", "5"} }},
		{"first run", func(c *Column) { c.First = 41 * time.Second }},
		{"nothing to change", func(c *Column) { c.NoOp = time.Second }},
		{"round trips", func(c *Column) { c.RoundTrips = 13 }},
		{"XYZ-1", func(c *Column) { c.Lynis.Warnings = []Suggestion{{Test: "XYZ-1"}} }},
	} {
		v := &Verdict{Columns: map[string]*Column{plain: {}, devsec: theirs, "production": good(), "audit": good()}}
		test.spoil(v.Columns["audit"])
		missed := v.missed()
		switch {
		case test.says == "" && len(missed) > 0:
			t.Errorf("a good server misses %v", missed)
		case test.says != "" && (len(missed) != 1 || !strings.Contains(missed[0].Error(), test.says)):
			t.Errorf("%s: got %v", test.says, missed)
		}
	}
}

func TestTheDocumentHoldsTheFiguresOfTheRecord(t *testing.T) {
	v, err := readRecord("measured.json")
	if err != nil {
		t.Fatal(err)
	}
	const prose = "before\n<!-- figures -->\nold\n<!-- end -->\nbetween\n<!-- lynis -->\n<!-- end -->\n<!-- docker-bench -->\n<!-- end -->\nafter\n"
	filled, err := v.fill(prose)
	if err != nil {
		t.Fatal(err)
	}
	again, err := v.fill(filled)
	if err != nil || again != filled || strings.Contains(filled, "old\n") || !strings.HasPrefix(filled, "before\n") || !strings.HasSuffix(filled, "after\n") {
		t.Errorf("filled twice it is\n%s\n%v", again, err)
	}
	if _, err := v.fill("no markers\n"); err == nil {
		t.Error("a document without markers is written")
	}
}
