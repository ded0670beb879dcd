package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"holdfast/cmd/internal/pair"
	"holdfast/verify"
	"holdfast/verify/baseline"
	"holdfast/verify/report"
)

// verification is what verify and deploy share: the flags, the reports, the gate.
type verification struct {
	*globals
	gate    string
	reports string
	timeout time.Duration
}

func (v *verification) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&v.gate, "gate", "", "fail on findings from this severity on: critical, high, medium, low (default: holdfast.yml's gate)")
	cmd.Flags().StringVar(&v.reports, "reports", "", "folder for the reports (default: reports/ in the environment folder)")
	cmd.Flags().DurationVar(&v.timeout, "timeout", 2*time.Minute, "how long collecting facts may take")
	_ = cmd.RegisterFlagCompletionFunc("gate", cobra.FixedCompletions([]string{"critical", "high", "medium", "low"}, cobra.ShellCompDirectiveNoFileComp))
}

func newVerify(g *globals) *cobra.Command {
	v := &verification{globals: g}
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Observe what really runs and evaluate the security baseline; exit 1 on the gate",
		Long: `Verify collects facts from both servers, the running containers, the gateway's
config and behaviour, the network and the database, and evaluates every rule of
security-baseline.yml on them. A rule whose facts could not be collected is an
error, never a pass.

It writes baseline-report.md, report.html, report.json and facts.json to the
reports folder, and exits 1 when a finding reaches the gate.`,
		Example: `  holdfast verify -C production
  holdfast verify -C production --gate critical
  holdfast verify -C production --output json | jq '.findings[].rule'`,
		Args: noArgs,
		RunE: g.with(v.run),
	}
	v.flags(cmd)
	g.outputFlag(cmd, "text", "json", "markdown")
	return cmd
}

// run verifies a pair, prints the report in the chosen format, writes all
// formats to the reports folder and answers with the gate.
func (v *verification) run(ctx context.Context, p *pair.Pair) error {
	gate := baseline.Severity(p.Env.Gate)
	if v.gate != "" {
		var err error
		if gate, err = baseline.ParseSeverity(v.gate); err != nil {
			return fmt.Errorf("%w: --gate: %w", errUsage, err)
		}
	}
	facts, result, err := p.Verify(ctx, v.timeout)
	if err != nil {
		return fmt.Errorf("verify %s: %w", p.Env.Environment, err)
	}
	doc := report.New(facts, result, gate)
	dir := v.reports
	if dir == "" {
		dir = p.Env.ReportsDir()
	}
	if err := writeReports(dir, doc, facts); err != nil {
		return fmt.Errorf("write the reports: %w", err)
	}
	switch v.output {
	case "json":
		err = report.JSON(v.ui.Out, doc)
	case "markdown":
		err = report.Markdown(v.ui.Out, doc)
	default:
		err = report.Terminal(v.ui.Out, doc, v.ui.Color)
		v.ui.Printf("\nreports: %s\n         %s\n", filepath.Join(dir, "report.html"), filepath.Join(dir, "baseline-report.md"))
	}
	if err != nil {
		return err
	}
	if baseline.Gate(result, gate) != nil {
		return errGate
	}
	return nil
}

// writeReports writes every format, and the facts they rest on, to dir.
func writeReports(dir string, doc report.Report, facts *verify.Facts) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	for _, f := range []struct {
		name  string
		write func(io.Writer) error
	}{
		{"baseline-report.md", func(w io.Writer) error { return report.Markdown(w, doc) }},
		{"report.html", func(w io.Writer) error { return report.HTML(w, doc) }},
		{"report.json", func(w io.Writer) error { return report.JSON(w, doc) }},
		{"facts.json", func(w io.Writer) error { return printJSON(w, facts) }},
	} {
		var b bytes.Buffer
		if err := f.write(&b); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, f.name), b.Bytes(), 0o640); err != nil {
			return err
		}
	}
	return nil
}
