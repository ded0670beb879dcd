package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"holdfast/cmd/internal/pair"
	"holdfast/internal/ui"
)

func newRollback(g *globals) *cobra.Command {
	var yes, noVerify bool
	var health time.Duration
	v := &verification{globals: g}
	cmd := &cobra.Command{
		Use:   "rollback [RELEASE]",
		Short: "Start an earlier release; without a name, the one that ran before",
		Long: `Rollback starts a release that the production server still keeps: the one that ran
before the present one, or the named one (its first digits are enough). It says what
does not go back with it, such as migrations that were applied since, brings images
that are missing, waits until all services are healthy, and verifies. When they don't
get healthy, what ran before runs again.

It refuses a release whose files were edited by hand, and one whose PostgreSQL is of
another major version than the data. The folder is left as it is: as long as it
renders to another release, the next deploy starts that one.`,
		Example: `  holdfast rollback -C production
  holdfast releases -C production
  holdfast rollback 4f0c12ab -C production --yes`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("%w: rollback takes one release, got %q", errUsage, args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := g.openWith(func(o *pair.Options) { o.HealthTimeout = health })
			if err != nil {
				return err
			}
			defer p.Close()
			id := ""
			if len(args) == 1 {
				id = args[0]
			}
			plan, err := p.Rollback(cmd.Context(), id, func(plan *pair.Plan) error {
				plan.Print(g.ui)
				return g.confirmed(cmd, yes, plan.Count())
			})
			if err != nil {
				return fmt.Errorf("rollback %s: %w", p.Env.Environment, err)
			}
			if plan.Empty() {
				g.ui.Printf("release %s runs already\n", plan.Release)
				return nil
			}
			g.ui.Printf("done: release %s runs\n", plan.Release)
			if noVerify {
				return nil
			}
			return v.run(cmd.Context(), p)
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "don't ask before the first change")
	cmd.Flags().BoolVar(&noVerify, "no-verify", false, "don't verify afterwards")
	cmd.Flags().DurationVar(&health, "health-timeout", 5*time.Minute, "how long one stack may take to become healthy")
	v.flags(cmd)
	return cmd
}

// confirmed asks whether changes that were shown are to be made.
func (g *globals) confirmed(cmd *cobra.Command, yes bool, changes int) error {
	if yes {
		return nil
	}
	if !ui.IsTerminal(cmd.InOrStdin()) {
		return ui.Hint(fmt.Errorf("%w: nobody is there to confirm %d changes; nothing was changed", errUsage, changes), "look at what is shown, then pass --yes")
	}
	if !g.ui.Confirm("Do it?") {
		return ui.Hint(errors.New("not confirmed; nothing was changed"), "answer y, or pass --yes")
	}
	return nil
}
