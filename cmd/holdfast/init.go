package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/cmd/internal/pair"
	"holdfast/internal/environment"
	"holdfast/internal/ui"
	"holdfast/stacks/secrets"
)

func newInit(g *globals) *cobra.Command {
	var o environment.InitOptions
	var newIdentity bool
	cmd := &cobra.Command{
		Use:   "init DIR",
		Short: "Write an environment folder and generate its secrets",
		Long: `Init writes a complete, commented environment folder: holdfast.yml with its JSON
Schema, security-baseline.yml, the Supabase CLI's folders, .gitignore, and
secrets.age with every secret generated to the rule its service documents,
encrypted to your SSH key or to a new age identity.

It never overwrites: a second run writes what is missing and keeps the rest.
What is not given as a flag is asked for on a terminal.`,
		Example: `  holdfast init production
  holdfast init production --production 203.0.113.10 --audit 203.0.113.20 \
      --api api.example.com --app app.example.com --operator ~/.ssh/id_ed25519.pub
  holdfast init staging --environment staging --new-identity …`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return ui.Hint(fmt.Errorf("%w: init needs the folder to write to", errUsage), "holdfast init production")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := args[0]
			if !exists(filepath.Join(dir, environment.FileName)) {
				if err := ask(g.ui, &o); err != nil {
					return err
				}
			}
			var identityFile string
			if newIdentity && !exists(filepath.Join(dir, "secrets.recipients")) {
				identityFile = filepath.Join(dir, identityPath)
				recipient, err := secrets.NewIdentity(identityFile)
				if err != nil {
					return err
				}
				o.Recipients = append(o.Recipients, recipient)
			}
			result, err := environment.Init(dir, o)
			if err != nil {
				return err
			}
			created, err := pair.InitSecrets(dir, g.identityPaths())
			if err != nil {
				return err
			}
			if created {
				result.Written = append(result.Written, "secrets.age")
			} else {
				result.Kept = append(result.Kept, "secrets.age")
			}
			for _, f := range result.Written {
				g.ui.Printf("wrote %s\n", filepath.Join(dir, f))
			}
			for _, f := range result.Kept {
				g.ui.Printf("kept  %s\n", filepath.Join(dir, f))
			}
			if identityFile != "" {
				g.ui.Printf("\nA new age identity opens secrets.age: %s\nKeep a copy outside of this machine; git ignores it. Without it the secrets are lost.\n", identityFile)
			}
			g.ui.Printf("\nNext: look through %s, then `holdfast lock -C %s` and `holdfast plan -C %[2]s`\n", filepath.Join(dir, environment.FileName), dir)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Environment, "environment", "", `name of the pair of servers (default "production")`)
	f.StringVar(&o.Production.Address, "production", "", "address of the production server")
	f.StringVar(&o.Audit.Address, "audit", "", "address of the audit server")
	f.StringVar(&o.Production.HostKey, "production-host-key", "", `pin the production server's host key ("SHA256:…")`)
	f.StringVar(&o.Audit.HostKey, "audit-host-key", "", `pin the audit server's host key ("SHA256:…")`)
	f.StringVar(&o.Operator, "operator", "", "SSH public key of the first operator, or its file (default ~/.ssh/id_ed25519.pub)")
	f.StringSliceVar(&o.Recipients, "recipient", nil, "age or SSH public key that may open secrets.age (default: the operator's)")
	f.BoolVar(&newIdentity, "new-identity", false, "generate an age identity for secrets.age instead of using an SSH key")
	f.StringVar(&o.Domains.API, "api", "", "public host name of the API")
	f.StringVar(&o.Domains.App, "app", "", "public host name of the app")
	f.StringVar(&o.Domains.Jobs, "jobs", "", "public host name of Trigger.dev; declares that stack")
	f.StringVar(&o.AppImage, "app-image", "", "image of the Next.js app; declares that stack")
	return cmd
}

// identityPath is where init puts a new age identity, below the folder.
const identityPath = ".holdfast/identity.txt"

// ask fills in, on a terminal, what was not given as a flag and can't be derived.
func ask(u *ui.UI, o *environment.InitOptions) error {
	if o.Operator == "" {
		if home, err := os.UserHomeDir(); err == nil {
			for _, name := range []string{"id_ed25519.pub", "id_rsa.pub"} {
				if p := filepath.Join(home, ".ssh", name); o.Operator == "" && exists(p) {
					o.Operator = p
				}
			}
		}
	}
	questions := []struct {
		flag, question string
		value          *string
	}{
		{"--production", "Address of the production server", &o.Production.Address},
		{"--audit", "Address of the audit server", &o.Audit.Address},
		{"--operator", "SSH public key file of the first operator", &o.Operator},
		{"--api", "Public host name of the API", &o.Domains.API},
		{"--app", "Public host name of the app", &o.Domains.App},
	}
	var missing []string
	for _, q := range questions {
		if *q.value != "" {
			continue
		}
		answer, err := u.Ask(q.question)
		if err != nil {
			missing = append(missing, q.flag)
			continue
		}
		*q.value = answer
	}
	if len(missing) > 0 {
		return ui.Hint(fmt.Errorf("%w: init needs %s", errUsage, strings.Join(missing, ", ")), "give the flags, or run init on a terminal to be asked")
	}
	return nil
}
