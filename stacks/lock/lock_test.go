package lock

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdfast/internal/environment"
)

var (
	d1   = "sha256:" + strings.Repeat("1", 64)
	d2   = "sha256:" + strings.Repeat("2", 64)
	noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
)

func image(ref, digest string, at time.Time) Image {
	name, tag := split(ref)
	return Image{Name: name, Tag: tag, Digest: digest, Platform: "linux/amd64", Locked: at}
}

func TestAFileReadsBackAsItWasWrittenAndSorted(t *testing.T) {
	dir := t.TempDir()
	a, b, c := image("caddy:2.11.4", d1, noon), image("localhost:5000/web:1.4.2", d2, noon), image("caddy:2.10.0", d2, noon)
	if err := Write(dir, Lock{Images: []Image{b, a, c}}); err != nil {
		t.Fatal(err)
	}
	got, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Lock{Images: []Image{c, a, b}}, got); diff != "" {
		t.Error(diff)
	}
	data, err := os.ReadFile(filepath.Join(dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	want := header + `images:
  - image: caddy
    tag: 2.10.0
    digest: ` + d2 + `
    platform: linux/amd64
    locked: 2026-11-23T12:00:00Z
`
	if !strings.HasPrefix(string(data), want) {
		t.Errorf("got\n%s\nwant it to start with\n%s", data, want)
	}
	if err := Write(dir, got); err != nil {
		t.Fatal(err)
	}
	again, _ := os.ReadFile(filepath.Join(dir, FileName))
	if string(again) != string(data) {
		t.Error("the same lock made another file")
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 1 {
		t.Errorf("writing left %v", entries)
	}
}

func TestAFolderWithoutALockHasAnEmptyOne(t *testing.T) {
	got, err := Read(t.TempDir())
	if err != nil || len(got.Images) != 0 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestReadingSaysWhereAFileIsWrong(t *testing.T) {
	entry := "images:\n  - image: caddy\n    tag: 2.11.4\n    digest: " + d1 + "\n    platform: linux/amd64\n    locked: 2026-11-23T12:00:00Z\n"
	for name, c := range map[string]struct{ text, want string }{
		"empty":         {"# nothing\n", "holdfast.lock: it is empty"},
		"conflict":      {"images:\n<<<<<<< HEAD\n  - image: caddy\n", "holdfast.lock:2: this is not YAML"},
		"unknown key":   {strings.Replace(entry, "digest:", "digset:", 1), `holdfast.lock:4:5: unknown key "digset" in an image (did you mean "digest"?)`},
		"missing key":   {strings.Replace(entry, "    tag: 2.11.4\n", "", 1), "holdfast.lock:2:5: an image lacks tag"},
		"short digest":  {strings.Replace(entry, d1, "sha256:11", 1), "holdfast.lock:4:13: digest is not"},
		"no time":       {strings.Replace(entry, "2026-11-23T12:00:00Z", "yesterday", 1), "holdfast.lock:6:13: locked is not a time"},
		"platform":      {strings.Replace(entry, "linux/amd64", "amd64", 1), "holdfast.lock:5:15: platform is not a platform"},
		"twice":         {entry + strings.TrimPrefix(entry, "images:\n"), "holdfast.lock:7:5: caddy:2.11.4 is locked twice"},
		"key twice":     {strings.Replace(entry, "    tag", "    tag: 1.0.0\n    tag", 1), "tag"},
		"list":          {"[]\n", "holdfast.lock:1:1: the file must be a map of images"},
		"images a text": {"images: none\n", "holdfast.lock:1:9: images must be a list"},
		"not an entry":  {"images: [caddy]\n", "holdfast.lock:1:10: an image must be a map"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(FileName, []byte(c.text))
			var wrong environment.Errors
			if !errors.As(err, &wrong) {
				t.Fatalf("got %v, want an environment.Errors", err)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add("images:\n  - image: caddy\n    tag: 2.11.4\n    digest: " + d1 + "\n    platform: linux/amd64\n    locked: 2026-11-23T12:00:00Z\n")
	f.Add("images: &a [*a]")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := parse(FileName, []byte(text))
		if err != nil {
			return
		}
		for _, image := range l.Images {
			if image.Tag == "" || !digestForm.MatchString(image.Digest) {
				t.Errorf("%+v was accepted", image)
			}
		}
	})
}

func TestRenewingKeepsTheTimeOfWhatStayed(t *testing.T) {
	later := noon.Add(time.Hour)
	old := Lock{Images: []Image{image("a:1.0.0", d1, noon), image("b:1.0.0", d1, noon), image("gone:1.0.0", d1, noon), {Name: "p", Tag: "1.0.0", Digest: d1, Platform: "linux/arm64", Locked: noon}}}
	renewed, changes := old.Renew([]Image{image("a:1.0.0", d1, later), image("b:1.0.0", d2, later), image("c:1.0.0", d2, later), image("p:1.0.0", d2, later)})
	if diff := cmp.Diff([]Image{image("a:1.0.0", d1, noon), image("b:1.0.0", d2, later), image("c:1.0.0", d2, later), image("p:1.0.0", d2, later)}, renewed.Images); diff != "" {
		t.Error(diff)
	}
	kinds := map[string]Kind{}
	for _, c := range changes {
		kinds[c.Ref] = c.Kind
	}
	if diff := cmp.Diff(map[string]Kind{"b:1.0.0": Moved, "c:1.0.0": Added, "p:1.0.0": Added, "gone:1.0.0": Unneeded}, kinds); diff != "" {
		t.Error(diff)
	}

	err := Refuse(changes, nil)
	var moved *MovedError
	if !errors.As(err, &moved) {
		t.Fatalf("got %v, want a *MovedError", err)
	}
	for _, want := range []string{"b:1.0.0", d1, d2, "2026-11-23T12:00:00Z"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %s", err, want)
		}
	}
	if !strings.Contains(moved.Hint(), "--accept-moved b:1.0.0") {
		t.Errorf("hint: %s", moved.Hint())
	}
	if err := Refuse(changes, []string{"b:1.0.0"}); err != nil {
		t.Errorf("an accepted move was refused: %v", err)
	}
	if err := Refuse(changes, []string{"c:1.0.0"}); err == nil {
		t.Error("accepting one image accepted another")
	}
}

func TestAgainstSaysWhatTheLockLacksAndHasTooMuch(t *testing.T) {
	l := Lock{Images: []Image{image("a:1.0.0", d1, noon), image("gone:1.0.0", d1, noon)}}
	if changes := l.Against([]string{"a:1.0.0", "gone:1.0.0"}, "linux/amd64"); len(changes) != 0 {
		t.Errorf("a lock that fits: %v", changes)
	}
	var got []string
	for _, c := range l.Against([]string{"a:1.0.0", "new:1.0.0"}, "linux/arm64") {
		got = append(got, string(c.Kind)+" "+c.Ref)
	}
	if diff := cmp.Diff([]string{"added a:1.0.0", "added new:1.0.0", "unneeded gone:1.0.0"}, got); diff != "" {
		t.Error(diff)
	}
	if pins := l.Pins("linux/arm64", ""); len(pins) != 0 {
		t.Errorf("what is locked for amd64 is pulled for arm64: %v", pins)
	}
}

func TestAMirrorKeepsRegistriesApart(t *testing.T) {
	for ref, want := range map[string]string{
		"caddy:2.11.4":                   "m.example.com/p/docker.io/library/caddy:2.11.4",
		"docker.io/caddy:2.11.4":         "m.example.com/p/docker.io/library/caddy:2.11.4",
		"supabase/gotrue:v2.196.0":       "m.example.com/p/docker.io/supabase/gotrue:v2.196.0",
		"ghcr.io/x/y:1.0.0":              "m.example.com/p/ghcr.io/x/y:1.0.0",
		"localhost:5000/web:1.0.0":       "m.example.com/p/localhost_5000/web:1.0.0",
		"m.example.com/p/web:1.0.0":      "m.example.com/p/web:1.0.0",
		"m.example.com.evil/web:1.0.0":   "m.example.com/p/m.example.com.evil/web:1.0.0",
		"registry.example.com/web:1.0.0": "m.example.com/p/registry.example.com/web:1.0.0",
	} {
		if got := Mirrored(ref, "m.example.com/p"); got != want {
			t.Errorf("Mirrored(%s) = %s, want %s", ref, got, want)
		}
		if got := Mirrored(ref, ""); got != ref {
			t.Errorf("without a mirror %s became %s", ref, got)
		}
	}
	pins := Lock{Images: []Image{image("caddy:2.11.4", d1, noon)}}.Pins("linux/amd64", "m.example.com")
	if diff := cmp.Diff(map[string]string{"caddy:2.11.4": "m.example.com/docker.io/library/caddy:2.11.4@" + d1}, pins); diff != "" {
		t.Error(diff)
	}
}

func TestAFolderThatCantBeWrittenKeepsItsLock(t *testing.T) {
	if err := Write(filepath.Join(t.TempDir(), "missing"), Lock{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
