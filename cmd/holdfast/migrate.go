package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"holdfast/cmd/internal/pair"
	"holdfast/internal/environment"
)

func newMigrate(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "The database alone: what is applied, apply what is pending, start a new one",
		Long: `Migrate works on the production database through the SSH connection. Folder,
file names and history table are the Supabase CLI's; both tools can be used on
one database. All pending migrations go into one transaction, and the database
rules of the baseline are evaluated inside it before it is committed.`,
		Example: `  holdfast migrate new invoices -C production
  holdfast migrate status -C production
  holdfast migrate up -C production`,
	}
	cmd.AddCommand(newMigrateStatus(g), newMigrateLint(g), newMigrateUp(g), newMigrateNew(g))
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
				}{{"applied", status.Applied}, {"pending", status.Pending}, {"edited after it was applied", status.Changed}, {"in the database only", status.RemoteOnly}} {
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
	cmd := &cobra.Command{
		Use:     "up",
		Short:   "Apply what is pending, gated, in one transaction",
		Example: `  holdfast migrate up -C production`,
		Args:    noArgs,
		RunE: g.with(func(ctx context.Context, p *pair.Pair) error {
			n, err := p.Migrate(ctx)
			if err != nil {
				return err
			}
			if n == 0 {
				g.ui.Printf("nothing to apply\n")
			} else {
				g.ui.Printf("applied %d\n", n)
			}
			return nil
		}),
	}
	g.includeAllFlag(cmd)
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
