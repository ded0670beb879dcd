package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"holdfast/cmd/internal/pair"
	"holdfast/internal/ui"
)

func newDeploy(g *globals) *cobra.Command {
	var yes, noVerify, reboot bool
	var health time.Duration
	v := &verification{globals: g}
	cmd := &cobra.Command{
		Use:   "deploy",
		Short: "Converge both servers, start the release, apply migrations, verify",
		Long: `Deploy makes both servers what the environment folder declares: it provisions
and hardens them, uploads the release, brings images, applies migrations behind
the row-level-security gate, starts the stacks and waits until they are healthy,
and then verifies what really runs against the baseline.

It does only what differs: a second run says "nothing to change". A run that was
interrupted is continued by the next one. It says when a server is due for a
reboot, and why; with --reboot it restarts such servers, the audit server first,
and goes on when each is back with its stacks healthy.`,
		Example: `  holdfast deploy -C production
  holdfast deploy -C production --yes --accept-new-host-keys   # unattended, first run
  holdfast deploy -C production --no-verify
  holdfast deploy -C production --reboot     # where a new kernel waits for one`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			p, err := g.openWith(func(o *pair.Options) { o.HealthTimeout = health })
			if err != nil {
				return err
			}
			defer p.Close()
			plan, err := p.Deploy(ctx, func(plan *pair.Plan) error {
				g.ui.Progress("", "%d changes: %s", plan.Count(), plan.Summary())
				if !yes {
					plan.Print(g.ui)
				}
				return g.confirmed(cmd, yes, plan.Count())
			})
			if err != nil {
				return fmt.Errorf("deploy %s: %w", p.Env.Environment, err)
			}
			if !plan.Empty() {
				g.ui.Printf("done: %s; release %s runs\n", plan.Summary(), plan.Release)
			}
			if err := restart(ctx, g.ui, p, reboot); err != nil {
				return fmt.Errorf("deploy %s: %w", p.Env.Environment, err)
			}
			if !noVerify {
				err = v.run(ctx, p)
			}
			if plan.Empty() {
				g.ui.Printf("nothing to change\n")
			}
			return err
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "don't ask before the first change")
	cmd.Flags().BoolVar(&reboot, "reboot", false, "restart servers that are due for it, one at a time, before verifying")
	cmd.Flags().BoolVar(&noVerify, "no-verify", false, "don't verify afterwards")
	cmd.Flags().DurationVar(&health, "health-timeout", 5*time.Minute, "how long one stack may take to become healthy")
	g.includeAllFlag(cmd)
	g.wideningFlag(cmd)
	v.flags(cmd)
	return cmd
}

// restart reboots the servers that are due for it, or says which are.
func restart(ctx context.Context, u *ui.UI, p *pair.Pair, wanted bool) error {
	due := p.RebootsDue()
	if wanted && len(due) > 0 {
		return p.Reboot(ctx, slices.Collect(maps.Keys(due)))
	}
	for _, role := range slices.Sorted(maps.Keys(due)) {
		u.Progress(role, "a reboot is due: %s; `holdfast deploy --reboot` does it", due[role])
	}
	return nil
}
