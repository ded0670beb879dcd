package pair

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"holdfast/provision"
	"holdfast/provision/transport"
	"holdfast/stacks"
)

const (
	// rebootPatience is how long a server may take to let somebody in again. A
	// rented machine with much memory checks it for minutes.
	rebootPatience = 10 * time.Minute
	// upgradePatience is how long security updates may take that a run has started.
	upgradePatience = 15 * time.Minute
)

// RebootsDue returns why a server should be restarted, by role; those that need
// not are absent. Both servers have been observed.
func (p *Pair) RebootsDue() map[string]string {
	due := map[string]string{}
	for _, s := range p.Servers() {
		if reason := s.Facts.RebootReason(); reason != "" {
			due[s.Role] = reason
		}
	}
	return due
}

// Reboot restarts the servers in roles, one at a time, the audit server first:
// the one that nobody's requests depend on shows whether the new kernel boots.
// It goes on to the next when the one before lets us in again, runs, has its
// stacks healthy and its lock held by this run again.
func (p *Pair) Reboot(ctx context.Context, roles []string) error {
	for _, s := range slices.Backward(p.Servers()) {
		if !slices.Contains(roles, s.Role) {
			continue
		}
		if err := p.reboot(ctx, s); err != nil {
			return fmt.Errorf("%s (%s): reboot: %w", s.Role, s.Address(), err)
		}
	}
	return nil
}

func (p *Pair) reboot(ctx context.Context, s *Server) error {
	tell := func(line string) { p.ui.Progress(s.Role, "%s", line) }
	before := s.Facts.Started
	tell("reboot: " + s.Facts.RebootReason())
	record := provision.Record{Who: who(), Release: p.Release.ID, Changes: []string{"reboot"}, Result: s.Facts.RebootReason()}
	if err := s.Run(ctx, provision.JournalScript(record), nil, io.Discard, io.Discard); err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	began := time.Now()
	var stderr bytes.Buffer
	// The connection may be gone before the script's end is heard of.
	err := s.Run(ctx, provision.RebootScript(), nil, io.Discard, &stderr)
	if err != nil && !errors.Is(err, transport.ErrUnreachable) {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	s.close()
	if err := s.await(ctx, before, tell); err != nil {
		return err
	}
	tell(fmt.Sprintf("it is up again after %.0f s", time.Since(began).Seconds()))
	if s != p.Production {
		return nil
	}
	launch := stacks.Launch{Host: s, Release: p.Release, Timeout: p.options.HealthTimeout, Progress: tell}
	for _, project := range p.Release.Projects {
		tell("wait for stack " + project.Name)
		if err := launch.Start(ctx, project); err != nil {
			return err
		}
	}
	return nil
}

// await connects to a server that restarts, until it has been up anew and its
// lock is held by this run again.
func (s *Server) await(ctx context.Context, before string, tell func(string)) error {
	began, told := time.Now(), time.Now()
	for {
		err := s.connect(ctx)
		if err == nil {
			if err = s.observe(ctx, true); err == nil && s.Facts.Started != before {
				return nil
			}
			s.close()
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if waited := time.Since(began); waited > rebootPatience {
			return fmt.Errorf("nobody was let in for %.0f minutes; look at the provider's console: %w", waited.Minutes(), err)
		}
		if time.Since(told) > 15*time.Second {
			told = time.Now()
			tell(fmt.Sprintf("waiting for it to come back; %.0f s so far", time.Since(began).Seconds()))
		}
		select {
		case <-ctx.Done():
		case <-time.After(2 * time.Second):
		}
	}
}

// awaitUpgrades waits for the security updates that a run has started on the
// servers it changed: what is verified next should be what stays.
func (p *Pair) awaitUpgrades(ctx context.Context) error {
	script := fmt.Sprintf(`left=%d
while case $(systemctl show --property=ActiveState --value apt-daily-upgrade.service) in activating | active | reloading) ;; *) false ;; esac; do
    [ "$left" != %[1]d ] || echo "wait for the security updates, which install themselves"
    [ "$left" -gt 0 ] || { echo "they are still being installed; going on without waiting for them"; break; }
    left=$((left - 1))
    sleep 1
done`, int(upgradePatience.Seconds()))
	return p.each(ctx, func(ctx context.Context, s *Server) error {
		if len(s.provisioning.Changes) == 0 {
			return nil
		}
		lines := &progressLines{tell: func(line string) { p.ui.Progress(s.Role, "%s", line) }}
		return s.Run(ctx, script, nil, lines, io.Discard)
	})
}

// progressLines tells each line that is written to it; scripts write whole lines.
type progressLines struct{ tell func(string) }

func (w *progressLines) Write(text []byte) (int, error) {
	for line := range strings.Lines(string(text)) {
		w.tell(strings.TrimSuffix(line, "\n"))
	}
	return len(text), nil
}
