package stacks

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Way is how one stack comes from what runs to another set, or to other images
// of the same one.
type Way struct {
	Stack     string        `json:"stack"`
	From      string        `json:"from"`
	To        string        `json:"to"` // the same set as From when only images change
	Steps     []string      `json:"steps,omitempty"`
	Manual    string        `json:"manual,omitempty"` // what a person has to do first
	Changes   []string      `json:"changes,omitempty"`
	Notes     string        `json:"notes,omitempty"`
	EndOfLife string        `json:"end_of_life,omitempty"` // of the set it leads to: since when and why
	Images    []ImageChange `json:"images,omitempty"`
}

// An ImageChange is a service that will run another image.
type ImageChange struct {
	Service string `json:"service"`
	From    string `json:"from"` // "" for a service that is new
	To      string `json:"to"`   // "" for a service that goes
}

// A NoWayError is a set that can't be reached from the one that runs.
type NoWayError struct {
	Stack, From, To string
	Via             []string // sets that can be reached, and from which To can be
}

func (e *NoWayError) Error() string {
	return fmt.Sprintf("the catalog knows no way from set %s, which runs, to %s", e.From, e.To)
}

// Hint says what to do next.
func (e *NoWayError) Hint() string {
	if len(e.Via) > 0 {
		return "go by way of another: `holdfast upgrade --to " + e.Via[0] + "` first"
	}
	return "to a set that ran before leads `holdfast rollback`; sets that can be reached are those that `holdfast upgrade --dry-run` shows"
}

// Targets decides which set each stack goes to: the one that is named, or the one
// that is declared when it is not the one that runs, or the newest that can be
// reached from the one that runs, or none but that. running and declared are by
// stack; a stack that does not run yet keeps what is declared.
func Targets(catalog map[string]Set, running map[string]ReleasedSet, declared map[string]Set, named []string) (map[string]Set, error) {
	targets := map[string]Set{}
	for stack, set := range declared {
		runs, ok := running[stack]
		targets[stack] = set
		if !ok || runs.Name != set.Name || len(named) > 0 {
			continue
		}
		for _, newer := range catalog {
			_, reachable := newer.From(runs.Name)
			if newer.Stack == stack && reachable && newer.EndOfLife == "" && newer.Released > targets[stack].Released {
				targets[stack] = newer
			}
		}
	}
	for _, name := range named {
		set, ok := catalog[name]
		if !ok {
			return nil, fmt.Errorf("there is no catalog set %q; this version has %s", name, strings.Join(slices.Sorted(maps.Keys(catalog)), ", "))
		}
		if _, ok := declared[set.Stack]; !ok {
			return nil, fmt.Errorf("set %s is one of the stack %s, which holdfast.yml does not declare", name, set.Stack)
		}
		targets[set.Stack] = set
	}
	return targets, nil
}

// Ways says how the stacks come from the sets that run to their targets. Its errors
// are *NoWayError, joined.
func Ways(catalog map[string]Set, running map[string]ReleasedSet, targets map[string]Set) ([]Way, error) {
	var ways []Way
	var errs []error
	for _, stack := range slices.Sorted(maps.Keys(targets)) {
		to := targets[stack]
		runs, ok := running[stack]
		if !ok || runs.Name == to.Name {
			continue
		}
		upgrade, ok := to.From(runs.Name)
		if !ok {
			no := &NoWayError{Stack: stack, From: runs.Name, To: to.Name}
			for name, between := range catalog {
				_, there := between.From(runs.Name)
				_, on := to.From(name)
				if there && on {
					no.Via = append(no.Via, name)
				}
			}
			slices.Sort(no.Via)
			errs = append(errs, no)
			continue
		}
		ways = append(ways, Way{Stack: stack, From: runs.Name, To: to.Name, Steps: upgrade.Steps, Manual: upgrade.Manual,
			Changes: to.Changes, Notes: to.Notes, EndOfLife: to.EndOfLife})
	}
	return ways, errors.Join(errs...)
}

// WithImages adds to ways which services of a release will run other images than
// those of the running one, and a way for each stack that only changes images.
func WithImages(ways []Way, running, wanted Contents) []Way {
	for _, project := range wanted.Projects {
		before := map[string]string{}
		for _, p := range running.Projects {
			if p.Name == project.Name {
				for _, s := range p.Services {
					before[s.Name] = s.Image
				}
			}
		}
		if len(before) == 0 {
			continue // it is new, and upgrades from nothing
		}
		var changes []ImageChange
		for _, s := range project.Services {
			if before[s.Name] != s.Image {
				changes = append(changes, ImageChange{Service: s.Name, From: before[s.Name], To: s.Image})
			}
			delete(before, s.Name)
		}
		for _, name := range slices.Sorted(maps.Keys(before)) {
			changes = append(changes, ImageChange{Service: name, From: before[name]})
		}
		if len(changes) == 0 {
			continue
		}
		i := slices.IndexFunc(ways, func(w Way) bool { return w.Stack == project.Name })
		if i < 0 {
			set := wanted.Sets[project.Name].Name
			ways = append(ways, Way{Stack: project.Name, From: set, To: set})
			i = len(ways) - 1
		}
		ways[i].Images = changes
	}
	slices.SortFunc(ways, func(a, b Way) int { return cmp.Compare(a.Stack, b.Stack) })
	return ways
}

// Catalog returns all sets by name.
func Catalog() (map[string]Set, error) { return readCatalog() }
