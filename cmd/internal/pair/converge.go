package pair

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"holdfast/internal/ui"
	"holdfast/provision"
	"holdfast/provision/hardening"
	"holdfast/stacks"
	"holdfast/stacks/migrate"
)

// Plan connects to both servers, observes them in one batch each and compares
// them with the environment folder. Nothing is changed.
func (p *Pair) Plan(ctx context.Context) (*Plan, error) {
	return p.plan(ctx, false)
}

// plan observes, under both servers' locks when locked, and compares.
func (p *Pair) plan(ctx context.Context, locked bool) (*Plan, error) {
	if err := p.pinned(); err != nil {
		return nil, err
	}
	if err := p.observe(ctx, locked); err != nil {
		return nil, err
	}
	return p.compare(ctx)
}

// observe connects to both servers and observes them.
func (p *Pair) observe(ctx context.Context, locked bool) error {
	return p.each(ctx, func(ctx context.Context, s *Server) error {
		if err := s.connect(ctx); err != nil {
			return err
		}
		return s.observe(ctx, locked)
	})
}

// compare compares what was observed with the environment folder.
func (p *Pair) compare(ctx context.Context) (*Plan, error) {
	if err := errors.Join(p.pinned(), p.suits(p.Production), p.readable()); err != nil {
		return nil, err
	}
	plan := &Plan{Environment: p.Env.Environment, Release: p.Release.ID}
	for _, s := range p.Servers() {
		s.provisioning = provision.Diff(p.desired(s), s.Facts)
		part := ServerPlan{Role: s.Role, Address: s.Address(), Changes: []Change{},
			Notes: append(s.provisioning.Notes, hardening.Off(p.Env.Config)...)}
		for _, c := range s.provisioning.Changes {
			part.Changes = append(part.Changes, Change{ID: c.ID, Concern: c.Concern, Summary: c.Summary, Why: c.Why, Diff: c.Diff})
		}
		if s == p.Production {
			if err := p.planStacks(ctx, &part); err != nil {
				return nil, err
			}
		}
		plan.Servers = append(plan.Servers, part)
	}
	return plan, nil
}

// readable returns an error when the release has a PostgreSQL that can't read the
// data that is there.
func (p *Pair) readable() error {
	for _, m := range stacks.MajorMismatches(p.Release.Contents, p.Production.State) {
		return configError{ui.Hint(fmt.Errorf("stacks.%s.set: %s runs PostgreSQL %d, and the data on the production server is of PostgreSQL %d, which it can't read",
			m.Stack, m.Set, m.Needs, m.Data), "a major version is upgraded by a procedure: `holdfast upgrade --to "+m.Set+"` shows it; docs/recovery.md")}
	}
	return nil
}

// planStacks adds what the release and the migrations would change.
func (p *Pair) planStacks(ctx context.Context, part *ServerPlan) error {
	s := p.Production
	var old map[string][]byte
	if s.State.Current != "" && (s.State.Current != p.Release.ID || len(s.State.Altered) > 0) {
		var err error
		if old, err = stacks.Fetch(ctx, s, s.State.Current); err != nil {
			return err
		}
	}
	p.steps = stacks.Diff(p.Release, s.State, old, p.Env.Delivery)
	if change, underWay := p.rotationChange(); underWay {
		part.Changes = append(part.Changes, change)
	}
	pending, err := p.pendingMigrations()
	if err != nil {
		return err
	}
	if err := p.lint(""); err != nil {
		return err
	}
	for _, step := range p.steps {
		part.Changes = append(part.Changes, Change{ID: step.ID, Concern: step.Concern, Summary: step.Summary, Why: step.Why, Diff: step.Diff})
	}
	for _, m := range pending {
		part.Changes = append(part.Changes, Change{ID: "migration:" + m, Concern: "migrations", Summary: "apply " + m, Why: "not in the database's history"})
	}
	return nil
}

// Deploy converges both servers and reports what was done through progress
// lines. It returns the plan it carried out; an empty plan is a run that had
// nothing to change. confirm is asked before the first change.
func (p *Pair) Deploy(ctx context.Context, confirm func(*Plan) error) (*Plan, error) {
	plan, err := p.plan(ctx, true)
	if err != nil || plan.Empty() {
		return plan, err
	}
	if err := confirm(plan); err != nil {
		return plan, err
	}
	err = p.each(ctx, p.provision)
	if err == nil {
		err = p.release(ctx)
		if err != nil {
			err = fmt.Errorf("%s (%s): %w", p.Production.Role, p.Production.Address(), err)
		}
	}
	if err == nil {
		err = p.settle(ctx, plan)
	}
	return plan, p.rotationError(errors.Join(err, p.journal(ctx, plan, err)))
}

// settle waits until what a run has started in the background is done, and
// observes the servers it changed once more: a new package may ask for a reboot.
func (p *Pair) settle(ctx context.Context, plan *Plan) error {
	if err := p.awaitUpgrades(ctx); err != nil {
		return err
	}
	return p.each(ctx, func(ctx context.Context, s *Server) error {
		if len(plan.of(s.Role).Changes) == 0 {
			return nil
		}
		return s.observe(ctx, false)
	})
}

// provision applies the changes of one server.
func (p *Pair) provision(ctx context.Context, s *Server) error {
	if len(s.provisioning.Changes) == 0 {
		return nil
	}
	return provision.Apply(ctx, s, s.provisioning, func(e provision.Event) {
		p.ui.Progress(s.Role, "%s", e)
	})
}

