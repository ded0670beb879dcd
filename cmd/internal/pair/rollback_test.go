package pair

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/internal/environment"
	"holdfast/internal/ui"
	"holdfast/stacks"
)

func TestARollbackPicksTheReleaseThatIsMeant(t *testing.T) {
	at := func(n int64) time.Time { return time.Unix(n, 0) }
	kept := []stacks.Kept{{ID: "aaaa00000000", Started: at(3)}, {ID: "aabb00000000", Started: at(2)}, {ID: "cc0000000000"}}
	for _, c := range []struct{ current, id, want, failure string }{
		{"aaaa00000000", "", "aabb00000000", ""},
		{"aabb00000000", "", "aaaa00000000", ""},
		{"", "", "aaaa00000000", ""},
		{"aaaa00000000", "cc", "cc0000000000", ""},
		{"aaaa00000000", "aa", "", "2 releases begin with aa"},
		{"aaaa00000000", "dd", "", "there is no release dd"},
	} {
		got, err := pick(kept, c.current, c.id)
		if got.ID != c.want || (err == nil) != (c.failure == "") || err != nil && (!strings.Contains(err.Error(), c.failure) || ui.HintOf(err) == "") {
			t.Errorf("%+v: got %q, %v", c, got.ID, err)
		}
	}
	if _, err := pick(kept[2:], "aaaa00000000", ""); err == nil {
		t.Error("one that never ran was picked")
	}
}

func TestARollbackSaysWhatStaysAndRefusesWhatCanNotRun(t *testing.T) {
	contents := func(set string, postgres int) stacks.Contents {
		return stacks.Contents{Sets: map[string]stacks.ReleasedSet{"supabase": {Name: set, PostgreSQL: postgres}}, Projects: []stacks.Project{{Name: "supabase"}}}
	}
	p := &Pair{Release: &stacks.Release{ID: "declared"}, Production: &Server{State: stacks.State{
		Current: "now", Releases: []string{"now", "before"}, Contents: contents("db-2", 17), PostgreSQL: map[string]int{"supabase": 17},
		Migrations: stacks.Migrations{Versions: []string{"1", "2"}},
	}}}
	before := func(change func(*stacks.Kept)) stacks.Kept {
		k := stacks.Kept{ID: "before", Started: time.Unix(1, 0), Migrations: []string{"1"}, Contents: contents("db-1", 17)}
		change(&k)
		return k
	}
	for _, c := range []struct {
		name    string
		change  func(*stacks.Kept)
		notes   string
		failure string
	}{
		{"migrations and a newer set", func(*stacks.Kept) {}, "1 migrations were applied since it ran, and stay: 2|supabase goes from set db-2 back to db-1", ""},
		{"nothing since", func(k *stacks.Kept) { k.Migrations = []string{"1", "2"}; k.Contents = contents("db-2", 17) }, "", ""},
		{"it never ran", func(k *stacks.Kept) { k.Started = time.Time{}; k.Contents = contents("db-2", 17) }, "it never became healthy before", ""},
		{"another major version", func(k *stacks.Kept) { k.Contents = contents("db-1", 15) }, "", "PostgreSQL 15, and the data of supabase is of PostgreSQL 17"},
		{"edited", func(k *stacks.Kept) { k.Altered = []string{"app/compose.yml"} }, "", "edited by hand: app/compose.yml"},
		{"mute", func(k *stacks.Kept) { k.Contents = stacks.Contents{} }, "", "does not say what it is made of"},
	} {
		notes, err := p.suitable(before(c.change))
		if c.failure != "" {
			if err == nil || !strings.Contains(err.Error(), c.failure) || ui.HintOf(err) == "" {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		got := strings.Join(notes, "|")
		if err != nil || !strings.HasPrefix(got, c.notes) || c.notes == "" && got != "" {
			t.Errorf("%s: notes %q, %v", c.name, got, err)
		}
	}
	// The folder that renders it can restore it.
	p.Release.ID = "before"
	if _, err := p.suitable(before(func(k *stacks.Kept) { k.Altered = []string{"app/compose.yml"} })); err != nil {
		t.Errorf("edited, and declared: %v", err)
	}
}

func TestAFolderThatAnUpgradeChangedIsPutBack(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(at("holdfast.yml"), []byte("was"), 0o644); err != nil {
		t.Fatal(err)
	}
	writes := func(name string) func() error {
		return func() error { return os.WriteFile(at(name), []byte("is"), 0o644) }
	}
	f := &folder{pair: &Pair{Env: &environment.Environment{Dir: dir}}, former: map[string][]byte{},
		files: map[string]func() error{"holdfast.yml": writes("holdfast.yml"), "holdfast.lock": writes("holdfast.lock")}}
	if err := f.write(); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(at("holdfast.yml")); string(text) != "is" {
		t.Errorf("written was %q", text)
	}
	if err := f.restore(); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(at("holdfast.yml")); string(text) != "was" {
		t.Errorf("put back was %q", text)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left are %v", left)
	}
}
