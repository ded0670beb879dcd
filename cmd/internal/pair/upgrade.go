package pair

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"holdfast/internal/ui"
	"holdfast/stacks"
	"holdfast/stacks/lock"
)

// UpgradeOptions say where to and how.
type UpgradeOptions struct {
	To []string // catalog sets; empty: those of holdfast.yml, or the newest
	// Done names sets whose documented procedure a person has gone through.
	Done   []string
	NoCopy bool // make no safety copy of the databases first
	DryRun bool // only say what would happen
}

// An Upgrade is the way from what runs to what is to run.
type Upgrade struct {
	Ways     []stacks.Way `json:"ways"`
	Warnings []string     `json:"warnings"`
	Plan     *Plan        `json:"plan"`
	// Edits are the files of the folder that change, by name.
	Edits []string `json:"edits"`
	// Copy is where the safety copy of the databases lies on the production server.
	Copy string `json:"copy,omitempty"`
}

// A ProcedureError is an upgrade that a person has to do something for first.
type ProcedureError struct{ Way stacks.Way }

func (e *ProcedureError) Error() string {
	return fmt.Sprintf("%s can't be upgraded from set %s to %s without a procedure that a person goes through (nothing was changed):\n%s",
		e.Way.Stack, e.Way.From, e.Way.To, indent(strings.TrimSpace(e.Way.Manual), "  | "))
}

// Hint says what to do next.
func (e *ProcedureError) Hint() string {
	return "when it is done: `holdfast upgrade --to " + e.Way.To + " --procedure-done " + e.Way.To + "`; the version that the data is of is looked at"
}

// Upgrade brings the stacks from the sets that run to newer ones: it says the way,
// asks confirm, writes the sets to holdfast.yml and the digests to holdfast.lock,
// brings all images, makes a safety copy of the databases, and only then replaces
// what runs. When that does not get healthy, the release before runs again, and the
// folder is as it was.
//
// An empty plan is an upgrade that leads nowhere: the newest runs.
func (p *Pair) Upgrade(ctx context.Context, options UpgradeOptions, confirm func(*Upgrade) error) (*Upgrade, error) {
	if p.file.Rotation != nil {
		return nil, configError{unfinished(p.file.Rotation)}
	}
	if err := p.observe(ctx, true); err != nil {
		return nil, err
	}
	s := p.Production
	running := s.State.Contents
	if s.State.Current == "" || len(running.Sets) == 0 {
		return nil, ui.Hint(fmt.Errorf("%s (%s): no release runs that says which sets it is made of", s.Role, s.Address()), "`holdfast deploy` first; nothing can be upgraded yet")
	}
	u, folder, err := p.way(ctx, options, running)
	if err != nil {
		return u, err
	}
	if u.Plan, err = p.compare(ctx); err != nil {
		return u, err
	}
	u.Plan.verb = "upgrade"
	u.Ways = stacks.WithImages(u.Ways, running, p.Release.Contents)
	if options.DryRun || u.Plan.Empty() {
		return u, nil
	}
	if err := confirm(u); err != nil {
		return u, err
	}
	if err := folder.write(); err != nil {
		return u, err
	}
	return u, p.upgrade(ctx, u, folder, options)
}

// way finds the way, and makes the pair one of the folder as it will be.
func (p *Pair) way(ctx context.Context, options UpgradeOptions, running stacks.Contents) (*Upgrade, *folder, error) {
	catalog, err := stacks.Catalog()
	if err != nil {
		return nil, nil, err
	}
	declared, err := stacks.DeclaredSets(p.Env.Config)
	if err != nil {
		return nil, nil, configError{err}
	}
	targets, err := stacks.Targets(catalog, running.Sets, declared, options.To)
	if err != nil {
		return nil, nil, configError{ui.Hint(err, "`holdfast upgrade --dry-run` shows what can be reached")}
	}
	u := &Upgrade{Ways: []stacks.Way{}, Warnings: []string{}, Edits: []string{}}
	ways, err := stacks.Ways(catalog, running.Sets, targets)
	if err != nil {
		return u, nil, err
	}
	u.Ways = append(u.Ways, ways...)
	for _, way := range ways {
		if way.Manual != "" && !slices.Contains(options.Done, way.To) {
			return u, nil, &ProcedureError{Way: way}
		}
	}
	for _, stack := range slices.Sorted(maps.Keys(targets)) {
		if end := targets[stack].EndOfLife; end != "" {
			u.Warnings = append(u.Warnings, fmt.Sprintf("set %s is at its end of life: %s", targets[stack].Name, end))
		}
	}
	changed := map[string]string{}
	for stack, set := range targets {
		if set.Name != declared[stack].Name {
			changed[stack] = set.Name
		}
	}
	f, err := p.retarget(ctx, changed)
	if err != nil {
		return u, nil, err
	}
	for name := range f.files {
		u.Edits = append(u.Edits, name)
	}
	slices.Sort(u.Edits)
	return u, f, nil
}

// A folder is the files of the environment that an upgrade changes.
type folder struct {
	pair   *Pair
	files  map[string]func() error // name → what writes it
	former map[string][]byte       // what was there before
}

