package main

import (
	"context"
	"fmt"
	"net"
	"os"

	"github.com/spf13/cobra"

	"holdfast/cmd/internal/pair"
	"holdfast/provision/transport"
)

func newSSH(g *globals) *cobra.Command {
	var on string
	var studio bool
	cmd := &cobra.Command{
		Use:   "ssh [--] [COMMAND [ARGUMENT]...]",
		Short: "Log in to a server, run a command there, or forward Studio",
		Long: `Ssh logs in as the deploy user with the environment's own settings: address,
host key, identity, bastions. With a command it runs that and ends with its exit
status. With --studio it forwards a port of this machine's loopback to Supabase
Studio, which listens on the server's loopback only, until Ctrl-C.`,
		Example: `  holdfast ssh -C production
  holdfast ssh --on audit -- uptime
  holdfast ssh --studio`,
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := g.open()
			if err != nil {
				return err
			}
			defer p.Close()
			server, err := p.Server(on)
			if err != nil {
				return err
			}
			switch {
			case studio:
				return forwardStudio(cmd.Context(), g, p)
			case len(args) > 0 && !interactive():
				return asStatus(server.Command(cmd.Context(), args, os.Stdin, os.Stdout, os.Stderr))
			case !interactive():
				return fmt.Errorf("%w: there is no terminal to log in from; name a command", errUsage)
			}
			return asStatus(onTerminal(func(t transport.Terminal) error { return server.Shell(cmd.Context(), args, t) }))
		},
	}
	cmd.Flags().SetInterspersed(false)
	onFlag(cmd, &on)
	cmd.Flags().BoolVar(&studio, "studio", false, "forward Supabase Studio to this machine")
	return cmd
}

// studioAddress is where Studio listens on the production server.
const studioAddress = "127.0.0.1:3001"

// forwardStudio forwards Studio's port of this machine, or a free one where
// that is taken.
func forwardStudio(ctx context.Context, g *globals, p *pair.Pair) error {
	if p.Env.Stacks.Supabase == nil {
		return fmt.Errorf("%w: the environment declares no stack supabase", errUsage)
	}
	if err := p.Production.Connect(ctx); err != nil {
		return err
	}
	listen, err := net.Listen("tcp", studioAddress)
	if err != nil {
		if listen, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return fmt.Errorf("listen on this machine's loopback: %w", err)
		}
	}
	g.ui.Printf("Studio is at http://%s until Ctrl-C\n", listen.Addr())
	return p.Production.Forward(ctx, listen, studioAddress)
}
