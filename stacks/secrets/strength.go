package secrets

import (
	"math"
	"strings"
	"time"
)

// An Entry is what can be said of one secret without showing it.
type Entry struct {
	Name  string `json:"name"`
	Stack string `json:"stack"` // "" for the user's own
	// Made is when its value was made or last changed; nil: it isn't known.
	Made *time.Time `json:"made"`
	// Bits of strength. For a generated value, the randomness that went into it; for
	// any other at most that many, judged by its length and its kinds of characters.
	Bits     int  `json:"bits"`
	AtMost   bool `json:"bits_at_most"` // Bits is only a bound
	Derived  bool `json:"derived"`      // it has no strength of its own: it is made from another secret
	Public   bool `json:"public"`       // it is meant to be seen
	Missing  bool `json:"missing"`      // Holdfast knows it, and it has no value
	Rotating bool `json:"rotating"`     // a new value is under way
	// Consumers are the services that read it, as "stack/service".
	Consumers []string `json:"consumers"`
	// Rotation says what rotating it entails.
	Rotation string `json:"rotation"`
	// Effects is Rotation in a word or two.
	Effects string `json:"effects"`
}

// List describes every secret that is there or that a rule knows, in the order of
// the rules; the user's own follow, sorted. uses names what reads those.
func (f *File) List(uses map[string][]string) []Entry {
	var list []Entry
	for _, r := range rules {
		e := Entry{Name: r.Name, Stack: r.Stack, Public: r.Public, Consumers: r.Consumers, Rotation: r.Rotation.Describe(), Effects: r.Rotation.effects()}
		value := f.Set[r.Name]
		e.Missing = value == ""
		switch {
		case r.Recipe.Derived():
			e.Derived = true
		case r.Recipe.made(value):
			e.Bits = r.Recipe.bits()
		default:
			e.Bits, e.AtMost = bound(value), true
		}
		list = append(list, f.dated(e))
	}
	for _, name := range f.Set.Names() {
		if _, known := ruleOf(name); known {
			continue
		}
		e := Entry{Name: name, Missing: f.Set[name] == "", Bits: bound(f.Set[name]), AtMost: true, Consumers: uses[name],
			Rotation: "yours: `holdfast secrets edit --set " + name + "`, then deploy", Effects: "yours"}
		list = append(list, f.dated(e))
	}
	return list
}

func (f *File) dated(e Entry) Entry {
	if e.Consumers == nil {
		e.Consumers = []string{} // a list in JSON too
	}
	if at, known := f.Made[e.Name]; known {
		e.Made = &at
	}
	if f.Rotation != nil {
		_, e.Rotating = f.Rotation.New[e.Name]
	}
	return e
}

// Derived reports whether values of the recipe are made from another secret.
func (r Recipe) Derived() bool { return r.Form == Token }

// bits is the randomness that goes into a value of the recipe.
func (r Recipe) bits() int {
	if r.Form == Opaque {
		return opaqueRandom * 6
	}
	return r.Bytes * 8
}

// made reports whether value looks as the recipe makes it.
func (r Recipe) made(value string) bool {
	switch r.Form {
	case Opaque:
		return validOpaqueKey(value, r.Prefix)
	case Base64:
		return len(value) == (r.Bytes+2)/3*4 && charsets[Base64Text].MatchString(value)
	default:
		digits, ok := strings.CutPrefix(value, r.Prefix)
		return ok && len(digits) == 2*r.Bytes && strings.Trim(digits, "0123456789abcdef") == ""
	}
}

// bound is the most strength, in bits, that a value of this length and these kinds
// of characters can have: what a random one would.
func bound(value string) int {
	const lower, upper, digits = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"
	alphabet := 0
	for _, class := range []string{lower, upper, digits} {
		if strings.ContainsAny(value, class) {
			alphabet += len(class)
		}
	}
	if strings.Trim(value, lower+upper+digits) != "" {
		alphabet += 33 // ASCII's other printable characters
	}
	if alphabet == 0 {
		return 0
	}
	return int(float64(len(value)) * math.Log2(float64(alphabet)))
}
