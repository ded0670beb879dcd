package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"holdfast/verify"
	"holdfast/verify/baseline"
)

var update = flag.Bool("update", false, "write the golden files")

// sample has a finding of every verdict, and more subjects than fit.
func sample() Report {
	at := time.Date(2026, 11, 23, 6, 47, 0, 0, time.UTC)
	waiver := &baseline.Waiver{Rule: "kernel.apparmor", On: "production", Reason: "a container has no AppArmor", Owner: "ops@example.com", Expires: "2027-03-31"}
	expired := &baseline.Waiver{Rule: "ssh.macs", Reason: "an old client", Owner: "ops@example.com", Expires: "2026-11-22"}
	findings := []baseline.Finding{
		{Rule: "gateway.no-key", Title: "Without a key the API answers nothing", Severity: baseline.Critical, Layer: "gateway", On: "rest-no-key",
			Message: "GET /rest/v1/x without a key was answered with 200", Fix: "run holdfast deploy", Evidence: "gateway.probes[it].status in [401]", References: []string{"OWASP API2"}, Verdict: baseline.Fail},
		{Rule: "time.synchronized", Title: "The clock is kept right", Severity: baseline.Medium, Layer: "server", Server: "audit", On: "audit",
			Message: "could not be decided: server.time was not collected: probe time exited 1", Fix: "verify again", Verdict: baseline.Error},
		{Rule: "ssh.macs", Title: "sshd uses strong codes", Severity: baseline.High, Layer: "server", Server: "production", On: "hmac-sha1",
			Message: "sshd offers hmac-sha1", Fix: "leave it out of MACs", Verdict: baseline.WaiverExpired, Waiver: expired},
		{Rule: "kernel.apparmor", Title: "AppArmor confines services", Severity: baseline.Medium, Layer: "server", Server: "production", On: "production",
			Message: "no AppArmor", Fix: "boot with it", Verdict: baseline.Waived, Waiver: waiver},
	}
	for i := range maxSubjects + 3 {
		findings = append(findings, baseline.Finding{Rule: "kernel.modules", Title: "Needless modules can't be loaded", Severity: baseline.Low, Layer: "server", Server: "production",
			On: "module" + string(rune('a'+i)), Message: "it can be loaded", Fix: "holdfast deploy", Verdict: baseline.Fail})
	}
	result := baseline.Result{EvaluatedAt: at, Findings: findings, Outcomes: []baseline.Outcome{
		{Rule: "gateway.no-key", Title: "Without a key the API answers nothing", Severity: baseline.Critical, Layer: "gateway", Verdict: baseline.Fail, Checked: 4},
		{Rule: "time.synchronized", Title: "The clock is kept right", Severity: baseline.Medium, Layer: "server", Verdict: baseline.Error, Checked: 2},
		{Rule: "ssh.macs", Title: "sshd uses strong codes", Severity: baseline.High, Layer: "server", Verdict: baseline.WaiverExpired, Checked: 6},
		{Rule: "kernel.apparmor", Title: "AppArmor confines services", Severity: baseline.Medium, Layer: "server", Verdict: baseline.Waived, Checked: 2},
		{Rule: "kernel.modules", Title: "Needless modules can't be loaded", Severity: baseline.Low, Layer: "server", Verdict: baseline.Fail, Checked: 24},
		{Rule: "docker.swarm", Title: "No swarm", Severity: baseline.Medium, Layer: "server", Verdict: baseline.Skipped, Reason: "does not apply here"},
		{Rule: "network.outside", Title: "Only declared ports answer", Severity: baseline.Critical, Layer: "network", Verdict: baseline.Pass, Checked: 30},
	}}
	facts := &verify.Facts{Environment: "example", CollectedAt: at, Errors: []verify.CollectError{{Layer: "server", Server: "audit", What: "server.time", Message: "probe time exited 1"}}}
	facts.Database = &verify.Database{
		Access: []verify.Access{
			{Schema: "public", Name: "invoices", Kind: "table", Role: "anon", Select: "denied", Insert: "denied", Update: "denied", Delete: "nothing"},
			{Schema: "public", Name: "invoices", Kind: "table", Role: "authenticated", Select: "filtered", Insert: "filtered", Update: "everything", Delete: "denied",
				Filter: "(invoices.owner = $0)", Columns: map[string][]string{"update": {"note"}}},
		},
		Functions: []verify.Function{{Schema: "public", Name: "total", Arguments: "integer", Exposed: true, Callers: []string{"anon"}, SecurityDefiner: true}},
	}
	return New(facts, result, baseline.High)
}

