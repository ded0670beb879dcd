package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast/cmd/internal/pair"
	"holdfast/internal/ui"
)

func newSecretsRotate(g *globals) *cobra.Command {
	var all, yes, dryRun bool
	var health time.Duration
	cmd := &cobra.Command{
		Use:   "rotate NAME...",
		Short: "Make secrets anew and put them in force, in the databases too",
		Long: `Rotate makes new values, and what is derived from them, changes the passwords of
the roles in the running databases, has services make anew what they keep there
under the old value, restarts what reads it in the order of dependencies, and waits
until all is healthy. When it does not get healthy, the databases get the old values
back, the former release starts, and the new values are forgotten.

The new values are written to secrets.age before a server is touched. A run that
was killed at any moment is finished, or taken back, by the next rotate or deploy.

It shows first what will stop working, and wants the environment's name typed.
--all leaves out mere names (DASHBOARD_USERNAME, POOLER_TENANT_ID) and what can't be
rotated without losing data (TRIGGER_ENCRYPTION_KEY): name those. The releases from
before are removed from the server: they hold the old values.`,
		Example: `  holdfast secrets rotate POSTGRES_PASSWORD --dry-run
  holdfast secrets rotate JWT_SECRET -C production
  holdfast secrets rotate --all --yes`,
		Args: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) > 0) {
				return ui.Hint(fmt.Errorf("%w: rotate takes names of secrets, or --all", errUsage), "`holdfast secrets list` shows the names")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := g.openWith(func(o *pair.Options) { o.HealthTimeout = health })
			if err != nil {
				return err
			}
			defer p.Close()
			renewal, err := p.Renew(args, all)
			if err != nil {
				return err
			}
			if g.output == "json" {
				if err := printJSON(g.ui.Out, renewal); err != nil {
					return err
				}
			} else {
				printRenewal(g.ui, renewal)
			}
			if dryRun {
				return nil
			}
			confirm := func() error { return confirmByName(g.ui, p.Env.Environment, yes) }
			if err := p.Rotate(cmd.Context(), renewal, confirm); err != nil {
				return fmt.Errorf("rotate: %w", err)
			}
			if g.output != "json" {
				g.ui.Printf("done: new values of %s are in force; commit secrets.age\n", strings.Join(renewal.Names, ", "))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "every secret that Holdfast makes and that can be rotated without losing data")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "don't ask")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only show what would happen; no server is touched")
	cmd.Flags().DurationVar(&health, "health-timeout", 5*time.Minute, "how long one stack may take to become healthy")
	g.outputFlag(cmd, "text", "json")
	return cmd
}

func printRenewal(u *ui.UI, r *pair.Renewal) {
	if r.Unfinished {
		u.Printf("An earlier rotation is not finished; its values are used.\n")
	}
	u.Printf("%s %s\n", u.Style(ui.Bold, "new values:"), strings.Join(r.Names, ", "))
	if len(r.Ends) > 0 {
		u.Printf("%s\n", u.Style(ui.Yellow, "what will stop working:"))
		for _, clause := range r.Ends {
			u.Printf("  - %s\n", clause)
		}
	}
	u.Printf("%s\n", u.Style(ui.Bold, "what happens:"))
	for i, step := range r.Steps {
		u.Printf("  %d. %s\n", i+1, step)
	}
}

// confirmByName wants the environment's name typed, so that nobody rotates the
// secrets of another environment than the one they think of.
func confirmByName(u *ui.UI, environment string, yes bool) error {
	if yes {
		return nil
	}
	answer, err := u.Ask("Type the environment's name (" + environment + ") to do it")
	if err != nil {
		return ui.Hint(fmt.Errorf("%w: nobody is there to confirm; nothing was changed", errUsage), "look at --dry-run, then pass --yes")
	}
	if answer != environment {
		return ui.Hint(fmt.Errorf("not confirmed; nothing was changed"), "type the name as it stands in holdfast.yml, or pass --yes")
	}
	return nil
}
