package images

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func testLayer(t *testing.T, content string) layer {
	t.Helper()
	packed, err := packLayer([]node{{path: "a/b/c", content: []byte(content)}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "layer.tar")
	if err := os.WriteFile(path, packed, 0o600); err != nil {
		t.Fatal(err)
	}
	return layer{path, fmt.Sprintf("sha256:%x", sha256.Sum256(packed))}
}

func TestAnImageIsNamedByItsContent(t *testing.T) {
	shared, other := testLayer(t, "shared"), testLayer(t, "other")
	r := recipe{name: "x", settings: settings{Env: []string{path}}}
	first, err := newImage(r, shared)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := newImage(r, shared)
	changed, _ := newImage(r, shared, other)
	if first.ref() != again.ref() || first.ref() == changed.ref() {
		t.Errorf("%s, again %s, changed %s", first.ref(), again.ref(), changed.ref())
	}
	want := fmt.Sprintf("holdfast.local/lab-x:sha256-%x", sha256.Sum256(first.config))
	if first.ref() != want {
		t.Errorf("%s, want %s", first.ref(), want)
	}
}

func TestAnArchiveHoldsASharedLayerOnce(t *testing.T) {
	shared := testLayer(t, "shared")
	var all []image
	for _, name := range []string{"one", "two"} {
		i, err := newImage(recipe{name: name, settings: settings{Cmd: []string{name}}}, shared, testLayer(t, name))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, i)
	}
	var b bytes.Buffer
	if err := writeArchive(&b, all); err != nil {
		t.Fatal(err)
	}
	entries := map[string][]byte{}
	for r := tar.NewReader(&b); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if entries[h.Name] != nil {
			t.Errorf("%s is there twice", h.Name)
		}
		if entries[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
	var manifest []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal(entries["manifest.json"], &manifest); err != nil {
		t.Fatal(err)
	}
	if len(entries) != 6 || len(manifest) != 2 { // three layers, two configs, the manifest
		t.Errorf("%d entries, %d images", len(entries), len(manifest))
	}
	for i, m := range manifest {
		if m.RepoTags[0] != all[i].ref() || !bytes.Equal(entries[m.Config], all[i].config) {
			t.Errorf("image %d: %v", i, m)
		}
		for _, l := range m.Layers {
			if fmt.Sprintf("%x/layer.tar", sha256.Sum256(entries[l])) != l {
				t.Errorf("layer %s has another content", l)
			}
		}
	}
}

func TestFoldersAboveAFileCanBeEntered(t *testing.T) {
	packed, err := packLayer([]node{{path: "a/b/", mode: 0o1777}, {path: "a/b/c", content: []byte("x")}, {path: "l", to: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for r := tar.NewReader(bytes.NewReader(packed)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %o %s", h.Name, h.Mode, h.Linkname))
	}
	if want := []string{"a/ 755 ", "a/b/ 1777 ", "a/b/c 755 ", "l 755 a"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestRegistryOfAReference(t *testing.T) {
	for ref, want := range map[string]string{
		"redis:7":                          "registry-1.docker.io",
		"supabase/studio:1":                "registry-1.docker.io",
		"docker.io/library/redis:7":        "registry-1.docker.io",
		"ghcr.io/triggerdotdev/trigger:v4": "ghcr.io",
		"localhost:5000/x":                 "localhost:5000",
		"localhost/x":                      "localhost",
	} {
		if got := registryOf(ref); got != want {
			t.Errorf("%s is pulled from %s, want %s", ref, got, want)
		}
	}
}

func TestEveryRecipeCanBePacked(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range recipes {
		if seen[r.name] {
			t.Errorf("%s is made twice", r.name)
		}
		seen[r.name] = true
		if len(r.Entrypoint)+len(r.Cmd) == 0 || len(r.Env) == 0 {
			t.Errorf("%s can't be run", r.name)
		}
		if _, err := packLayer(r.nodes); err != nil {
			t.Errorf("%s: %v", r.name, err)
		}
	}
}

func TestBuildOutsideOfACheckoutSaysSo(t *testing.T) {
	t.Chdir(t.TempDir())
	if _, err := newBuilder(t.Context(), Options{Cache: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "checkout") {
		t.Errorf("error %v", err)
	}
}
