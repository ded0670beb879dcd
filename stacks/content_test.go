package stacks

import (
	"os"
	"slices"
	"testing"
)

func TestWhatIsMountedKeepsItsPlaceUntilItsContentChanges(t *testing.T) {
	host := localHost{t.TempDir()}
	render := func(text, other string) (*Release, string) {
		r := &rendering{}
		r.add("edge/Caddyfile", []byte(text))
		r.add("edge/compose.yml", []byte(other))
		if _, err := r.mount("edge/Caddyfile"); err != nil {
			t.Fatal(err)
		}
		release := &Release{Files: r.files, Contents: Contents{Mounts: r.mounts}}
		if err := release.seal(); err != nil {
			t.Fatal(err)
		}
		if err := Upload(t.Context(), host, release); err != nil {
			t.Fatal(err)
		}
		return release, host.root + release.Mounts[0].target()[len(Root):]
	}
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	first, at := render("one", "a")
	if got := read(at); got != "one" {
		t.Errorf("mounted is %q", got)
	}
	second, same := render("one", "b")
	if second.ID == first.ID || same != at {
		t.Errorf("another release moved what did not change from %s to %s", at, same)
	}
	third, moved := render("two", "b")
	if moved == at || read(moved) != "two" || read(at) != "one" {
		t.Errorf("changed content is at %s", moved)
	}
	// A hand edit of what is mounted shows, and is mended where it is mounted.
	if err := (Launch{Host: host, Release: third}).Point(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(moved, []byte("edited"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := host.state(t).Altered; !slices.Equal(got, []string{"edge/Caddyfile"}) {
		t.Errorf("altered files: %q", got)
	}
	if err := Upload(t.Context(), host, third); err != nil {
		t.Fatal(err)
	}
	if got := read(moved); got != "two" {
		t.Errorf("mounted is still %q", got)
	}
	if _, err := (&rendering{}).mount("edge/Caddyfile"); err == nil {
		t.Error("a file that the release lacks can be mounted")
	}
}
