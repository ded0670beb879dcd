package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"holdfast/cmd/internal/pair"
	"holdfast/internal/ui"
)

func newSecretsEdit(g *globals) *cobra.Command {
	var set, remove string
	cmd := &cobra.Command{
		Use:   "edit",
		Short: "Change secrets in your editor, or one from standard input",
		Long: `Edit decrypts the secrets to a private file in memory (or in the temporary folder
where there is no such file system), opens $VISUAL or $EDITOR on it, checks names
and values, encrypts them again and overwrites and removes the file, also after
Ctrl-C and when the editor fails.

With --set the value of one secret is read from standard input, or asked for
without being shown; a line feed at its end is left off. --remove takes one out.

A value that a running database has to follow, such as POSTGRES_PASSWORD, or that
others are derived from, is noted as a rotation: the next deploy changes it in the
database too, or takes it back when the services don't get healthy.`,
		Example: `  holdfast secrets edit -C production
  pass show stripe | holdfast secrets edit --set STRIPE_SECRET_KEY
  holdfast secrets edit --remove STRIPE_SECRET_KEY`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if set != "" && remove != "" {
				return fmt.Errorf("%w: --set and --remove are two edits", errUsage)
			}
			return g.withVault(func(ctx context.Context, v *pair.Vault) error {
				var revision *pair.Revision
				var err error
				switch {
				case set != "":
					revision, err = reviseFromInput(v, g.ui, set)
				case remove != "":
					revision, err = v.ReviseOne(remove, "")
				default:
					revision, err = reviseInEditor(ctx, v, g.ui)
				}
				if err != nil {
					return err
				}
				if revision.Empty() {
					g.ui.Printf("nothing changed\n")
					return nil
				}
				if err := v.Apply(revision); err != nil {
					return err
				}
				printRevision(g.ui, revision)
				return nil
			})(cmd, args)
		},
	}
	cmd.Flags().StringVar(&set, "set", "", "name of one secret whose value is read from standard input")
	cmd.Flags().StringVar(&remove, "remove", "", "name of one secret to take out")
	return cmd
}

func printRevision(u *ui.UI, r *pair.Revision) {
	for _, group := range []struct {
		verb  string
		names []string
	}{{"added", r.Added}, {"changed", r.Changed}, {"removed", r.Removed}} {
		if len(group.names) > 0 {
			u.Printf("%s %s\n", group.verb, strings.Join(group.names, ", "))
		}
	}
	if len(r.Rotating) > 0 {
		u.Printf("noted as a rotation of %s; until `holdfast deploy` has carried it out the old values are in force\n", strings.Join(r.Rotating, ", "))
	}
	u.Printf("next: `holdfast deploy`, and commit secrets.age\n")
}

// maxInput is the longest value that is read from standard input, in bytes.
const maxInput = 64 << 10

func reviseFromInput(v *pair.Vault, u *ui.UI, name string) (*pair.Revision, error) {
	var value string
	if ui.IsTerminal(os.Stdin) {
		typed, err := ui.AskSecret("value of " + name + " (not shown): ")
		if err != nil {
			return nil, err
		}
		value = typed
	} else {
		data, err := io.ReadAll(io.LimitReader(os.Stdin, maxInput+1))
		if err != nil {
			return nil, fmt.Errorf("read the value of %s: %w", name, err)
		}
		if len(data) > maxInput {
			return nil, fmt.Errorf("%w: the value of %s is longer than %d KiB", errUsage, name, maxInput>>10)
		}
		value = strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	}
	if value == "" {
		return nil, ui.Hint(fmt.Errorf("%w: the value of %s is empty; nothing was changed", errUsage, name), "--remove takes a secret out")
	}
	u.Redact([]string{value})
	return v.ReviseOne(name, value)
}

// reviseInEditor lets a person edit the secrets, again and again while they can't
// be used.
func reviseInEditor(ctx context.Context, v *pair.Vault, u *ui.UI) (*pair.Revision, error) {
	text, err := v.Text()
	if err != nil {
		return nil, err
	}
	// A closed terminal must not leave the file behind.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
	defer stop()
	for {
		if text, err = inEditor(ctx, text); err != nil {
			return nil, err
		}
		revision, err := v.ReviseText(text)
		if err == nil {
			return revision, nil
		}
		if !ui.IsTerminal(os.Stdin) {
			return nil, fmt.Errorf("%w (nothing was changed)", err)
		}
		u.Error(err)
		if !u.Confirm("Edit again? Otherwise nothing is changed.") {
			return nil, errors.New("nothing was changed")
		}
	}
}

// inEditor hands text to the user's editor, as a file of a private folder that is
// overwritten and removed whatever happens, and returns what the editor left.
func inEditor(ctx context.Context, text []byte) (edited []byte, err error) {
	command := cmp.Or(os.Getenv("VISUAL"), os.Getenv("EDITOR"), "vi")
	dir, err := os.MkdirTemp(memory(), "holdfast-secrets-") // mode 0700
	if err != nil {
		return nil, fmt.Errorf("edit the secrets: %w", err)
	}
	defer func() { err = errors.Join(err, shred(dir)) }()
	path := filepath.Join(dir, "secrets.yml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return nil, fmt.Errorf("edit the secrets: %w", err)
	}
	// The variable may hold arguments ("code --wait"): a shell takes it apart, as
	// git does.
	editor := exec.CommandContext(ctx, "sh", "-c", command+` "$@"`, "sh", path)
	editor.Stdin, editor.Stdout, editor.Stderr = os.Stdin, os.Stdout, os.Stderr
	editor.Cancel = func() error { return editor.Process.Signal(syscall.SIGTERM) }
	editor.WaitDelay = 2 * time.Second
	if err := editor.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, errors.New("interrupted; nothing was changed")
		}
		return nil, ui.Hint(fmt.Errorf("the editor (%s) failed: %w; nothing was changed", command, err), "set VISUAL or EDITOR to an editor that waits until the file is closed")
	}
	edited, err = os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the edited secrets: %w; nothing was changed", err)
	}
	return edited, nil
}

// memory is a folder whose files never reach a disk, or, where there is none, the
// temporary folder.
func memory() string {
	for _, dir := range []string{os.Getenv("XDG_RUNTIME_DIR"), "/dev/shm"} {
		if info, err := os.Stat(dir); dir != "" && err == nil && info.IsDir() {
			if probe, err := os.MkdirTemp(dir, "holdfast-"); err == nil && os.Remove(probe) == nil {
				return dir
			}
		}
	}
	return os.TempDir()
}

// shred overwrites every file of a folder, an editor's backups included, and
// removes it.
func shred(dir string) error {
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		info, err := file.Stat()
		if err == nil {
			_, err = io.Copy(file, bytes.NewReader(make([]byte, info.Size())))
		}
		return errors.Join(err, file.Sync(), file.Close())
	})
	return errors.Join(err, os.RemoveAll(dir))
}