// release brings the folder's release up on the production server.
func (p *Pair) release(ctx context.Context) error {
	pending, err := p.pendingMigrations()
	if err != nil || len(p.steps) == 0 && len(pending) == 0 && p.file.Rotation == nil {
		return err
	}
	if len(pending) > 0 {
		go migrate.Warm() // the grammar takes a second to load; the images take longer
	}
	return p.bringUp(ctx, bringing{migrate: true})
}

// bringing is how a release is brought up.
type bringing struct {
	migrate bool // apply what is pending
	// before is done when everything is on the server and nothing was touched that
	// runs; nil for nothing.
	before func(ctx context.Context, launch stacks.Launch, tell func(string)) error
}

// bringUp carries out the steps to the release on the production server.
func (p *Pair) bringUp(ctx context.Context, how bringing) error {
	s := p.Production
	tell := func(line string) { p.ui.Progress(s.Role, "%s", line) }
	launch := stacks.Launch{Host: s, Release: p.Release, Timeout: p.options.HealthTimeout, Progress: tell}

	if len(stacks.Subjects(p.steps, stacks.UploadStep)) > 0 {
		tell("upload release " + p.Release.ID)
		if err := stacks.Upload(ctx, s, p.Release); err != nil {
			return err
		}
	}
	if err := p.deliver(ctx, tell); err != nil {
		return err
	}
	if err := launch.Networks(ctx); err != nil {
		return err
	}
	if err := launch.Place(ctx); err != nil {
		return err
	}
	if how.before != nil {
		if err := how.before(ctx, launch, tell); err != nil {
			return fmt.Errorf("%w\n(nothing that runs was touched)", err)
		}
	}
	if err := launch.Begin(ctx, s.State.Current, s.State.Migrations.Versions); err != nil {
		return err
	}
	if err := p.start(ctx, launch, how.migrate, tell); err != nil {
		return p.goBack(ctx, launch, err)
	}
	for _, name := range stacks.Subjects(p.steps, stacks.StopStep) {
		tell("stop stack " + name)
		if err := launch.Stop(ctx, name); err != nil {
			return err
		}
	}
	if err := launch.Point(ctx); err != nil {
		return err
	}
	if err := p.rotated(ctx, launch); err != nil {
		return err
	}
	if err := p.prune(ctx, tell); err != nil {
		tell("note: " + err.Error())
	}
	return nil
}

// deliver brings the missing images to the server's engine.
func (p *Pair) deliver(ctx context.Context, tell func(string)) error {
	var ship, pull []string
	for _, ref := range stacks.Subjects(p.steps, stacks.ImageStep) {
		if stacks.Shipped(ref, p.Env.Delivery) {
			ship = append(ship, ref)
		} else {
			pull = append(pull, ref)
		}
	}
	if len(ship) > 0 {
		tell(fmt.Sprintf("ship %d images over the SSH connection", len(ship)))
		var next int64 = 64 << 20
		err := stacks.Ship(ctx, p.Production, ship, saveImages, func(n int64) {
			if n >= next {
				tell(fmt.Sprintf("shipped %d MB", n>>20))
				next = n + 64<<20
			}
		})
		if err != nil {
			return err
		}
	}
	return stacks.Pull(ctx, p.Production, pull, tell)
}

// start brings the projects up in order. The database comes first and is
// migrated before anything that uses it is recreated.
func (p *Pair) start(ctx context.Context, launch stacks.Launch, migrates bool, tell func(string)) error {
	for _, project := range p.Release.Projects {
		if err := p.follow(ctx, launch, project, tell); err != nil {
			return err
		}
		differs := slices.Contains(stacks.Subjects(p.steps, stacks.StartStep), project.Name) || p.file.Rotation != nil
		if project.Name == "supabase" {
			if differs {
				tell("start the database")
				if err := launch.Start(ctx, project, "db"); err != nil {
					return err
				}
			}
			if migrates {
				result, err := p.migrate(ctx, MigrateOptions{}, tell)
				for _, f := range result.Applied {
					p.applied = append(p.applied, f.Path)
				}
				if err != nil {
					return err
				}
			}
		}
		if !differs {
			continue
		}
		tell("start stack " + project.Name)
		if err := launch.Start(ctx, project); err != nil {
			return err
		}
	}
	return nil
}

// goBack starts the former release again after cause, when there is one.
func (p *Pair) goBack(ctx context.Context, launch stacks.Launch, cause error) error {
	former := p.Production.State.Current
	if former == "" || former == p.Release.ID && !p.rotatesUnseen() || ctx.Err() != nil {
		return cause
	}
	p.ui.Progress("production", "go back to release %s", former)
	if err := p.takeBack(ctx, launch, former); err != nil {
		return errors.Join(cause, err)
	}
	contents := p.Production.State.Contents
	if len(contents.Projects) == 0 {
		contents = p.Release.Contents // it does not say: it has the same stacks
	}
	if err := launch.GoBack(ctx, former, contents); err != nil {
		return errors.Join(cause, err)
	}
	for _, project := range p.Release.Projects {
		ran := slices.ContainsFunc(p.Production.State.Containers, func(c stacks.Container) bool { return c.Project == project.Name })
		if !ran {
			if err := launch.Stop(ctx, project.Name); err != nil {
				return errors.Join(cause, err)
			}
		}
	}
	if p.file.Rotation != nil {
		cause = fmt.Errorf("%w\n(the rotation was taken back: the values from before are in force)", cause)
		if err := p.endRotation(false); err != nil {
			return errors.Join(cause, err)
		}
	}
	data := "no migration was applied"
	if len(p.applied) > 0 {
		data = "what was applied stays: " + strings.Join(p.applied, ", ")
	}
	return fmt.Errorf("%w\n(release %s runs again; %s)", cause, former, data)
}
