package main

import (
	"context"

	"github.com/spf13/cobra"

	"holdfast/cmd/internal/pair"
)

func newStatus(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "What runs on both servers now; exit 1 when a service is not healthy",
		Long: `Status observes both servers in one read-only batch each and lists the system,
the running release and every service with its state and image. It says how much
differs from the environment folder, and what else is worth knowing, as a reboot
that is due. It exits 1 when a declared service is missing or not healthy.`,
		Example: `  holdfast status -C production
  holdfast status -C production --output json | jq '.servers[].services[] | select(.healthy | not)'`,
		Args: noArgs,
		RunE: g.with(func(ctx context.Context, p *pair.Pair) error {
			status, err := p.Status(ctx)
			if err != nil {
				return err
			}
			if g.output == "json" {
				err = printJSON(g.ui.Out, status)
			} else {
				status.Print(g.ui)
			}
			if err == nil && !status.Healthy() {
				err = errGate
			}
			return err
		}),
	}
	g.outputFlag(cmd, "text", "json")
	return cmd
}
