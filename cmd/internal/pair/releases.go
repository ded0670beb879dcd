package pair

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"holdfast/internal/probe"
	"holdfast/internal/ui"
	"holdfast/provision"
	"holdfast/stacks"
)

// A ReleaseList is the releases that the production server keeps.
type ReleaseList struct {
	Environment string            `json:"environment"`
	Declared    string            `json:"declared"` // the release that the folder renders to
	Releases    []ReleaseOnServer `json:"releases"` // the one that ran last first
}

// A ReleaseOnServer is one of them.
type ReleaseOnServer struct {
	ID string `json:"id"`
	// State is "running", "last good" (what a rollback starts), "good" (it ran
	// once), "failed" (it never became healthy) or "starting" (a run was cut off).
	State    string            `json:"state"`
	Uploaded time.Time         `json:"uploaded"`
	Started  *time.Time        `json:"started"`           // when it last became the running one
	By       string            `json:"by,omitempty"`      // whose run brought it up last, from the journal
	Result   string            `json:"result,omitempty"`  // of that run
	Sets     map[string]string `json:"sets"`              // stack → catalog set
	Bytes    int64             `json:"bytes"`             // of its files
	Altered  []string          `json:"altered,omitempty"` // files edited by hand
}

// journalRecords is how many records a list of releases looks back.
const journalRecords = 1024

// Releases lists the releases on the production server, and who started them.
func (p *Pair) Releases(ctx context.Context) (*ReleaseList, error) {
	s := p.Production
	if err := s.connect(ctx); err != nil {
		return nil, fmt.Errorf("%s (%s): %w", s.Role, s.Address(), err)
	}
	const journal = "pair/journal"
	records := probe.Probe{Name: journal, Script: fmt.Sprintf("tail -n %d %s", journalRecords, provision.JournalPath)}
	outputs, err := s.ask(ctx, append(append(stacks.KeptProbes(), stacks.Probes()...), records))
	if err != nil {
		return nil, fmt.Errorf("%s (%s): %w", s.Role, s.Address(), err)
	}
	state, err := stacks.ParseState(outputs)
	if err != nil {
		return nil, err
	}
	kept, err := stacks.ParseKept(outputs)
	if err != nil {
		return nil, err
	}
	entries := provision.Entries([]byte(outputs[journal].Stdout))
	list := &ReleaseList{Environment: p.Env.Environment, Declared: p.Release.ID, Releases: []ReleaseOnServer{}}
	for _, k := range kept {
		list.Releases = append(list.Releases, describe(k, kept, entries, state))
	}
	return list, nil
}

// kept asks the production server which releases it keeps.
func (p *Pair) kept(ctx context.Context) ([]stacks.Kept, error) {
	outputs, err := p.Production.ask(ctx, stacks.KeptProbes())
	if err != nil {
		return nil, err
	}
	return stacks.ParseKept(outputs)
}

func describe(k stacks.Kept, all []stacks.Kept, entries []provision.Entry, state stacks.State) ReleaseOnServer {
	r := ReleaseOnServer{ID: k.ID, Uploaded: k.Uploaded, Sets: map[string]string{}, Bytes: k.Bytes, Altered: k.Altered}
	for stack, set := range k.Contents.Sets {
		r.Sets[stack] = set.Name
	}
	if !k.Started.IsZero() {
		r.Started = &k.Started
	}
	for _, e := range slices.Backward(entries) {
		if e.Release == k.ID {
			r.By, r.Result = e.Who, e.Result
			break
		}
	}
	good, _ := stacks.LastGood(all, state.Current)
	switch {
	case k.ID == state.Current:
		r.State = "running"
	case k.ID == state.Starting:
		r.State = "starting"
	case k.ID == good.ID:
		r.State = "last good"
	case r.Started != nil:
		r.State = "good"
	default:
		r.State = "failed"
	}
	return r
}

// Print writes the list for people.
func (l *ReleaseList) Print(u *ui.UI) {
	if len(l.Releases) == 0 {
		u.Printf("no release is on the server; `holdfast deploy` brings one\n")
		return
	}
	var b strings.Builder
	columns := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(columns, "RELEASE\tSTATE\tSTARTED\tBY\tSIZE\tSETS")
	for _, r := range l.Releases {
		started := "never"
		if r.Started != nil {
			started = r.Started.Format("2006-01-02 15:04 MST")
		}
		by, _, _ := strings.Cut(r.By, " ") // who, without the process
		var sets []string
		for _, set := range r.Sets {
			sets = append(sets, set)
		}
		slices.Sort(sets)
		fmt.Fprintf(columns, "%s\t%s\t%s\t%s\t%d KiB\t%s\n", r.ID, r.State, started, ui.Plain(by), r.Bytes>>10, ui.Plain(strings.Join(sets, ", ")))
	}
	_ = columns.Flush() // a strings.Builder takes everything
	for _, r := range l.Releases {
		if len(r.Altered) > 0 {
			fmt.Fprintf(&b, "%s %s was edited by hand: %s\n", u.Style(ui.Yellow, "note:"), r.ID, ui.Plain(strings.Join(r.Altered, ", ")))
		}
	}
	running := slices.ContainsFunc(l.Releases, func(r ReleaseOnServer) bool { return r.State == "running" && r.ID == l.Declared })
	if !running {
		fmt.Fprintf(&b, "the folder renders to %s; `holdfast plan` shows what differs\n", l.Declared)
	}
	u.Printf("%s", b.String())
}

// prune removes what releases.keep leaves no place for.
func (p *Pair) prune(ctx context.Context, tell func(string)) error {
	kept, err := p.kept(ctx)
	if err != nil {
		return err
	}
	stay, superfluous := stacks.Superfluous(kept, p.Release.ID, p.Env.Releases.Keep)
	if len(superfluous) == 0 {
		return nil
	}
	for _, k := range superfluous {
		tell("remove old release " + k.ID)
	}
	return stacks.Prune(ctx, p.Production, stay, superfluous)
}