// formats are all ways a report is written.
var formats = map[string]func(io.Writer, Report) error{
	"terminal.txt":        func(w io.Writer, r Report) error { return Terminal(w, r, false) },
	"terminal-colour.txt": func(w io.Writer, r Report) error { return Terminal(w, r, true) },
	"report.md":           Markdown,
	"report.html":         HTML,
	"report.json":         JSON,
}

func render(t *testing.T, write func(io.Writer, Report) error, r Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestEveryFormatLooksAsBefore(t *testing.T) {
	for name, write := range formats {
		got := render(t, write, sample())
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s changed; look at it and run go test ./verify/report -update\n%s", name, got)
		}
	}
}

// hostile is a name that tries to write control sequences, markup, a table
// cell, a link and right-to-left text.
const hostile = "\x1b[2J\x1b]0;x\x07\u009b31m\u202egnp.exe<script>alert(1)</script><img src=x onerror=1>| `x` [a](javascript:1) ![i](http://evil.example/i.png) {{.}}\r\nfake: pass\u2028"

func TestHostileNamesStayText(t *testing.T) {
	r := sample()
	for i := range r.Findings {
		f := &r.Findings[i]
		f.On, f.Message, f.Fix, f.Evidence, f.Rule, f.Title = hostile, hostile, hostile, hostile, hostile, hostile
	}
	r.Environment, r.Missing = hostile, []verify.CollectError{{Server: hostile, What: hostile, Message: hostile}}
	r.Outcomes[0].Title, r.Outcomes[0].Rule, r.Outcomes[0].Reason = hostile, hostile, hostile
	for name, write := range formats {
		got := render(t, write, r)
		if name == "report.html" {
			got = strings.NewReplacer("](javascript", "", "](http://evil", "").Replace(got) // only text there
		}
		if name == "terminal-colour.txt" {
			got = regexp.MustCompile(`\x1b\[[0-9;]*m`).ReplaceAllString(got, "")
		}
		for _, c := range got {
			if c < ' ' && c != '\n' || c >= 0x7f && c < 0xa0 || c == '\u202e' || c == '\u2028' {
				t.Errorf("%s has the control character %U", name, c)
				break
			}
		}
		if strings.Contains(got, "\nfake: pass") {
			t.Errorf("%s has a line that a name wrote", name)
		}
		if name == "report.html" || name == "report.md" {
			if found := markup.FindString(got); found != "" {
				t.Errorf("%s has %s", name, found)
			}
		}
	}
}

// markup is what a name must not become: an element, or a link that Markdown
// makes of an unescaped bracket.
var markup = regexp.MustCompile(`<script|<img|[^\\]\]\(|://evil`)

func TestThePageNeedsNothingFromAnywhere(t *testing.T) {
	page := render(t, HTML, sample())
	if found := regexp.MustCompile(`(?i)(src|href|action)=|url\(|@import|<script|<link|<iframe`).FindString(page); found != "" {
		t.Errorf("the page refers to something: %s", found)
	}
	if !strings.Contains(page, "prefers-color-scheme: dark") {
		t.Error("the page has no dark mode")
	}
}

func TestTheReportSaysWhyItFailed(t *testing.T) {
	r := sample()
	if r.Passed || r.Verdict() != "failed: 2 findings of severity high or worse, and 1 check could not be decided" {
		t.Errorf("%t: %s", r.Passed, r.Verdict())
	}
	good := New(&verify.Facts{}, baseline.Result{}, baseline.High)
	if !good.Passed || !strings.Contains(render(t, formats["terminal.txt"], good), "gate      passed: nothing of severity high or worse") {
		t.Errorf("%+v", good)
	}
}

func TestJSONIsReadBack(t *testing.T) {
	var r Report
	if err := json.Unmarshal([]byte(render(t, JSON, sample())), &r); err != nil {
		t.Fatal(err)
	}
	if r.Schema != Schema || len(r.Findings) != len(sample().Findings) || r.Layers[0].Rules == 0 {
		t.Errorf("%+v", r)
	}
}
