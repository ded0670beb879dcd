package stacks

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/probe"
)

// kept observes the folder's releases as a server would be.
func (h localHost) kept(t *testing.T) []Kept {
	t.Helper()
	nonce := probe.Nonce()
	var out, errs bytes.Buffer
	if err := h.Run(t.Context(), probe.Script(nonce, KeptProbes()), nil, &out, &errs); err != nil {
		t.Fatal(err)
	}
	outputs, err := probe.Parse(nonce, out.Bytes(), errs.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	kept, err := ParseKept(outputs)
	if err != nil {
		t.Fatal(err)
	}
	return kept
}

// recorder is a localHost that keeps what `docker` was asked for.
type recorder struct {
	localHost
	scripts *strings.Builder
}

func (h recorder) Run(ctx context.Context, script string, stdin io.Reader, stdout, stderr io.Writer) error {
	h.scripts.WriteString(script)
	return h.localHost.Run(ctx, "docker() { :; }\n"+script, stdin, stdout, stderr)
}

func TestReleasesAreListedAsTheyRanAndPrunedWithWhatOnlyTheyHad(t *testing.T) {
	host := localHost{t.TempDir()}
	var ids []string
	for i, name := range []string{"one", "two", "three", "never"} {
		r := &rendering{}
		r.add("edge/Caddyfile", []byte(name))
		if _, err := r.mount("edge/Caddyfile"); err != nil {
			t.Fatal(err)
		}
		release := &Release{Files: r.files, Contents: Contents{
			Sets:     map[string]ReleasedSet{"edge": {Name: "edge-" + name}},
			Projects: []Project{{Name: "edge", File: "edge/compose.yml", Services: []Service{{Name: "caddy", Image: "caddy:" + name}, {Name: "same", Image: "same:1"}}}},
			Mounts:   r.mounts,
		}}
		if err := release.seal(); err != nil {
			t.Fatal(err)
		}
		if err := Upload(t.Context(), host, release); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, release.ID)
		launch := Launch{Host: host, Release: release}
		former := ""
		if i > 0 {
			former = ids[i-1]
		}
		if err := launch.Begin(t.Context(), former, []string{"2024", "202" + string(rune('4'+i))}); err != nil {
			t.Fatal(err)
		}
		if name == "never" {
			continue
		}
		if err := launch.Point(t.Context()); err != nil {
			t.Fatal(err)
		}
		// The order of what ran goes by whole seconds.
		at := time.Unix(1_800_000_000+int64(i), 0)
		if err := os.Chtimes(filepath.Join(host.root, "started", release.ID), at, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(host.root, "releases", ids[0], "edge", "Caddyfile"), []byte("edited"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(host.root, "releases", "somebody's own"), 0o755); err != nil {
		t.Fatal(err)
	}
	kept := host.kept(t)
	var listed []string
	for _, k := range kept {
		listed = append(listed, k.ID)
	}
	if want := []string{ids[2], ids[1], ids[0], ids[3]}; !slices.Equal(listed, want) {
		t.Fatalf("listed are %q, want %q", listed, want)
	}
	if k := kept[1]; k.Contents.Sets["edge"].Name != "edge-two" || k.Bytes == 0 || len(k.Altered) > 0 || !slices.Equal(k.Migrations, []string{"2024", "2026"}) {
		t.Errorf("the second release is %+v", k)
	}
	if !slices.Equal(kept[2].Altered, []string{"edge/Caddyfile"}) || !kept[3].Started.IsZero() {
		t.Errorf("altered: %q; never started: %s", kept[2].Altered, kept[3].Started)
	}
	if good, ok := LastGood(kept, ids[2]); !ok || good.ID != ids[1] {
		t.Errorf("the last good release is %q, want %q", good.ID, ids[1])
	}
	if state := host.state(t); state.Current != ids[2] {
		t.Errorf("current is %q", state.Current)
	}

	var scripts strings.Builder
	stay, superfluous := Superfluous(kept, ids[2], 2)
	if err := Prune(t.Context(), recorder{host, &scripts}, stay, superfluous); err != nil {
		t.Fatal(err)
	}
	left := host.kept(t)
	if len(left) != 2 || left[0].ID != ids[2] || left[1].ID != ids[1] {
		t.Errorf("left are %+v", left)
	}
	content, err := os.ReadDir(filepath.Join(host.root, "content"))
	if err != nil || len(content) != 2 {
		t.Errorf("left of what is mounted: %v, %v", content, err)
	}
	for ref, goes := range map[string]bool{"caddy:one": true, "caddy:never": true, "caddy:two": false, "caddy:three": false, "same:1": false} {
		if strings.Contains(scripts.String(), "image rm "+ref) != goes {
			t.Errorf("%s: removed is %t", ref, !goes)
		}
	}
	if _, err := os.Stat(filepath.Join(host.root, "releases", "somebody's own")); err != nil {
		t.Errorf("somebody's folder: %v", err)
	}
}

func TestTheRunningAndTheLastGoodReleaseStayHoweverOldTheyAre(t *testing.T) {
	at := func(n int64) time.Time { return time.Unix(n, 0) }
	kept := []Kept{{ID: "d", Started: at(9)}, {ID: "c", Started: at(8)}, {ID: "b", Started: at(7)}, {ID: "a", Started: at(6)}, {ID: "f", Uploaded: at(20)}}
	ids := func(list []Kept) (out string) {
		for _, k := range list {
			out += k.ID
		}
		return out
	}
	for _, c := range []struct {
		current    string
		keep       int
		stay, gone string
	}{
		{"d", 2, "dc", "baf"},
		{"d", 3, "dcb", "af"},
		{"a", 2, "da", "cbf"}, // after a rollback to the oldest, before it is noted
		{"d", 5, "dcbaf", ""},
		{"", 2, "dc", "baf"},
	} {
		stay, superfluous := Superfluous(kept, c.current, c.keep)
		if ids(stay) != c.stay || ids(superfluous) != c.gone {
			t.Errorf("%q, keep %d: stay %s, go %s; want %s and %s", c.current, c.keep, ids(stay), ids(superfluous), c.stay, c.gone)
		}
	}
}
