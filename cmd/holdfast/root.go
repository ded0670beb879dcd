package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast/cmd/internal/pair"
	"holdfast/internal/ui"
	"holdfast/internal/version"
	"holdfast/verify/access"
)

// errUsage marks errors in how the program was called.
var errUsage = errors.New("usage")

// globals are the flags every verb shares.
type globals struct {
	ui         *ui.UI
	dir        string
	identities []string
	acceptNew  bool
	output     string
	timeout    time.Duration
	includeAll bool
	widenings  []access.Allowance
}

func newRoot(u *ui.UI) *cobra.Command {
	g := &globals{ui: u}
	root := &cobra.Command{
		Use:   "holdfast",
		Short: "Turn two bare servers into a hardened, self-hosted app platform, and prove it",
		Long: `Holdfast converges a production and an audit server over SSH, runs Supabase,
Trigger.dev and a Next.js app on them from version-pinned configs, applies
row-level-security migrations, and verifies what really runs against a baseline.

Exit codes: 0 done, 1 the gate or a step failed, 2 a plan has changes, 3 usage or
configuration, 4 a server could not be reached or refused, 130 interrupted.`,
		Example: `  holdfast init my-environment
  holdfast plan  -C my-environment
  holdfast deploy -C my-environment
  holdfast verify -C my-environment`,
		Version:       version.String(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	flags := root.PersistentFlags()
	flags.StringVarP(&g.dir, "dir", "C", ".", "environment folder, the one with holdfast.yml")
	flags.StringSliceVarP(&g.identities, "identity", "i", nil, "age identity or SSH private key that opens secrets.age (also HOLDFAST_IDENTITY; default: .holdfast/identity.txt in the folder, ~/.config/holdfast/identity.txt, ~/.ssh/id_ed25519, ~/.ssh/id_rsa)")
	flags.BoolVar(&g.acceptNew, "accept-new-host-keys", false, "trust a server's host key on first contact without asking (a changed key is refused all the same)")
	flags.BoolVarP(&u.Verbose, "verbose", "v", false, "show each remote batch as it runs")
	flags.BoolVarP(&u.Quiet, "quiet", "q", false, "no progress lines")
	flags.DurationVar(&g.timeout, "connect-timeout", 15*time.Second, "how long to wait for a server to answer")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return ui.Hint(fmt.Errorf("%w: %w", errUsage, err), "run `"+cmd.CommandPath()+" --help`")
	})
	root.AddCommand(newInit(g), newLock(g), newRender(g), newPlan(g), newDeploy(g), newUpgrade(g), newReleases(g), newRollback(g), newVerify(g), newMigrate(g),
		newSecrets(g), newStatus(g), newLogs(g), newExec(g), newSSH(g), newLab(g))
	onlyGroups(root)
	return root
}

// onlyGroups makes a command that only holds others refuse a word that is none
// of them: as a usage error, and with what was probably meant.
func onlyGroups(cmd *cobra.Command) {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		hint := "run `" + cmd.CommandPath() + " --help`"
		if cmd.SuggestionsMinimumDistance <= 0 {
			cmd.SuggestionsMinimumDistance = 2
		}
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = "did you mean `" + cmd.CommandPath() + " " + near[0] + "`?"
		}
		return ui.Hint(fmt.Errorf("%w: %s has no command %q", errUsage, cmd.CommandPath(), args[0]), hint)
	}
	for _, sub := range cmd.Commands() {
		if sub.HasSubCommands() {
			onlyGroups(sub)
		}
	}
}

// open reads the environment; no server is touched.
func (g *globals) open() (*pair.Pair, error) {
	return g.openWith(func(*pair.Options) {})
}

// openWith is open with more options.
func (g *globals) openWith(more func(*pair.Options)) (*pair.Pair, error) {
	options := pair.Options{
		Dir:               g.dir,
		Identities:        g.identityPaths(),
		AcceptNewHostKeys: g.acceptNew,
		ConnectTimeout:    g.timeout,
		IncludeAll:        g.includeAll,
		AllowWidening:     g.widenings,
		UI:                g.ui,
	}
	more(&options)
	return pair.Open(options)
}

// with returns what a command runs that needs nothing but the environment: it
// is read, handed to f, and its connections are closed afterwards.
func (g *globals) with(f func(ctx context.Context, p *pair.Pair) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		p, err := g.open()
		if err != nil {
			return err
		}
		defer p.Close()
		return f(cmd.Context(), p)
	}
}

// identityPaths returns the identities to try: those named, or those found in
// the usual places.
func (g *globals) identityPaths() []string {
	if len(g.identities) > 0 {
		return g.identities
	}
	if env := os.Getenv("HOLDFAST_IDENTITY"); env != "" {
		return strings.Split(env, string(os.PathListSeparator))
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return nil
	}
	var found []string
	if p := filepath.Join(g.dir, identityPath); exists(p) {
		found = append(found, p)
	}
	for _, p := range []string{".config/holdfast/identity.txt", ".ssh/id_ed25519", ".ssh/id_rsa"} {
		if p = filepath.Join(home, p); exists(p) {
			found = append(found, p)
		}
	}
	return found
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// includeAllFlag adds --include-all, the Supabase CLI's word.
func (g *globals) includeAllFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&g.includeAll, "include-all", false, "apply migrations that are older than the newest applied one as well")
}

// wideningFlag adds --allow-widening.
func (g *globals) wideningFlag(cmd *cobra.Command) {
	cmd.Flags().Func("allow-widening", "let migrations give more access than before: `schema.table:role:verb`, * for any role or verb; repeatable", func(text string) error {
		a, err := access.ParseAllowance(text)
		if err == nil {
			g.widenings = append(g.widenings, a)
		}
		return err
	})
}

// outputFlag adds --output with the given formats, the first being the default.
func (g *globals) outputFlag(cmd *cobra.Command, formats ...string) {
	cmd.Flags().StringVarP(&g.output, "output", "o", formats[0], "output format: "+strings.Join(formats, ", "))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	before := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		for _, f := range formats {
			if g.output == f {
				if before != nil {
					return before(cmd, args)
				}
				return nil
			}
		}
		return fmt.Errorf("%w: --output %q is not one of %s", errUsage, g.output, strings.Join(formats, ", "))
	}
}

// noArgs refuses arguments with a usage error.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%w: %s takes no arguments, got %q", errUsage, cmd.CommandPath(), args)
	}
	return nil
}
