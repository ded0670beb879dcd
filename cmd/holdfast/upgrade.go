package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast/cmd/internal/pair"
	"holdfast/internal/ui"
	"holdfast/stacks"
)

func newUpgrade(g *globals) *cobra.Command {
	var options pair.UpgradeOptions
	var yes, noVerify bool
	var health time.Duration
	v := &verification{globals: g}
	cmd := &cobra.Command{
		Use:   "upgrade",
		Short: "Move to newer sets of versions: show the way, copy the databases, replace, verify, or go back",
		Long: `Upgrade shows the way from the catalog sets that run to those of holdfast.yml, or,
when they are the same, to the newest that can be reached, or to those named with --to:
what changes, what happens in which order, which images come. Once confirmed, it writes
the sets to holdfast.yml (comments stay) and the images' digests to holdfast.lock,
brings all images while everything runs, makes a safety copy of the databases on the
production server, and replaces the services in the order of their dependencies, each
waiting until those it needs are healthy. Then it verifies.

When a service does not get healthy, the release before runs again, the folder is as it
was, and the error says which containers failed with what, and what became of the data.
A run that was killed is continued by the next.

Where a person has to do something first, as for another major version of PostgreSQL,
it shows the procedure and refuses until --procedure-done names the set; which version
the data is of is looked at all the same.

Images that holdfast.yml overrides stay overridden; changing those is an upgrade too.`,
		Example: `  holdfast upgrade -C production --dry-run
  holdfast upgrade -C production
  holdfast upgrade -C production --to trigger-4.5.12 --yes`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := g.openWith(func(o *pair.Options) { o.HealthTimeout = health })
			if err != nil {
				return err
			}
			defer p.Close()
			u, err := p.Upgrade(cmd.Context(), options, func(u *pair.Upgrade) error {
				printUpgrade(g.ui, u)
				return g.confirmed(cmd, yes, u.Plan.Count())
			})
			if err != nil {
				return fmt.Errorf("upgrade %s: %w", p.Env.Environment, err)
			}
			if options.DryRun {
				return g.showUpgrade(u)
			}
			if u.Plan.Empty() {
				g.ui.Printf("nothing to upgrade: what is declared runs, and the catalog leads to nothing newer\n")
				return nil
			}
			g.ui.Printf("done: release %s runs\n", u.Plan.Release)
			if len(u.Edits) > 0 {
				g.ui.Printf("commit %s\n", strings.Join(u.Edits, ", "))
			}
			if noVerify {
				return nil
			}
			return v.run(cmd.Context(), p)
		},
	}
	cmd.Flags().StringSliceVar(&options.To, "to", nil, "catalog set to go to; repeatable, one a stack")
	cmd.Flags().StringSliceVar(&options.Done, "procedure-done", nil, "catalog set whose documented procedure you went through; repeatable")
	cmd.Flags().BoolVar(&options.NoCopy, "no-copy", false, "make no safety copy of the databases: you have a backup")
	cmd.Flags().BoolVar(&options.DryRun, "dry-run", false, "show the way and the plan, and change nothing; exit 2 when there is something")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "don't ask before the first change")
	cmd.Flags().BoolVar(&noVerify, "no-verify", false, "don't verify afterwards")
	cmd.Flags().DurationVar(&health, "health-timeout", 5*time.Minute, "how long one stack may take to become healthy")
	_ = cmd.RegisterFlagCompletionFunc("to", cobra.FixedCompletions(stacks.Sets(""), cobra.ShellCompDirectiveNoFileComp))
	g.includeAllFlag(cmd)
	g.wideningFlag(cmd)
	v.flags(cmd)
	g.outputFlag(cmd, "text", "json")
	before := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if g.output == "json" && !options.DryRun {
			return fmt.Errorf("%w: --output json goes with --dry-run", errUsage)
		}
		return before(cmd, args)
	}
	return cmd
}

// showUpgrade answers --dry-run.
func (g *globals) showUpgrade(u *pair.Upgrade) error {
	var err error
	if g.output == "json" {
		err = printJSON(g.ui.Out, u)
	} else {
		printUpgrade(g.ui, u)
	}
	return errors.Join(err, changesOf(u.Plan))
}

// changesOf is errChanges when a plan has any.
func changesOf(plan *pair.Plan) error {
	if plan.Empty() {
		return nil
	}
	return errChanges
}

func printUpgrade(u *ui.UI, up *pair.Upgrade) {
	for _, w := range up.Ways {
		head := w.Stack + ": " + w.From + " → " + w.To
		if w.From == w.To {
			head = w.Stack + ": " + w.To + ", other images"
		}
		u.Printf("%s\n", u.Style(ui.Bold, head))
		for _, c := range w.Changes {
			u.Printf("  - %s\n", c)
		}
		for i, step := range w.Steps {
			u.Printf("  %d. %s\n", i+1, step)
		}
		if w.Notes != "" && w.From != w.To {
			u.Printf("  %s\n", strings.ReplaceAll(strings.TrimSpace(w.Notes), "\n", "\n  "))
		}
		for _, image := range w.Images {
			switch {
			case image.From == "":
				u.Printf("  + %s: %s\n", image.Service, image.To)
			case image.To == "":
				u.Printf("  - %s: %s\n", image.Service, image.From)
			default:
				u.Printf("  ~ %s: %s → %s\n", image.Service, image.From, image.To)
			}
		}
	}
	for _, w := range up.Warnings {
		u.Printf("%s %s\n", u.Style(ui.Yellow, "warning:"), w)
	}
	if len(up.Edits) > 0 {
		u.Printf("the folder's %s will be changed\n", strings.Join(up.Edits, ", "))
	}
	up.Plan.Print(u)
}
