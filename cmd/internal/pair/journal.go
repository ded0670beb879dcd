package pair

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"holdfast/internal/version"
	"holdfast/provision"
)

// journal appends what a run did to each changed server's journal. It is
// written also when the run failed, and when it was interrupted.
func (p *Pair) journal(ctx context.Context, plan *Plan, outcome error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	result := "done"
	if outcome != nil {
		result, _, _ = strings.Cut(outcome.Error(), "\n")
	}
	for _, s := range p.Servers() {
		changes := plan.of(s.Role).Changes
		if len(changes) == 0 {
			continue
		}
		record := provision.Record{Who: who(), Release: p.Release.ID, Result: result}
		for _, c := range changes {
			record.Changes = append(record.Changes, c.ID)
		}
		if err := s.Run(ctx, provision.JournalScript(record), nil, io.Discard, io.Discard); err != nil {
			return fmt.Errorf("%s: write the journal: %w", s.Role, err)
		}
	}
	return nil
}

// who is how a journal names this run.
func who() string { return holder() + ", holdfast " + version.String() }
