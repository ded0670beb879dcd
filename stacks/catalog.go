package stacks

import (
	"bytes"
	"embed"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"
)

//go:embed catalog/*.yaml
var catalog embed.FS

// A Set is one stack's images in versions that belong together.
type Set struct {
	Name    string `yaml:"set"`
	Stack   string `yaml:"stack"`   // supabase, trigger, app or edge
	Version string `yaml:"version"` // the stack's own version, where it has one
	// Released is the day upstream released it, as "2026-09-09"; the newest set of a
	// stack is the one of the latest day.
	Released string `yaml:"released"`
	// EndOfLife says since when and why nobody mends it any more; empty while
	// somebody does.
	EndOfLife  string           `yaml:"end-of-life"`
	PostgreSQL int              `yaml:"postgresql"` // the major version of its database; 0 where it has none
	Source     string           `yaml:"source"`     // where the set comes from
	Notes      string           `yaml:"notes"`      // what moving to it entails
	Changes    []string         `yaml:"changes"`    // what is different from the set before
	Upgrades   []Upgrade        `yaml:"upgrades"`   // the sets that one can come from
	Images     map[string]Image `yaml:"images"`     // by service
}

// An Upgrade is the way to a set from another one of the same stack.
type Upgrade struct {
	From  string   `yaml:"from" json:"from"`
	Steps []string `yaml:"steps" json:"steps"` // what happens on the way, in order
	// Manual is the procedure that a person has to go through first; empty when
	// the upgrade does everything.
	Manual string `yaml:"manual" json:"manual,omitempty"`
}

// From returns the way to the set from the one of that name.
func (s Set) From(name string) (Upgrade, bool) {
	i := slices.IndexFunc(s.Upgrades, func(u Upgrade) bool { return u.From == name })
	if i < 0 {
		return Upgrade{}, false
	}
	return s.Upgrades[i], true
}

// An Image is one pinned image of a set.
type Image struct {
	Ref  string `yaml:"ref"`
	Seen string `yaml:"seen"` // where the tag was read
	Note string `yaml:"note"`
}

// readCatalog reads the sets that this build carries, once.
var readCatalog = sync.OnceValues(func() (map[string]Set, error) {
	sets := map[string]Set{}
	files, err := catalog.ReadDir("catalog")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		data, err := catalog.ReadFile(path.Join("catalog", file.Name()))
		if err != nil {
			return nil, err
		}
		var set Set
		decoder := yaml.NewDecoder(bytes.NewReader(data))
		decoder.KnownFields(true)
		if err := decoder.Decode(&set); err != nil {
			return nil, fmt.Errorf("read catalog set %s: %w", file.Name(), err)
		}
		if set.Name+".yaml" != file.Name() {
			return nil, fmt.Errorf("read catalog set %s: it calls itself %q", file.Name(), set.Name)
		}
		sets[set.Name] = set
	}
	return sets, nil
})

// Sets returns the names of all sets of a stack, sorted; of all stacks when
// stack is empty.
func Sets(stack string) []string {
	sets, _ := readCatalog()
	var names []string
	for _, name := range slices.Sorted(maps.Keys(sets)) {
		if stack == "" || sets[name].Stack == stack {
			names = append(names, name)
		}
	}
	return names
}

// LookUp returns the set of that name.
func LookUp(name string) (Set, error) {
	sets, err := readCatalog()
	if err != nil {
		return Set{}, err
	}
	set, ok := sets[name]
	if !ok {
		return Set{}, fmt.Errorf("there is no catalog set %q; this version has %s", name, strings.Join(Sets(""), ", "))
	}
	return set, nil
}
