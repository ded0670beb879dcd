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
	Name    string           `yaml:"set"`
	Stack   string           `yaml:"stack"`   // supabase, trigger, app or edge
	Version string           `yaml:"version"` // the stack's own version, where it has one
	Source  string           `yaml:"source"`  // where the set comes from
	Notes   string           `yaml:"notes"`   // what moving to it entails
	Images  map[string]Image `yaml:"images"`  // by service
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
