package main

import (
	"context"
	"encoding/json"
	"io"

	"github.com/spf13/cobra"

	"holdfast/cmd/internal/pair"
)

func newPlan(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Observe both servers and print what deploy would do; exit 2 when there is something",
		Long: `Plan observes both servers, in one read-only batch each, and prints what would
change, grouped by server and concern, with unified diffs of files. Values of
secrets are masked. Nothing is changed.

It exits 0 when there is nothing to do and 2 when there is.`,
		Example: `  holdfast plan -C production
  holdfast plan -C production --output json | jq '.servers[].changes[].id'`,
		Args: noArgs,
		RunE: g.with(func(ctx context.Context, p *pair.Pair) error {
			plan, err := p.Plan(ctx)
			if err != nil {
				return err
			}
			if g.output == "json" {
				err = printJSON(g.ui.Out, plan)
			} else {
				plan.Print(g.ui)
			}
			if err == nil && !plan.Empty() {
				err = errChanges
			}
			return err
		}),
	}
	g.outputFlag(cmd, "text", "json")
	return cmd
}

// printJSON writes v as one indented document in a single write, so that
// redaction sees whole values.
func printJSON(w io.Writer, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(data, '\n'))
	return err
}
