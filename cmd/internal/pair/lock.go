package pair

import (
	"context"
	"fmt"
	"slices"

	"holdfast/internal/environment"
	"holdfast/internal/nearest"
	"holdfast/internal/ui"
	"holdfast/stacks"
	"holdfast/stacks/lock"
)

// A Locking is what locking an environment's images came to, or, for CheckLock,
// what it would have to.
type Locking struct {
	Platform string        `json:"platform"`
	Images   []lock.Image  `json:"images"`  // of the lock as it is afterwards
	Changes  []lock.Change `json:"changes"` // against the lock as it was before
}

// Lock asks the registries for the digests of all images that the environment in
// dir declares, and writes them to its holdfast.lock. Neither servers nor secrets
// are needed. accepted names the images whose tag may have moved. When anything
// fails, or a tag moved that was not accepted (*lock.MovedError), the lock stays
// as it was; what was found out is returned all the same.
func Lock(ctx context.Context, dir string, accepted []string, u *ui.UI) (*Locking, error) {
	d, err := readDeclared(dir)
	if err != nil {
		return nil, err
	}
	for _, ref := range accepted {
		if !slices.Contains(d.refs, ref) {
			hint := "the images are those of `holdfast lock --check --output json`"
			if near := nearest.Word(ref, d.refs); near != "" {
				hint = "did you mean " + near + "?"
			}
			return nil, configError{ui.Hint(fmt.Errorf("--accept-moved: nothing declares the image %s", ref), hint)}
		}
	}
	if len(d.refs) == 0 && len(d.lock.Images) == 0 {
		return &Locking{Platform: d.platform, Images: []lock.Image{}, Changes: []lock.Change{}}, nil
	}
	resolver := lock.Resolver{Platform: d.platform, Mirror: d.mirror, Progress: func(done, total int, ref string) {
		u.Progress("", "[%d/%d] %s", done, total, ref)
	}}
	resolved, err := resolver.Resolve(ctx, d.refs)
	if err != nil {
		return nil, err
	}
	renewed, changes := d.lock.Renew(resolved)
	locking := &Locking{Platform: d.platform, Images: orEmpty(renewed.Images), Changes: orEmpty(changes)}
	if err := lock.Refuse(changes, accepted); err != nil {
		locking.Images = orEmpty(d.lock.Images)
		return locking, err
	}
	if len(changes) == 0 {
		return locking, nil
	}
	return locking, lock.Write(dir, renewed)
}

// CheckLock says what the lock of the environment in dir lacks of what is
// declared, or has too much. No network is asked.
func CheckLock(dir string) (*Locking, error) {
	d, err := readDeclared(dir)
	if err != nil {
		return nil, err
	}
	return &Locking{Platform: d.platform, Images: orEmpty(d.lock.Images), Changes: orEmpty(d.lock.Against(d.refs, d.platform))}, nil
}

// declaredImages is what an environment says about images, and its lock.
type declaredImages struct {
	refs             []string // those that a registry decides about
	platform, mirror string
	lock             lock.Lock
}

func readDeclared(dir string) (declaredImages, error) {
	env, err := environment.Load(dir)
	if err != nil {
		return declaredImages{}, configError{err}
	}
	d := declaredImages{platform: env.Servers.Production.Platform, mirror: env.Registry.Mirror}
	if d.lock, err = lock.Read(dir); err != nil {
		return d, configError{err}
	}
	if env.Delivery != "registry" {
		return d, nil
	}
	refs, err := stacks.References(env.Config)
	if err != nil {
		return d, configError{err}
	}
	d.refs = slices.DeleteFunc(refs, stacks.Fixed)
	return d, nil
}

// pins returns what servers pull for the images that are declared: nothing is
// pinned where they pull nothing.
func pins(env *environment.Environment) (map[string]string, error) {
	if env.Delivery != "registry" {
		return nil, nil
	}
	l, err := lock.Read(env.Dir)
	if err != nil {
		return nil, err
	}
	return l.Pins(env.Servers.Production.Platform, env.Registry.Mirror), nil
}

// pinned returns an error when servers would have to pull an image by its tag.
func (p *Pair) pinned() error {
	if p.Env.Delivery != "registry" {
		return nil
	}
	floating := p.Release.Floating()
	if len(floating) == 0 {
		return nil
	}
	hint := "`holdfast lock` asks the registries for it; commit what it writes"
	if len(p.pins) == 0 {
		return configError{ui.Hint(fmt.Errorf("no image has a digest in %s, which the servers pull by: there are %d to lock", lock.FileName, len(floating)), hint)}
	}
	return configError{ui.Hint(fmt.Errorf("%s has no digest for %s of %s", lock.FileName, p.Env.Servers.Production.Platform, lock.Some(floating)), hint)}
}

// suits returns an error when the images are locked for servers of another kind.
func (p *Pair) suits(s *Server) error {
	want := p.Env.Servers.Production.Platform
	is := "linux/" + s.Facts.Architecture
	if len(p.pins) == 0 || s.Facts.Architecture == "" || is == want {
		return nil
	}
	return configError{ui.Hint(fmt.Errorf("%s (%s): the server is %s, and its images are locked for %s", s.Role, s.Address(), is, want),
		"set `servers.production.platform: "+is+"` and run `holdfast lock`")}
}

// orEmpty makes JSON say [] where there is nothing.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
