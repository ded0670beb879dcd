package main

import (
	"context"

	"github.com/spf13/cobra"

	"holdfast/cmd/internal/pair"
)

func newReleases(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "releases",
		Short: "The releases that the production server keeps, and which of them runs",
		Long: `Releases lists the releases on the production server: which runs, which a rollback
would start, when each was started last and by whom, the catalog sets it is made of,
and whether its files were edited by hand.

How many stay is "releases.keep" in holdfast.yml; the running one and the one that
ran before it stay always.`,
		Example: `  holdfast releases -C production
  holdfast releases -C production --output json | jq -r '.releases[] | select(.state == "running").id'`,
		Args: noArgs,
		RunE: g.with(func(ctx context.Context, p *pair.Pair) error {
			list, err := p.Releases(ctx)
			if err != nil {
				return err
			}
			if g.output == "json" {
				return printJSON(g.ui.Out, list)
			}
			list.Print(g.ui)
			return nil
		}),
	}
	g.outputFlag(cmd, "text", "json")
	return cmd
}
