package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"holdfast/cmd/internal/pair"
)

func newLogs(g *globals) *cobra.Command {
	var options pair.LogOptions
	var on string
	cmd := &cobra.Command{
		Use:   "logs [SERVICE|UNIT]...",
		Short: "Logs of services, or of systemd units, over the same connection",
		Long: `Logs prints the logs of the named services of the production server, or of all.
A service that two stacks have is named stack/service. A name with a dot is a
unit of systemd on the server that --on names. Values of secrets are masked.`,
		Example: `  holdfast logs rest -C production --since 10m
  holdfast logs auth kong -f
  holdfast logs ssh.service fail2ban.service --on audit -n 50`,
		ValidArgsFunction: g.completeServices,
		RunE: func(cmd *cobra.Command, names []string) error {
			if options.Tail < 0 || options.Since < 0 {
				return fmt.Errorf("%w: --tail and --since can't be negative", errUsage)
			}
			p, err := g.open()
			if err != nil {
				return err
			}
			defer p.Close()
			server, err := p.Server(on)
			if err != nil {
				return err
			}
			return p.Logs(cmd.Context(), server, names, options, g.ui.Out)
		},
	}
	cmd.Flags().BoolVarP(&options.Follow, "follow", "f", false, "go on with what comes, until Ctrl-C")
	cmd.Flags().IntVarP(&options.Tail, "tail", "n", 100, "lines of each from the end; 0 for all")
	cmd.Flags().DurationVar(&options.Since, "since", 0, "how far back, as in 10m; 0 for no limit")
	onFlag(cmd, &on)
	return cmd
}

// onFlag adds --on, the role of the server.
func onFlag(cmd *cobra.Command, role *string) {
	cmd.Flags().StringVar(role, "on", "production", "the server: production or audit")
	_ = cmd.RegisterFlagCompletionFunc("on", cobra.FixedCompletions([]string{"production", "audit"}, cobra.ShellCompDirectiveNoFileComp))
}

// completeServices completes the names of declared services.
func (g *globals) completeServices(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	p, err := g.open()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return p.Services(), cobra.ShellCompDirectiveNoFileComp
}
