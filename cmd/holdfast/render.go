package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"holdfast/internal/ui"
)

func newRender(g *globals) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "render --out DIR",
		Short: "Write all rendered configs to a folder, without touching a server",
		Long: `Render writes the release that deploy would upload: Compose files, kong.yml,
trigger.config.ts, Caddyfile, SQL, and the services' environment files. What it
writes was loaded with Compose's own loader and passed the policy; a floating
image tag is refused.

The folder holds secrets in */secrets/*.env (mode 0600). Don't commit it.`,
		Example: `  holdfast render -C production --out /tmp/rendered
  docker compose -f /tmp/rendered/supabase/compose.yml config -q`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return fmt.Errorf("%w: render needs --out DIR", errUsage)
			}
			p, err := g.open()
			if err != nil {
				return err
			}
			if entries, err := os.ReadDir(out); err == nil && len(entries) > 0 {
				return ui.Hint(fmt.Errorf("%w: %s is not empty", errUsage, out), "name a folder that does not exist yet")
			}
			for _, f := range p.Release.Files {
				path := filepath.Join(out, filepath.FromSlash(f.Path))
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					return fmt.Errorf("write the rendered configs: %w", err)
				}
				if err := os.WriteFile(path, f.Content, f.Mode); err != nil {
					return fmt.Errorf("write the rendered configs: %w", err)
				}
			}
			g.ui.Printf("release %s: %d files in %s\n", p.Release.ID, len(p.Release.Files), out)
			for _, project := range p.Release.Projects {
				g.ui.Printf("  %-9s %2d services  %s\n", project.Name, len(project.Services), filepath.Join(out, project.File))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "folder to write to; must be empty or missing")
	return cmd
}
