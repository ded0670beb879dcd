package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"holdfast/cmd/internal/pair"
	"holdfast/stacks/secrets"
)

func newSecrets(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "secrets",
		Short: "List, edit and rotate the secrets, and say who may open them",
		Long: `Secrets works on secrets.age, the encrypted file in the environment folder. No
subcommand prints a value. What rotating each secret entails stands in
docs/secrets.md.`,
		Example: `  holdfast secrets list
  holdfast secrets edit
  holdfast secrets rotate POSTGRES_PASSWORD
  holdfast secrets recipients add keys/grace.pub`,
	}
	cmd.AddCommand(newSecretsList(g), newSecretsEdit(g), newSecretsRotate(g), newSecretsRecipients(g))
	return cmd
}

func newSecretsList(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show every secret's age, strength and consumers, and no value",
		Long: `List shows the secrets that the environment's stacks need, and your own: when each
was made or last rotated, how strong it is, who reads it and what rotating it
entails.

The strength of a generated value is the randomness in it, in bits. That of any
other is at most what a random value of its length and kinds of characters would
have ("≤"). A derived value, such as an API key, is as strong as what it is made
from. Values that were made before ages were kept have none ("-").

Rotating a secret restarts what reads it; "database" says that a running database
follows, "new keys" that others are made anew with it, "clients" that something
outside of the servers stops working. The reference and --output json say it in
full.`,
		Example: `  holdfast secrets list -C production
  holdfast secrets list --output json | jq -r '.[] | select(.made == null) | .name'`,
		Args: noArgs,
		RunE: g.withVault(func(_ context.Context, v *pair.Vault) error {
			entries := v.List()
			if g.output == "json" {
				return printJSON(g.ui.Out, entries)
			}
			var b strings.Builder
			w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "SECRET\tSTACK\tAGE\tSTRENGTH\tROTATING IT\tREAD BY")
			for _, e := range entries {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", e.Name, orDash(e.Stack), age(e, time.Now()), strength(e), e.Effects, orDash(strings.ReplaceAll(strings.Join(e.Consumers, " "), e.Stack+"/", "")))
			}
			if err := w.Flush(); err != nil {
				return err
			}
			g.ui.Printf("%s", b.String())
			return nil
		}),
	}
	g.outputFlag(cmd, "text", "json")
	return cmd
}

// age is how old a value is, in words.
func age(e secrets.Entry, now time.Time) string {
	switch {
	case e.Missing:
		return "missing"
	case e.Rotating:
		return "rotating"
	case e.Made == nil:
		return "-"
	}
	days := int(now.Sub(*e.Made).Hours() / 24)
	if days == 0 {
		return "today"
	}
	return fmt.Sprintf("%d d", days)
}

func strength(e secrets.Entry) string {
	var s string
	switch {
	case e.Missing:
		return "-"
	case e.Derived:
		s = "derived"
	case e.AtMost:
		s = fmt.Sprintf("≤ %d bits", e.Bits)
	default:
		s = fmt.Sprintf("%d bits", e.Bits)
	}
	if e.Public {
		s += ", public"
	}
	return s
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// withVault returns what a command runs that needs the secrets and no server.
func (g *globals) withVault(f func(ctx context.Context, v *pair.Vault) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		v, err := pair.OpenVault(g.dir, g.identityPaths(), g.ui)
		if err != nil {
			return err
		}
		return f(cmd.Context(), v)
	}
}

func newSecretsRecipients(g *globals) *cobra.Command {
	list := func(_ context.Context, v *pair.Vault) error {
		lines, err := v.Recipients()
		if err != nil {
			return err
		}
		if g.output == "json" {
			return printJSON(g.ui.Out, lines)
		}
		for _, line := range lines {
			g.ui.Printf("%s\n", line)
		}
		return nil
	}
	cmd := &cobra.Command{
		Use:   "recipients",
		Short: "Show, add and remove the keys that open the secrets",
	}
	show := &cobra.Command{
		Use:     "list",
		Short:   "Show the public keys that secrets.age is encrypted to",
		Example: "  holdfast secrets recipients list -C production",
		Args:    noArgs,
		RunE:    g.withVault(list),
	}
	g.outputFlag(show, "text", "json")
	add := &cobra.Command{
		Use:   "add KEY",
		Short: "Let one more key open the secrets",
		Long: `Add encrypts secrets.age to one more key and notes it in secrets.recipients. KEY
is an age public key ("age1…"), an SSH public key of the type ssh-ed25519 or
ssh-rsa, or the path of a file that holds one.`,
		Example: `  holdfast secrets recipients add keys/grace.pub
  holdfast secrets recipients add age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p`,
		Args: oneArg("the key to add"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withVault(func(_ context.Context, v *pair.Vault) error {
				key, err := v.AddRecipient(args[0])
				if err == nil {
					g.ui.Printf("secrets.age is encrypted to %s too; commit it and secrets.recipients\n", key)
				}
				return err
			})(cmd, args)
		},
	}
	remove := &cobra.Command{
		Use:   "remove KEY",
		Short: "Encrypt the secrets without a key from now on",
		Long: `Remove encrypts secrets.age anew without a key. KEY is the public key, or the
comment behind it in secrets.recipients. It refuses when nobody would be left, or
when none of your own identities would be.

Who was removed still opens every version of the file from before: rotate what
they must no longer know.`,
		Example: `  holdfast secrets recipients remove grace@laptop
  holdfast secrets rotate --all`,
		Args: oneArg("the key to remove"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withVault(func(_ context.Context, v *pair.Vault) error {
				key, err := v.RemoveRecipient(args[0])
				if err == nil {
					g.ui.Printf("secrets.age is no longer encrypted to %s; commit it and secrets.recipients.\nEarlier versions of the file still open with that key: `holdfast secrets rotate --all` makes them worthless.\n", key)
				}
				return err
			})(cmd, args)
		},
	}
	cmd.AddCommand(show, add, remove)
	return cmd
}

// oneArg refuses anything but one argument with a usage error.
func oneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("%w: %s takes one argument, %s", errUsage, cmd.CommandPath(), what)
		}
		return nil
	}
}
