package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"holdfast/cmd/internal/pair"
	"holdfast/internal/environment"
	"holdfast/verify/access"
)

func newMigrate(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "The database alone: its migrations, their history, and who can access what",
		Long: `Migrate works on the production database through the SSH connection. Folder,
file names and history table are the Supabase CLI's; both tools can be used on
one database. All pending migrations go into one transaction, and the database
rules of the baseline are evaluated inside it before it is committed.`,
		Example: `  holdfast migrate new invoices -C production
  holdfast migrate status -C production
  holdfast migrate up -C production`,
	}
	cmd.AddCommand(newMigrateStatus(g), newMigrateLint(g), newMigrateUp(g), newMigrateNew(g), newMigrateRepair(g), newMigrateDiff(g), newMigrateAccess(g))
	return cmd
}

func newMigrateStatus(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Compare the folder with the database's history; exit 2 when something is pending",
		Example: `  holdfast migrate status -C production`,
		Args:    noArgs,
		RunE: g.with(func(ctx context.Context, p *pair.Pair) error {
			status, err := p.MigrationStatus(ctx)
			if err != nil {
				return err
			}
			if g.output == "json" {
				if err := printJSON(g.ui.Out, status); err != nil {
					return err
				}
			} else {
				for _, group := range []struct {
					word  string
					paths []string
				}{{"applied", status.Applied}, {"pending", status.Pending}, {"edited after it was applied", status.Changed}, {"begun by an interrupted run", status.Partial}, {"in the database only", status.RemoteOnly}} {
					for _, path := range group.paths {
						g.ui.Printf("%s  %s\n", path, group.word)
					}
				}
			}
			if len(status.Pending) > 0 {
				return errChanges
			}
			return nil
		}),
	}
	g.outputFlag(cmd, "text", "json")
	return cmd
}

func newMigrateUp(g *globals) *cobra.Command {
	var options pair.MigrateOptions
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Apply what is pending, gated, in one transaction",
		Long: `Up applies all pending migrations in one transaction. Before the commit it shows
what each API role gains or loses, and evaluates the baseline on the database as
it would be; it commits only when no finding reaches the gate. More access than
before needs --allow-widening or a waiver of the rule access.widened.

Statements that PostgreSQL refuses in a transaction, such as CREATE INDEX
CONCURRENTLY, run alone between two such transactions. An interrupted run is
gone on with by the next. docs/migrations.md says what happens at each failure.`,
		Example: `  holdfast migrate up -C production --dry-run
  holdfast migrate up -C production
  holdfast migrate up -C production --to 20260131120000
  holdfast migrate up -C production --allow-widening public.plans:anon:select`,
		Args: noArgs,
		RunE: g.with(func(ctx context.Context, p *pair.Pair) error {
			applied, err := p.Migrate(ctx, options)
			switch {
			case err != nil:
				return err
			case options.DryRun:
				g.ui.Printf("rehearsed; nothing was kept\n")
			case len(applied) == 0:
				g.ui.Printf("nothing to apply\n")
			default:
				g.ui.Printf("applied %d\n", len(applied))
			}
			return nil
		}),
	}
	cmd.Flags().StringVar(&options.To, "to", "", "the last `version` to apply; default all")
	cmd.Flags().BoolVar(&options.DryRun, "dry-run", false, "do everything in the transaction, the gate too, and roll it back; it takes the same locks")
	cmd.Flags().BoolVar(&options.Seeds, "include-seed", false, "run the seeds that supabase/config.toml names behind the migrations, those that have not been")
	g.includeAllFlag(cmd)
	g.wideningFlag(cmd)
	return cmd
}

func newMigrateRepair(g *globals) *cobra.Command {
	var status string
	cmd := &cobra.Command{
		Use:   "repair --status applied|reverted VERSION…",
		Short: "Correct the history alone; no migration runs",
		Long: `Repair records versions as applied, with what their files hold now, or takes
their records out. It changes nothing else: use it when the database was changed
by other means, as with "supabase migration repair".`,
		Example: `  holdfast migrate repair -C production --status applied 20260131120000
  holdfast migrate repair -C production --status reverted 20260131120000 20260201090000`,
		RunE: func(cmd *cobra.Command, versions []string) error {
			if status != "applied" && status != "reverted" {
				return fmt.Errorf("%w: --status is applied or reverted", errUsage)
			}
			if len(versions) == 0 {
				return fmt.Errorf("%w: which versions?", errUsage)
			}
			return g.with(func(ctx context.Context, p *pair.Pair) error {
				if err := p.RepairHistory(ctx, versions, status == "applied"); err != nil {
					return err
				}
				for _, version := range versions {
					g.ui.Printf("%s  %s\n", version, status)
				}
				return nil
			})(cmd, versions)
		},
	}
	cmd.Flags().StringVar(&status, "status", "", "what the history is to say: applied, reverted")
	_ = cmd.RegisterFlagCompletionFunc("status", cobra.FixedCompletions([]string{"applied", "reverted"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func newMigrateDiff(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "diff-history",
		Short: "Show how files differ from what was applied; exit 2 when any does",
		Long: `Diff-history compares the statements that the database has recorded with the
files: those edited after they were applied, and recorded versions that the
folder does not hold. White space and semicolons between statements don't count.`,
		Example: `  holdfast migrate diff-history -C production`,
		Args:    noArgs,
		RunE: g.with(func(ctx context.Context, p *pair.Pair) error {
			status, err := p.MigrationStatus(ctx)
			if err != nil {
				return err
			}
			for _, version := range slices.Sorted(maps.Keys(status.Diffs)) {
				g.ui.Printf("%s", g.ui.Diff(status.Diffs[version]))
			}
			if len(status.Diffs) > 0 {
				return errChanges
			}
			return nil
		}),
	}
}

func newMigrateAccess(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "access",
		Short: "Show who can read, write and call what, by PostgreSQL's own account",
		Long: `Access shows the access matrix of the exposed schemas: for each table, view and
function, what anon, authenticated and service_role can do with it. PostgreSQL's
planner is asked; nothing is executed.

  denied      a privilege is missing
  nothing     no row can be reached
  filtered    policies, or the view itself, choose the rows
  everything  nothing stands between the role and every row`,
		Example: `  holdfast migrate access -C production
  holdfast migrate access -C production --output json | jq '.[] | select(.role == "anon" and .state == "everything")'`,
		Args: noArgs,
		RunE: g.with(func(ctx context.Context, p *pair.Pair) error {
			cells, err := p.Access(ctx)
			if err != nil {
				return err
			}
			if g.output == "json" {
				return printJSON(g.ui.Out, cells)
			}
			return access.Table(g.ui.Out, cells)
		}),
	}
	g.outputFlag(cmd, "text", "json")
	return cmd
}

// migrationName is what the Supabase CLI makes of a name.
var migrationName = regexp.MustCompile(`^[a-z0-9][a-z0-9_]*$`)

func newMigrateNew(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:     "new NAME",
		Short:   "Write an empty migration with the next version",
		Example: `  holdfast migrate new invoices`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || !migrationName.MatchString(args[0]) {
				return fmt.Errorf("%w: a migration's name is one word of a-z, 0-9 and _", errUsage)
			}
			env, err := environment.Load(g.dir)
			if err != nil {
				return err
			}
			path := filepath.Join(env.MigrationsDir(), time.Now().UTC().Format("20060102150405")+"_"+args[0]+".sql")
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return err
			}
			file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if err != nil {
				return err
			}
			if err := file.Close(); err != nil {
				return err
			}
			g.ui.Printf("%s\n", path)
			return nil
		},
	}
}
