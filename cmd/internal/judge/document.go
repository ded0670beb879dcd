package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/internal/lab"
)

// middle is the median of an odd number of times.
func middle(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

// A row is one line of the table of figures.
type row struct {
	name  string
	value func(*Column) string // "" when the column has none
	goal  string
	met   func(*Column) bool // whether a column of Holdfast's reaches the goal
	// ahead is whether a column of Holdfast's is better than dev-sec's.
	ahead func(ours, theirs *Column) bool
}

func rows() []row {
	secs := func(d time.Duration) string {
		switch {
		case d == 0:
			return ""
		case d < 10*time.Second:
			return fmt.Sprintf("%.2f s", d.Seconds())
		}
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	both := func(plain, pipelined time.Duration) string {
		if pipelined == 0 {
			return secs(plain)
		}
		return fmt.Sprintf("%s (%s pipelined)", secs(plain), secs(pipelined))
	}
	number := func(n int) string {
		if n == 0 {
			return ""
		}
		return fmt.Sprint(n)
	}
	best := func(d, pipelined time.Duration) time.Duration { return min(d, cmp.Or(pipelined, d)) }
	return []row{
		{
			name: "Lynis index", goal: "≥ 84",
			value: func(c *Column) string {
				if c.Lynis == nil {
					return ""
				}
				return fmt.Sprint(c.Lynis.Index)
			},
			met:   func(c *Column) bool { return c.Lynis.Index >= 84 },
			ahead: func(ours, theirs *Column) bool { return theirs.Lynis == nil || ours.Lynis.Index > theirs.Lynis.Index },
		},
		{
			name: "ssh-audit: fail / warn", goal: "0 / 0",
			value: func(c *Column) string {
				if c.SSHAudit == nil {
					return ""
				}
				return fmt.Sprintf("%d / %d", c.SSHAudit.Failures, c.SSHAudit.Warnings)
			},
			met: func(c *Column) bool { return *c.SSHAudit == SSHAudit{Version: c.SSHAudit.Version} },
			ahead: func(ours, theirs *Column) bool {
				return theirs.SSHAudit == nil || ours.SSHAudit.Failures+ours.SSHAudit.Warnings < theirs.SSHAudit.Failures+theirs.SSHAudit.Warnings
			},
		},
		{
			name: "docker-bench: WARN (of them: wants the audit log)", goal: "≤ 4 beside the audit log's",
			value: func(c *Column) string {
				if c.DockerBench == nil {
					return ""
				}
				return fmt.Sprintf("%d (%d)", len(c.DockerBench.Warn), len(c.DockerBench.Audit))
			},
			met: func(c *Column) bool {
				return c.DockerBench == nil || len(c.DockerBench.Warn)-len(c.DockerBench.Audit) <= 4
			},
			ahead: func(ours, theirs *Column) bool {
				return ours.DockerBench == nil || theirs.DockerBench == nil || len(ours.DockerBench.Warn) < len(theirs.DockerBench.Warn)
			},
		},
		{
			name: "first run", goal: "≤ 40 s",
			value: func(c *Column) string { return secs(c.First) },
			met:   func(c *Column) bool { return c.First <= 40*time.Second },
			ahead: func(ours, theirs *Column) bool { return theirs.First == 0 || ours.First < theirs.First },
		},
		{
			name: "security updates, behind the first run", goal: "",
			value: func(c *Column) string { return secs(c.Updates) },
		},
		{
			name: "nothing to change", goal: "≤ 0.6 s",
			value: func(c *Column) string { return both(c.NoOp, c.Pipelined) },
			met:   func(c *Column) bool { return c.NoOp <= 600*time.Millisecond },
			ahead: func(ours, theirs *Column) bool {
				return theirs.NoOp == 0 || ours.NoOp < best(theirs.NoOp, theirs.Pipelined)
			},
		},
		{
			name: "nothing to change, 50 ms away", goal: "≤ 1.2 s",
			value: func(c *Column) string { return both(c.Distant, c.DistantPipelined) },
			met:   func(c *Column) bool { return c.Distant <= 1200*time.Millisecond },
			ahead: func(ours, theirs *Column) bool {
				return theirs.Distant == 0 || ours.Distant < best(theirs.Distant, theirs.DistantPipelined)
			},
		},
		{
			name: "its round trips", goal: "≤ 12",
			value: func(c *Column) string { return number(c.RoundTrips) },
			met:   func(c *Column) bool { return c.RoundTrips <= 12 },
			ahead: func(ours, theirs *Column) bool { return theirs.RoundTrips == 0 || ours.RoundTrips < theirs.RoundTrips },
		},
	}
}

// fill puts the tables between the document's markers: lines of
// "<!-- NAME -->", up to "<!-- end -->".
func (v *Verdict) fill(document string) (string, error) {
	for _, part := range []struct {
		name string
		text string
	}{
		{"figures", v.figures()},
		{"lynis", v.remaining()},
		{"docker-bench", v.benchTable()},
	} {
		before, rest, begins := strings.Cut(document, "<!-- "+part.name+" -->\n")
		_, after, ends := strings.Cut(rest, "<!-- end -->\n")
		if !begins || !ends {
			return "", fmt.Errorf("it lacks the line <!-- %s -->, or its <!-- end -->", part.name)
		}
		document = before + "<!-- " + part.name + " -->\n" + part.text + "<!-- end -->\n" + after
	}
	return document, nil
}

func (v *Verdict) figures() string {
	var b strings.Builder
	b.WriteString("| | plain Debian 13 | dev-sec, defaults | Holdfast, production | Holdfast, audit | goal |\n|---|---|---|---|---|---|\n")
	line := func(name, goal string, value func(*Column) string) {
		b.WriteString("| " + name)
		for _, column := range columnNames {
			b.WriteString(" | " + cmp.Or(value(v.Columns[column]), "-"))
		}
		b.WriteString(" | " + goal + " |\n")
	}
	for _, r := range rows() {
		line(r.name, r.goal, r.value)
	}
	line("measured on", "", func(c *Column) string { return c.Date })
	if l, a := v.Columns[lab.Audit].Lynis, v.Columns[lab.Audit].SSHAudit; l != nil && a != nil {
		fmt.Fprintf(&b, "\nLynis %s, ssh-audit %s; the times of runs that change nothing are medians of five.\n", l.Version, a.Version)
	}
	if v.Columns[devsec].Date != v.Columns[lab.Audit].Date {
		b.WriteString("The column of dev-sec was not measured in this run: `make judge DEVSEC=FOLDER` does it anew.\n")
	}
	return b.String()
}

// remaining lists what Lynis still suggests on Holdfast's servers.
func (v *Verdict) remaining() string {
	type entry struct {
		Suggestion
		servers []string
	}
	var entries []entry
	for _, name := range []string{lab.Production, lab.Audit} {
		for _, s := range v.Columns[name].suggestions() {
			i := slices.IndexFunc(entries, func(e entry) bool { return e.Suggestion == s })
			if i < 0 {
				i, entries = len(entries), append(entries, entry{Suggestion: s})
			}
			if !slices.Contains(entries[i].servers, name) {
				entries[i].servers = append(entries[i].servers, name)
			}
		}
	}
	slices.SortStableFunc(entries, func(a, b entry) int { return strings.Compare(a.Test, b.Test) })
	var b strings.Builder
	b.WriteString("| test | what Lynis says | where | why it stays |\n|---|---|---|---|\n")
	for _, e := range entries {
		text := strings.TrimSuffix(e.Text, ".")
		if e.Details != "" {
			text += ": " + e.Details
		}
		where := "both"
		if len(e.servers) == 1 {
			where = e.servers[0]
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", e.Test, text, where, cmp.Or(reason(e.Suggestion), "**no reason is known**"))
	}
	return b.String()
}

// benchTable lists docker-bench's warnings, with those of a plain server.
func (v *Verdict) benchTable() string {
	var b strings.Builder
	b.WriteString("| server | checks with a rule | WARN |\n|---|---|---|\n")
	for _, name := range columnNames {
		if d := v.Columns[name].DockerBench; d != nil {
			fmt.Fprintf(&b, "| %s | %d | %s |\n", name, d.Checked, cmp.Or(strings.Join(d.Warn, " "), "none"))
		}
	}
	return b.String()
}

func (c *Column) suggestions() []Suggestion {
	if c.Lynis == nil {
		return nil
	}
	return slices.Concat(c.Lynis.Warnings, c.Lynis.Suggestions)
}

// missed are the goals that Holdfast's columns do not reach, and what Lynis
// still says without a reason why that stays.
func (v *Verdict) missed() []error {
	var missed []error
	for _, name := range []string{lab.Production, lab.Audit} {
		ours := v.Columns[name]
		for _, r := range rows() {
			switch {
			case r.met != nil && !r.met(ours):
				missed = append(missed, fmt.Errorf("%s: %s is %s, the goal is %s", name, r.name, r.value(ours), r.goal))
			case r.ahead != nil && !r.ahead(ours, v.Columns[devsec]):
				missed = append(missed, fmt.Errorf("%s: %s is %s, dev-sec's %s", name, r.name, r.value(ours), r.value(v.Columns[devsec])))
			}
		}
		for _, s := range ours.suggestions() {
			if reason(s) == "" {
				missed = append(missed, fmt.Errorf("%s: Lynis says %s (%s %s): mend it, or give the reason why it stays in reasons.go", name, s.Test, s.Text, s.Details))
			}
		}
	}
	return missed
}
