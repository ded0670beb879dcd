package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"
)

// Markdown writes the report as baseline-report.md: something to commit, to
// send and to read in a code host.
func Markdown(w io.Writer, r Report) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "# Baseline report of %s\n\n", mark(r.Environment))
	fmt.Fprintf(out, "Collected %s. Gate: %s\n\n", r.CollectedAt.UTC().Format(time.DateTime+" MST"), mark(r.Verdict()))
	fmt.Fprint(out, "| layer | rules | undecided | failed | expired | waived | not applicable | passed |\n|---|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, l := range append(r.Layers, Layer{"**all**", r.Counts}) {
		fmt.Fprintf(out, "| %s | %d | %d | %d | %d | %d | %d | %d |\n", l.Name, l.Rules, l.Error, l.Fail, l.WaiverExpired, l.Waived, l.Skipped, l.Pass)
	}
	open := r.Open()
	fmt.Fprintf(out, "\n## To do\n\n")
	if len(open) == 0 {
		fmt.Fprint(out, "Nothing.\n")
	}
	for _, g := range open {
		fmt.Fprintf(out, "### %s: %s\n\n`%s`\n\n", label(g.Finding), mark(g.Title), code(g.Rule))
		for i, f := range g.All {
			if i == maxSubjects {
				fmt.Fprintf(out, "- … and %d more\n", len(g.All)-i)
				break
			}
			fmt.Fprintf(out, "- **%s**: %s\n", mark(where(f)), mark(f.Message))
		}
		if why := because(g.Finding); why != "" {
			fmt.Fprintf(out, "- %s\n", mark(why))
		}
		for i, fix := range g.Fixes() {
			if i == maxSubjects {
				break
			}
			fmt.Fprintf(out, "\nFix: %s\n", mark(fix))
		}
		if len(g.References) > 0 {
			fmt.Fprintf(out, "\nSee: %s\n", mark(strings.Join(g.References, ", ")))
		}
		fmt.Fprintln(out)
	}
	if accepted := r.Accepted(); len(accepted) > 0 {
		fmt.Fprint(out, "\n## Waived\n\n| rule | severity | on | until | by | reason |\n|---|---|---|---|---|---|\n")
		for _, g := range accepted {
			var names []string
			for _, f := range g.All {
				names = append(names, where(f))
			}
			fmt.Fprintf(out, "| `%s` | %s | %s | %s | %s | %s |\n", code(g.Rule), label(g.Finding), mark(shorten(names)),
				mark(g.Waiver.Expires), mark(g.Waiver.Owner), mark(g.Waiver.Reason))
		}
	}
	if len(r.Missing) > 0 {
		fmt.Fprint(out, "\n## Not collected\n\n")
		for _, m := range r.Missing {
			fmt.Fprintf(out, "- **%s**: %s\n", mark(strings.TrimSpace(m.Server+" "+m.What)), mark(m.Message))
		}
	}
	fmt.Fprint(out, "\n## All rules\n\n| rule | severity | verdict | looked at | promise |\n|---|---|---|---:|---|\n")
	for _, o := range r.Outcomes {
		verdict := string(o.Verdict)
		if o.Reason != "" {
			verdict += ": " + o.Reason
		}
		fmt.Fprintf(out, "| `%s` | %s | %s | %d | %s |\n", code(o.Rule), o.Severity, mark(verdict), o.Checked, mark(o.Title))
	}
	return out.Flush()
}

// special are the characters that mean something in Markdown or in the HTML
// that may stand in it.
var special = strings.NewReplacer(
	`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "<", "&lt;", ">", "&gt;", "&", "&amp;", "|", `\|`, "#", `\#`, "~", `\~`, "!", `\!`,
	"://", ":&#47;/", "@", "&#64;", "www.", "www&#46;", // some readers turn bare addresses into links
)

// mark writes foreign text so that Markdown shows it as it is.
func mark(s string) string { return special.Replace(plain(s)) }

// code writes a rule's id between backticks, where nothing can be escaped: what
// no id has is left out.
func code(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_' {
			return r
		}
		return -1
	}, s)
}
