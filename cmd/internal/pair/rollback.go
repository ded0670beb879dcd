package pair

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"holdfast/internal/ui"
	"holdfast/stacks"
)

// Rollback starts a release that the production server keeps: the named one, or,
// with an empty id, the one that ran before the present one. Neither servers'
// settings nor the database's migrations are changed. confirm is asked before the
// first change, with the plan, whose notes say what the rollback can't take back.
// An empty plan is a release that runs already.
//
// When the services don't get healthy, what ran before runs again.
func (p *Pair) Rollback(ctx context.Context, id string, confirm func(*Plan) error) (*Plan, error) {
	s := p.Production
	fail := func(err error) (*Plan, error) {
		return nil, fmt.Errorf("%s (%s): %w", s.Role, s.Address(), err)
	}
	if p.file.Rotation != nil {
		return nil, configError{unfinished(p.file.Rotation)}
	}
	if err := s.connect(ctx); err != nil {
		return fail(err)
	}
	if err := s.observe(ctx, true); err != nil {
		return fail(err)
	}
	kept, err := p.kept(ctx)
	if err != nil {
		return fail(err)
	}
	target, err := pick(kept, s.State.Current, id)
	if err != nil {
		return fail(err)
	}
	notes, err := p.suitable(target)
	if err != nil {
		return fail(err)
	}
	declared := p.Release
	var old map[string][]byte
	if target.ID != s.State.Current && s.State.Current != "" {
		if old, err = stacks.Fetch(ctx, s, s.State.Current); err != nil {
			return fail(err)
		}
	}
	if target.ID != declared.ID || len(target.Altered) == 0 {
		files, err := stacks.Fetch(ctx, s, target.ID)
		if err != nil {
			return fail(err)
		}
		p.Release = stacks.Read(target.ID, target.Contents, files)
	}
	p.steps = stacks.Diff(p.Release, s.State, old, p.Env.Delivery)
	if len(target.Altered) > 0 && len(stacks.Subjects(p.steps, stacks.UploadStep)) == 0 {
		p.steps = slices.Insert(p.steps, 0, stacks.Restore(p.Release, target.Altered))
	}
	plan := &Plan{Environment: p.Env.Environment, Release: target.ID, verb: "rollback"}
	part := ServerPlan{Role: s.Role, Address: s.Address(), Changes: []Change{}, Notes: notes}
	for _, step := range p.steps {
		part.Changes = append(part.Changes, Change{ID: step.ID, Concern: step.Concern, Summary: step.Summary, Why: step.Why, Diff: step.Diff})
	}
	if target.ID != declared.ID {
		part.Notes = append(part.Notes, "the folder renders to another release: the next `holdfast deploy` starts "+declared.ID+" unless holdfast.yml goes back as well")
	}
	plan.Servers = []ServerPlan{part}
	if plan.Empty() {
		return plan, nil
	}
	if err := confirm(plan); err != nil {
		return plan, err
	}
	err = p.bringUp(ctx, bringing{})
	if err != nil {
		err = fmt.Errorf("%s (%s): %w", s.Role, s.Address(), err)
	}
	return plan, errors.Join(err, p.journal(ctx, plan, err))
}

// pick returns the release to go back to.
func pick(kept []stacks.Kept, current, id string) (stacks.Kept, error) {
	if id == "" {
		good, ok := stacks.LastGood(kept, current)
		if !ok {
			return good, ui.Hint(errors.New("there is no release that ran before the present one"), "`holdfast releases` lists what is there")
		}
		return good, nil
	}
	var found []stacks.Kept
	for _, k := range kept {
		if strings.HasPrefix(k.ID, id) {
			found = append(found, k)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return stacks.Kept{}, ui.Hint(fmt.Errorf("there is no release %s on the server", id), "`holdfast releases` lists those that are; older ones were removed (`releases.keep` in holdfast.yml)")
	}
	return stacks.Kept{}, ui.Hint(fmt.Errorf("%d releases begin with %s", len(found), id), "write more of its name")
}

// suitable returns an error when a release can't be started on the data that is
// there, and notes about what does not go back with it.
func (p *Pair) suitable(target stacks.Kept) (notes []string, err error) {
	state := p.Production.State
	if len(target.Contents.Projects) == 0 {
		return nil, ui.Hint(fmt.Errorf("release %s does not say what it is made of", target.ID), "choose another of `holdfast releases`, or render it anew: check out the folder as it was and run `holdfast deploy`")
	}
	if len(target.Altered) > 0 && target.ID != p.Release.ID {
		return nil, ui.Hint(fmt.Errorf("release %s was edited by hand: %s; it is not started", target.ID, strings.Join(target.Altered, ", ")),
			"check out the folder that it was rendered from: `holdfast rollback` and `holdfast deploy` then restore its files")
	}
	for _, m := range stacks.MajorMismatches(target.Contents, state) {
		return nil, ui.Hint(fmt.Errorf("release %s runs set %s with PostgreSQL %d, and the data of %s is of PostgreSQL %d: its server can't read it",
			target.ID, m.Set, m.Needs, m.Stack, m.Data), "a major version is gone back to with a copy from before the upgrade: docs/recovery.md")
	}
	if !slices.ContainsFunc(state.Releases, func(id string) bool { return id == state.Current }) {
		notes = append(notes, "nothing is known of what runs now")
	}
	var since []string
	for _, version := range state.Migrations.Versions {
		if !slices.Contains(target.Migrations, version) {
			since = append(since, version)
		}
	}
	if len(since) > 0 && !target.Started.IsZero() && target.ID != state.Current {
		notes = append(notes, fmt.Sprintf("%d migrations were applied since it ran, and stay: %s", len(since), strings.Join(since, ", ")))
	}
	for stack, set := range target.Contents.Sets {
		if now, runs := state.Contents.Sets[stack]; runs && now.Name != set.Name {
			notes = append(notes, fmt.Sprintf("%s goes from set %s back to %s: what the newer services wrote into their databases stays", stack, now.Name, set.Name))
		}
	}
	if target.Started.IsZero() {
		notes = append(notes, "it never became healthy before")
	}
	slices.Sort(notes)
	return notes, nil
}
