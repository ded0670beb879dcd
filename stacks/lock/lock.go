// Package lock pins the images of an environment: it asks the registries for
// the digest behind each tag, keeps the answers in holdfast.lock, and says what
// has moved since.
//
// A lock holds the digest of the one manifest of the servers' platform, not of
// the index around it. Docker pulls it by name@digest in one request less, a
// mirror that copied one platform has it, it stays when an image of another
// platform is rebuilt, and a server of another architecture can't quietly run
// something else than what was locked.
package lock

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// FileName is the lock's name in an environment folder.
const FileName = "holdfast.lock"

// A Lock is the content of holdfast.lock: each image once, sorted by name and tag.
type Lock struct {
	Images []Image `yaml:"images" json:"images"`
}

// An Image is what one tag meant when it was locked.
type Image struct {
	Name     string    `yaml:"image" json:"image"` // as holdfast.yml or the catalog writes it, without the tag
	Tag      string    `yaml:"tag" json:"tag"`
	Digest   string    `yaml:"digest" json:"digest"`     // of the platform's manifest, "sha256:…"
	Platform string    `yaml:"platform" json:"platform"` // as in "linux/amd64"
	Locked   time.Time `yaml:"locked" json:"locked"`     // when the tag was first seen with this digest; UTC, whole seconds
}

// Ref returns the image as it is written: name:tag.
func (i Image) Ref() string { return i.Name + ":" + i.Tag }

// split takes a reference apart at its tag.
func split(ref string) (name, tag string) {
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
		return ref[:i], ref[i+1:]
	}
	return ref, ""
}

// Get returns the image of a reference.
func (l Lock) Get(ref string) (Image, bool) {
	i := slices.IndexFunc(l.Images, func(image Image) bool { return image.Ref() == ref })
	if i < 0 {
		return Image{}, false
	}
	return l.Images[i], true
}

// Pins returns what servers of a platform pull for each locked reference:
// name:tag@digest, from the mirror when one is named.
func (l Lock) Pins(platform, mirror string) map[string]string {
	pins := map[string]string{}
	for _, image := range l.Images {
		if image.Platform != platform {
			continue
		}
		pins[image.Ref()] = Mirrored(image.Ref(), mirror) + "@" + image.Digest
	}
	return pins
}

// Mirrored returns where a mirror has an image: MIRROR/REGISTRY/NAME, so that two
// registries' images of one name stay apart; a port's ":" becomes "_". What the
// mirror itself holds, and everything when mirror is "", stays as it is.
func Mirrored(ref, mirror string) string {
	if mirror == "" || strings.HasPrefix(ref, mirror+"/") {
		return ref
	}
	registry, name, ok := strings.Cut(ref, "/")
	// The first part is a registry when it looks like a host: so does Docker decide
	// (distribution/reference, splitDockerDomain).
	if !ok || !strings.ContainsAny(registry, ".:") && registry != "localhost" {
		registry, name = "docker.io", ref
	}
	if registry == "docker.io" && !strings.Contains(name, "/") {
		name = "library/" + name
	}
	return mirror + "/" + strings.ReplaceAll(registry, ":", "_") + "/" + name
}

// A Change is what differs between two locks, or between a lock and what an
// environment declares.
type Change struct {
	Ref    string    `json:"image"`
	Kind   Kind      `json:"change"`
	Old    string    `json:"old,omitempty"`    // digest
	New    string    `json:"new,omitempty"`    // digest
	Locked time.Time `json:"locked,omitzero"`  // when Old was locked
	Detail string    `json:"detail,omitempty"` // for people
}

// A Kind says in one word what happened to an image.
type Kind string

const (
	Added    Kind = "added"    // it was not locked, or for another platform
	Moved    Kind = "moved"    // its tag names other content than it did
	Unneeded Kind = "unneeded" // locked, and no longer declared
)

// Against compares a lock with the images that an environment declares for
// servers of a platform. Nothing is returned when the lock fits; no network is
// asked, so a moved tag is not noticed.
func (l Lock) Against(refs []string, platform string) []Change {
	var changes []Change
	for _, ref := range refs {
		image, ok := l.Get(ref)
		switch {
		case !ok:
			changes = append(changes, Change{Ref: ref, Kind: Added, Detail: "it is not locked"})
		case image.Platform != platform:
			changes = append(changes, Change{Ref: ref, Kind: Added, Old: image.Digest, Locked: image.Locked,
				Detail: fmt.Sprintf("it is locked for %s, and the servers are declared %s", image.Platform, platform)})
		}
	}
	return append(changes, l.unneeded(refs)...)
}

func (l Lock) unneeded(refs []string) []Change {
	var changes []Change
	for _, image := range l.Images {
		if !slices.Contains(refs, image.Ref()) {
			changes = append(changes, Change{Ref: image.Ref(), Kind: Unneeded, Old: image.Digest, Locked: image.Locked,
				Detail: "nothing declares it any more"})
		}
	}
	return changes
}

// Renew returns the lock that resolved images make, and what it changes of l. An
// image whose digest stayed keeps the time it was locked at, so that a lock which
// found nothing new is the same file.
func (l Lock) Renew(resolved []Image) (Lock, []Change) {
	var changes []Change
	var refs []string
	renewed := Lock{Images: slices.Clone(resolved)}
	for i, image := range renewed.Images {
		refs = append(refs, image.Ref())
		old, ok := l.Get(image.Ref())
		switch {
		case !ok:
			changes = append(changes, Change{Ref: image.Ref(), Kind: Added, New: image.Digest, Detail: "it was not locked"})
		case old.Platform != image.Platform:
			changes = append(changes, Change{Ref: image.Ref(), Kind: Added, Old: old.Digest, New: image.Digest, Locked: old.Locked,
				Detail: "it was locked for " + old.Platform})
		case old.Digest != image.Digest:
			changes = append(changes, Change{Ref: image.Ref(), Kind: Moved, Old: old.Digest, New: image.Digest, Locked: old.Locked,
				Detail: "its tag was pushed again"})
		default:
			renewed.Images[i].Locked = old.Locked
		}
	}
	renewed.sort()
	return renewed, append(changes, l.unneeded(refs)...)
}

func (l Lock) sort() {
	slices.SortFunc(l.Images, func(a, b Image) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Tag, b.Tag))
	})
}

// A MovedError refuses tags that name other content than they did.
type MovedError struct{ Changes []Change }

func (e *MovedError) Error() string {
	var b strings.Builder
	b.WriteString("a tag that was locked names another image now:")
	for _, c := range e.Changes {
		fmt.Fprintf(&b, "\n  %s: was %s (locked %s), is %s", c.Ref, c.Old, c.Locked.UTC().Format(time.RFC3339), c.New)
	}
	return b.String()
}

// Hint says what to do next.
func (e *MovedError) Hint() string {
	var flags strings.Builder
	for _, c := range e.Changes {
		flags.WriteString(" --accept-moved " + c.Ref)
	}
	return "find out from its publisher why it was pushed again, then `holdfast lock" + flags.String() + "`; holdfast.lock is as it was"
}

// Refuse returns a *MovedError about the changes that moved a tag which is not
// among those accepted, nil when there is none.
func Refuse(changes []Change, accepted []string) error {
	var moved []Change
	for _, c := range changes {
		if c.Kind == Moved && !slices.Contains(accepted, c.Ref) {
			moved = append(moved, c)
		}
	}
	if len(moved) == 0 {
		return nil
	}
	return &MovedError{moved}
}

var digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
