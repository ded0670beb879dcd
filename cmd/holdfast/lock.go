package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"holdfast/cmd/internal/pair"
	"holdfast/internal/ui"
	"holdfast/stacks/lock"
)

func newLock(g *globals) *cobra.Command {
	var check bool
	var accepted []string
	cmd := &cobra.Command{
		Use:   "lock",
		Short: "Pin every image to its digest, in holdfast.lock",
		Long: `Lock asks the registries which image is behind each tag that the environment
declares, for the servers' platform (servers.production.platform), and writes the
digests to holdfast.lock. Deploy pulls by these digests and by nothing else, so
what was locked is what runs. Commit the file.

It shows what changed since the last lock. A tag that names another image than
it did is refused until --accept-moved names it: a version that is pushed again is
a mistake of its publisher, or an attack.

Registries are asked with the credentials of the Docker config ("docker login"),
through the proxy of the environment (HTTPS_PROXY), or through registry.mirror.
When one can't be asked, holdfast.lock stays as it was. Images that are named by
digest, and those that are shipped (delivery: ship), need no lock.

With --check nothing is asked: it exits 2 when the lock lacks an image that is
declared, or holds one that is not.`,
		Example: `  holdfast lock -C production
  holdfast lock -C production --check           # in CI
  holdfast lock -C production --accept-moved caddy:2.11.4`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if check && len(accepted) > 0 {
				return fmt.Errorf("%w: --check asks no registry, so --accept-moved has nothing to accept", errUsage)
			}
			if check {
				locking, err := pair.CheckLock(g.dir)
				if err != nil {
					return err
				}
				if err := g.printLocking(locking, "the lock fits what is declared"); err != nil {
					return err
				}
				if len(locking.Changes) > 0 {
					return errChanges
				}
				return nil
			}
			locking, err := pair.Lock(cmd.Context(), g.dir, accepted, g.ui)
			if locking != nil {
				err = errors.Join(g.printLocking(locking, "nothing has changed"), err)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "only compare holdfast.lock with what is declared; no network")
	cmd.Flags().StringSliceVar(&accepted, "accept-moved", nil, "image, as name:tag, whose tag may name another image than it did; can be given several times")
	g.outputFlag(cmd, "text", "json")
	return cmd
}

// printLocking writes what locking changes, or what there is to say when it
// changes nothing.
func (g *globals) printLocking(l *pair.Locking, same string) error {
	if g.output == "json" {
		return printJSON(g.ui.Out, l)
	}
	for _, c := range l.Changes {
		line := fmt.Sprintf("%-8s  %s  %s", c.Kind, c.Ref, short(c.New))
		switch c.Kind {
		case lock.Moved:
			line = g.ui.Style(ui.Yellow, fmt.Sprintf("%-8s  %s  %s → %s", c.Kind, c.Ref, short(c.Old), short(c.New)))
		case lock.Unneeded:
			line = fmt.Sprintf("%-8s  %s", c.Kind, c.Ref)
		}
		g.ui.Printf("%s  %s\n", line, g.ui.Style(ui.Dim, c.Detail))
	}
	if len(l.Changes) == 0 {
		g.ui.Printf("%d images for %s: %s\n", len(l.Images), l.Platform, same)
	}
	return nil
}

// short is a digest as people compare it.
func short(digest string) string {
	if len(digest) > 19 {
		return digest[:19]
	}
	return digest
}
