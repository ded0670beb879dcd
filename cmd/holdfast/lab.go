package main

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"holdfast/cmd/internal/labenv"
	"holdfast/internal/lab"
)

func newLab(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Two disposable servers on this machine, to try everything on",
		Long: `Lab starts two disposable Debian or Ubuntu servers as system containers on this machine:
systemd, sshd and addresses of their own, bare like rented ones. It writes an
environment folder that deploys to them. It needs Linux, root and about 4 GB.`,
		Example: `  holdfast lab up -C .lab/demo
  holdfast deploy -C .lab/demo --yes
  holdfast lab down`,
	}
	cmd.AddCommand(newLabUp(g), newLabDown(g), newLabStatus(g))
	return cmd
}

func newLabUp(g *globals) *cobra.Command {
	var options lab.Options
	cmd := &cobra.Command{
		Use:     "up",
		Short:   "Start the lab, or what is missing of it, and write its environment folder",
		Example: `  holdfast lab up -C .lab/demo`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := filepath.Abs(g.dir)
			if err != nil {
				return err
			}
			options.Dir = dir
			options.Progress = func(line string) { g.ui.Progress("lab", "%s", line) }
			l, err := lab.Up(cmd.Context(), options)
			if err != nil {
				return fmt.Errorf("start the lab: %w", err)
			}
			if err := labenv.Write(cmd.Context(), l, dir, options.Progress); err != nil {
				return fmt.Errorf("write the lab's environment folder: %w", err)
			}
			g.ui.Printf("lab %s is up; its environment folder is %s\n", l.Name, dir)
			for _, role := range []string{lab.Production, lab.Audit} {
				g.ui.Printf("  %-11s %s\n", role, l.Servers[role].Address)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&options.Name, "name", lab.DefaultName, "name of the lab")
	cmd.Flags().StringVar(&options.Subnet, "subnet", lab.DefaultSubnet, "IPv4 network of the lab")
	cmd.Flags().StringVar((*string)(&options.System), "system", string(lab.Systems[0]), fmt.Sprintf("what its servers run, of %v", lab.Systems))
	return cmd
}

func newLabDown(g *globals) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:     "down",
		Short:   "Remove the lab's servers with all their data, and its environment folder's lab files",
		Example: `  holdfast lab down`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := lab.Open(name)
			if err == nil && l.Dir != "" {
				if err := labenv.Remove(l.Dir); err != nil {
					return err
				}
			}
			if err := lab.Down(cmd.Context(), name); err != nil {
				return fmt.Errorf("remove the lab: %w", err)
			}
			g.ui.Printf("lab %s is gone\n", name)
			return nil
		},
	}
	cmd.Flags().StringVar(&name, "name", lab.DefaultName, "name of the lab")
	return cmd
}

func newLabStatus(g *globals) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Say what runs of the lab",
		Example: `  holdfast lab status`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			status, err := lab.Status(cmd.Context(), name)
			if err != nil {
				return err
			}
			roles := make([]string, 0, len(status))
			for role := range status {
				roles = append(roles, role)
			}
			slices.Sort(roles)
			for _, role := range roles {
				g.ui.Printf("%-11s %s\n", role, status[role])
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&name, "name", lab.DefaultName, "name of the lab")
	return cmd
}
