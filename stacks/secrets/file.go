package secrets

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// A File is what secrets.age holds.
type File struct {
	// Set is the values in force.
	Set Set
	// Made says when a value was made or last changed. Values from before this was
	// kept, or written by hand, have no entry.
	Made map[string]time.Time
	// Rotation is one that was begun and is not ended; nil: none.
	Rotation *Rotation
}

// A Rotation is a change of values that the servers take part in: until it is
// ended, a database may accept either the old value or the new one.
type Rotation struct {
	Began time.Time
	New   Set // the values that take the place of those in force
}

// Names returns what the rotation changes, in alphabetical order.
func (r *Rotation) Names() []string { return r.New.Names() }

// Wanted returns the values as they will be: those in force, and in place of
// some the new ones of a rotation that is under way.
func (f *File) Wanted() Set {
	set := maps.Clone(f.Set)
	if set == nil {
		set = Set{}
	}
	if f.Rotation != nil {
		maps.Copy(set, f.Rotation.New)
	}
	return set
}

// Put makes values those in force, as of now. A value that is the same keeps its age.
func (f *File) Put(values Set, now time.Time) {
	if f.Set == nil {
		f.Set = Set{}
	}
	if f.Made == nil {
		f.Made = map[string]time.Time{}
	}
	for name, value := range values {
		if old, had := f.Set[name]; !had || old != value {
			f.Set[name] = value
			f.Made[name] = now.UTC().Truncate(time.Second)
		}
	}
}

// Remove takes a secret out.
func (f *File) Remove(name string) {
	delete(f.Set, name)
	delete(f.Made, name)
}

// Begin notes a rotation to new values; those that are in force already are left out.
func (f *File) Begin(values Set, now time.Time) {
	values = maps.Clone(values)
	maps.DeleteFunc(values, func(name, value string) bool { return f.Set[name] == value })
	f.Rotation = &Rotation{Began: now.UTC().Truncate(time.Second), New: values}
}

// Finish puts a rotation's new values in force.
func (f *File) Finish(now time.Time) {
	if f.Rotation != nil {
		f.Put(f.Rotation.New, now)
		f.Rotation = nil
	}
}

// TakeBack forgets a rotation: the values in force stay.
func (f *File) TakeBack() { f.Rotation = nil }

// Rotatable returns the names that rotating everything changes, sorted: the
// secrets that Holdfast makes and that are there, but neither mere names nor those
// whose rotation loses data.
func (f *File) Rotatable() []string {
	var names []string
	for _, r := range rules {
		if f.Set[r.Name] != "" && !r.Identifier && r.Rotation.Loses == "" {
			names = append(names, r.Name)
		}
	}
	slices.Sort(names)
	return names
}

// Known reports whether a rule says how a secret is made: Holdfast makes it.
func Known(name string) bool {
	_, known := ruleOf(name)
	return known
}

// ValidName reports whether a secret may be called so.
func ValidName(name string) bool { return nameForm.MatchString(name) }

// Text returns the values in force in the form in which they are edited.
func (f *File) Text() ([]byte, error) { return marshal(&File{Set: f.Set, Made: f.Made}) }

// ParseText reads what Text returned and a person changed. Its errors say the line
// and hold no value.
func ParseText(text []byte) (Set, error) {
	f, err := unmarshal(text)
	if err != nil {
		return nil, fmt.Errorf("read the edited secrets: %w", err)
	}
	if f.Rotation != nil {
		return nil, fmt.Errorf("read the edited secrets: %q is no secret's name", rotationKey)
	}
	return f.Set, nil
}
