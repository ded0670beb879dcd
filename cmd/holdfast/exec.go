package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"holdfast/provision/transport"
)

func newExec(g *globals) *cobra.Command {
	var plain bool
	cmd := &cobra.Command{
		Use:   "exec SERVICE [--] COMMAND [ARGUMENT]...",
		Short: "Run a command in a service's container",
		Long: `Exec runs a command in the running container of a service of the production
server: on a terminal where you sit at one, else with its streams passed through.
It ends with the command's own exit status. What a terminal shows is not masked.`,
		Example: `  holdfast exec db -- psql -U postgres
  holdfast exec supabase/db -- pg_dump -U postgres -s postgres > schema.sql`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return fmt.Errorf("%w: exec needs a service and a command", errUsage)
			}
			return nil
		},
		ValidArgsFunction: g.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			service, command := args[0], args[1:]
			if command[0] == "--" && len(command) > 1 { // flags end at the service's name already
				command = command[1:]
			}
			p, err := g.open()
			if err != nil {
				return err
			}
			defer p.Close()
			if plain || !interactive() {
				// Raw bytes: a dump must arrive as it is.
				return asStatus(p.Exec(cmd.Context(), service, command, os.Stdin, os.Stdout, os.Stderr))
			}
			return asStatus(onTerminal(func(t transport.Terminal) error {
				return p.ExecTerminal(cmd.Context(), service, command, t)
			}))
		},
	}
	cmd.Flags().SetInterspersed(false)
	cmd.Flags().BoolVarP(&plain, "no-terminal", "T", false, "pass the streams through, also at a terminal")
	return cmd
}
