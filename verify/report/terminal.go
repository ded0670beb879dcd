package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"holdfast/verify/baseline"
)

// maxSubjects is how many things of one rule the terminal and Markdown list.
// The JSON and HTML reports have them all.
const maxSubjects = 12

// colours are the SGR codes of labels (ECMA-48, 8.3.117).
var colours = map[string]string{
	"undecided": "35;1", string(baseline.Critical): "31;1", string(baseline.High): "31",
	string(baseline.Medium): "33", string(baseline.Low): "36", "waived": "2", "passed": "32;1", "failed": "31;1", "dim": "2", "bold": "1",
}

// Terminal writes the report for a person at a terminal, worst first. colour
// allows escape sequences; without it the text has none.
func Terminal(w io.Writer, r Report, colour bool) error {
	out := bufio.NewWriter(w)
	paint := func(name, text string) string {
		if code := colours[name]; colour && code != "" {
			return "\x1b[" + code + "m" + text + "\x1b[0m"
		}
		return text
	}
	for _, g := range r.Open() {
		fmt.Fprintf(out, "%s %s  %s\n", paint(label(g.Finding), fmt.Sprintf("%-9s", strings.ToUpper(label(g.Finding)))), paint("bold", plain(g.Rule)), plain(g.Title))
		subjects(out, g, func(f baseline.Finding) string { return plain(f.Message) })
		if g.Verdict == baseline.WaiverExpired {
			fmt.Fprintf(out, "          %s\n", plain(because(g.Finding)))
		}
		for i, fix := range g.Fixes() {
			if i == maxSubjects {
				break
			}
			fmt.Fprintf(out, "          %s %s\n", paint("dim", "fix:"), plain(fix))
		}
		fmt.Fprintln(out)
	}
	if accepted := r.Accepted(); len(accepted) > 0 {
		fmt.Fprintln(out, paint("bold", "Waived"))
		for _, g := range accepted {
			var names []string
			for _, f := range g.All {
				names = append(names, plain(where(f)))
			}
			fmt.Fprintf(out, "  %s %s  %s\n", paint("waived", fmt.Sprintf("%-9s", label(g.Finding))), plain(g.Rule), shorten(names))
			fmt.Fprintf(out, "            %s\n", paint("dim", plain(because(g.Finding))))
		}
		fmt.Fprintln(out)
	}
	for _, m := range r.Missing {
		fmt.Fprintf(out, "%s %s could not be collected: %s\n", paint("undecided", "missing"), plain(strings.TrimSpace(m.Server+" "+m.What)), plain(m.Message))
	}
	if len(r.Missing) > 0 {
		fmt.Fprintln(out)
	}
	for _, l := range r.Layers {
		fmt.Fprintf(out, "%-9s %s\n", l.Name, l.Counts)
	}
	word := "passed"
	if !r.Passed {
		word = "failed"
	}
	fmt.Fprintf(out, "%-9s %s\n", "all", r.Counts)
	fmt.Fprintf(out, "%-9s %s%s\n", "gate", paint(word, word), strings.TrimPrefix(r.Verdict(), word))
	return out.Flush()
}

// subjects lists what a group's findings are about.
func subjects(out io.Writer, g group, say func(baseline.Finding) string) {
	for i, f := range g.All {
		if i == maxSubjects {
			fmt.Fprintf(out, "          … and %d more\n", len(g.All)-i)
			return
		}
		fmt.Fprintf(out, "          %s: %s\n", plain(where(f)), say(f))
	}
}

// shorten joins names, leaving out those beyond a handful.
func shorten(names []string) string {
	const most = 6
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