// retarget makes the pair one whose stacks name other sets, and locks the images
// that came with them. No file is written.
func (p *Pair) retarget(ctx context.Context, sets map[string]string) (*folder, error) {
	f := &folder{pair: p, files: map[string]func() error{}, former: map[string][]byte{}}
	if len(sets) == 0 {
		return f, nil
	}
	env, text, err := p.Env.WithSets(sets)
	if err != nil {
		return nil, configError{err}
	}
	f.files["holdfast.yml"] = func() error {
		_, err := env.WriteConfig(text)
		return err
	}
	p.Env = env
	if env.Delivery == "registry" {
		renewed, err := p.lockAnew(ctx)
		if err != nil {
			return nil, err
		}
		f.files[lock.FileName] = func() error { return lock.Write(env.Dir, renewed) }
		p.pins = renewed.Pins(env.Servers.Production.Platform, env.Registry.Mirror)
	}
	if err := p.render(); err != nil {
		return nil, configError{err}
	}
	return f, nil
}

// lockAnew asks the registries for the images that the environment declares now. A
// tag that has moved since it was locked is refused.
func (p *Pair) lockAnew(ctx context.Context) (lock.Lock, error) {
	refs, err := stacks.References(p.Env.Config)
	if err != nil {
		return lock.Lock{}, configError{err}
	}
	former, err := lock.Read(p.Env.Dir)
	if err != nil {
		return lock.Lock{}, configError{err}
	}
	resolver := lock.Resolver{Platform: p.Env.Servers.Production.Platform, Mirror: p.Env.Registry.Mirror, Progress: func(done, total int, ref string) {
		p.ui.Progress("", "[%d/%d] %s", done, total, ref)
	}}
	resolved, err := resolver.Resolve(ctx, slices.DeleteFunc(refs, stacks.Fixed))
	if err != nil {
		return lock.Lock{}, err
	}
	renewed, changes := former.Renew(resolved)
	return renewed, lock.Refuse(changes, nil)
}

// write writes the files, and keeps what was there.
func (f *folder) write() error {
	for name, write := range f.files {
		former, err := os.ReadFile(filepath.Join(f.pair.Env.Dir, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return errors.Join(err, f.restore())
		}
		f.former[name] = former
		if err := write(); err != nil {
			return errors.Join(err, f.restore())
		}
	}
	return nil
}

// restore puts back what was there before write.
func (f *folder) restore() error {
	var errs []error
	for name, text := range f.former {
		path := filepath.Join(f.pair.Env.Dir, name)
		if text == nil {
			errs = append(errs, os.Remove(path))
			continue
		}
		mode := os.FileMode(0o644)
		if info, err := os.Stat(path); err == nil {
			mode = info.Mode().Perm()
		}
		temp := path + ".new"
		errs = append(errs, os.WriteFile(temp, text, mode), os.Rename(temp, path))
	}
	return errors.Join(errs...)
}

// upgrade carries an upgrade out.
func (p *Pair) upgrade(ctx context.Context, u *Upgrade, f *folder, options UpgradeOptions) error {
	s := p.Production
	var before map[string]string
	copyFirst := func(ctx context.Context, launch stacks.Launch, tell func(string)) error {
		before = launch.ServerVersions(ctx)
		if options.NoCopy {
			return nil
		}
		tell("copy the databases")
		made, err := launch.Copy(ctx, slices.Sorted(maps.Keys(s.State.PostgreSQL)))
		if err != nil {
			return err
		}
		u.Copy = made.Path
		tell(fmt.Sprintf("a copy of the databases (%d KiB) lies in %s", made.Bytes>>10, made.Path))
		return nil
	}
	err := p.each(ctx, p.provision)
	if err == nil {
		if err = p.bringUp(ctx, bringing{migrate: true, before: copyFirst}); err != nil {
			err = fmt.Errorf("%s (%s): %w", s.Role, s.Address(), err)
		}
	}
	if err == nil {
		err = p.settle(ctx, u.Plan)
	} else {
		err = p.failed(ctx, u, f, err, before)
	}
	return errors.Join(err, p.journal(ctx, u.Plan, err))
}

// failed puts the folder back to what it was before an upgrade that failed, and
// adds to its error what became of the data.
func (p *Pair) failed(ctx context.Context, u *Upgrade, f *folder, cause error, before map[string]string) error {
	if ctx.Err() != nil {
		return ui.Hint(fmt.Errorf("%w\n(the upgrade stopped in the middle; the folder names what it was going to)", cause), "`holdfast upgrade` goes on from here")
	}
	hint := ui.HintOf(cause)
	after := stacks.Launch{Host: p.Production}.ServerVersions(ctx)
	for _, stack := range slices.Sorted(maps.Keys(before)) {
		if now := cmp.Or(after[stack], "does not answer"); now != before[stack] {
			cause = fmt.Errorf("%w\n(the PostgreSQL of %s was %s and now %s)", cause, stack, before[stack], now)
		}
	}
	if u.Copy != "" {
		cause = fmt.Errorf("%w\n(the databases as they were before lie in %s on the production server)", cause, u.Copy)
	}
	if len(f.former) > 0 {
		if err := f.restore(); err != nil {
			return errors.Join(cause, fmt.Errorf("put the folder back to what it was: %w", err))
		}
		cause = fmt.Errorf("%w\n(%s in the folder: as before)", cause, strings.Join(u.Edits, ", "))
	}
	return ui.Hint(cause, cmp.Or(hint, "mend the cause and run `holdfast upgrade` again"))
}
