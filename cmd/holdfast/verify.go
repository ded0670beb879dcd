package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"holdfast/cmd/internal/pair"
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
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := g.open()
			if err != nil {
				return err
			}
			defer p.Close()
			return v.run(cmd.Context(), p)
		},
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
	if err := writeReports(dir, doc); err != nil {
		return fmt.Errorf("write the reports: %w", err)
	}
	switch v.output {
	case "json":
		err = doc.JSON(v.ui.Out)
	case "markdown":
		err = doc.Markdown(v.ui.Out)
	default:
		err = doc.Terminal(v.ui.Out, v.ui.Color)
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

var _ = errors.New
var _ = os.Stat
