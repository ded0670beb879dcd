package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/internal/environment"
	"holdfast/internal/ui"
	"holdfast/stacks/migrate"
	"holdfast/stacks/migrate/lint"
)

func newMigrateLint(g *globals) *cobra.Command {
	var all bool
	var since string
	cmd := &cobra.Command{
		Use:   "lint",
		Short: "Say what is wrong with the migrations, without any server; exit 1 from the gate's severity on",
		Long: `Lint reads supabase/migrations with PostgreSQL's own grammar: what leaves data
open, what blocks a live database, what can't run at all. It needs no server and
no secrets. Findings from the environment's gate on make it exit 1; plan, deploy
and migrate up judge what is pending the same way, before the database is touched.

A finding is accepted by a comment above its statement, which must give a reason:

  -- holdfast:ignore index.blocking the table has 40 rows

or, before the first statement, for the whole file: -- holdfast:ignore-file RULE reason.
docs/lint.md has all rules, with a wrong and a right example each.`,
		Example: `  holdfast migrate lint -C production
  holdfast migrate lint -C production --since 20260131120000   # what came after that version
  holdfast migrate lint -C production --output sarif > lint.sarif`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			go migrate.Warm()
			env, err := environment.Load(g.dir)
			if err != nil {
				return err
			}
			files, err := migrate.Read(os.DirFS(env.Dir), "supabase/migrations")
			if err != nil {
				return err
			}
			options := lint.Options{}
			if env.Stacks.Supabase != nil {
				options.Schemas = env.Stacks.Supabase.Schemas
			}
			if since != "" {
				options.Pending = []string{}
				for _, f := range files {
					if f.Version > since {
						options.Pending = append(options.Pending, f.Version)
					}
				}
			}
			result := lint.Check(files, options)
			gate := lint.Severity(env.Gate)
			switch g.output {
			case "json":
				err = printJSON(g.ui.Out, result)
			case "sarif":
				err = printJSON(g.ui.Out, result.SARIF())
			default:
				printLint(g.ui, result, gate, all)
			}
			if err == nil && len(result.Failing(gate)) > 0 {
				err = errGate
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "show also what does not count: accepted findings, and those in files up to --since")
	cmd.Flags().StringVar(&since, "since", "", "count only findings in files after this version; the others are context")
	g.outputFlag(cmd, "text", "json", "sarif")
	return cmd
}

// printLint writes findings in the form that editors and terminals turn into links.
func printLint(u *ui.UI, result lint.Result, gate lint.Severity, all bool) {
	var b strings.Builder
	show := func(f lint.Finding, accepted string) {
		colour := ui.Yellow
		if f.Severity.AtLeast(gate) && accepted == "" {
			colour = ui.Red
		}
		fmt.Fprintf(&b, "%s:%d:%d: %s %s: %s%s\n", f.Path, f.Line, f.Column, u.Style(colour, string(f.Severity)), u.Style(ui.Bold, f.Rule), ui.Plain(f.Message), accepted)
		if f.Fix != "" && accepted == "" {
			b.WriteString(indent(ui.Plain(f.Fix), "    "))
		}
	}
	for _, f := range result.Findings {
		show(f, "")
	}
	if all {
		for _, f := range result.Ignored {
			show(f, " (accepted: "+ui.Plain(f.Reason)+")")
		}
		for _, f := range result.Applied {
			show(f, " (before --since)")
		}
	}
	failing := len(result.Failing(gate))
	fmt.Fprintf(&b, "migrations: %d, findings: %d", result.Files, len(result.Findings))
	if n := len(result.Findings); n > 0 {
		fmt.Fprintf(&b, ", %d at the gate (%s) or above", failing, gate)
	}
	if n := len(result.Ignored); n > 0 {
		fmt.Fprintf(&b, "; %d accepted", n)
	}
	if n := len(result.Applied); n > 0 {
		fmt.Fprintf(&b, "; %d before --since", n)
	}
	u.Printf("%s\n", b.String())
}

// indent puts white space before each line.
func indent(text, by string) string {
	return by + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n"+by) + "\n"
}
