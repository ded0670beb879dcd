package stacks

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// lineage is a catalog in which sets follow each other.
var lineage = map[string]Set{
	"db-1":    {Name: "db-1", Stack: "supabase", Released: "2026-01-01", PostgreSQL: 15},
	"db-2":    {Name: "db-2", Stack: "supabase", Released: "2026-02-01", PostgreSQL: 15, Changes: []string{"newer"}, Upgrades: []Upgrade{{From: "db-1", Steps: []string{"restart"}}}},
	"db-3":    {Name: "db-3", Stack: "supabase", Released: "2026-03-01", PostgreSQL: 17, Upgrades: []Upgrade{{From: "db-2", Manual: "run upgrade-pg17.sh"}}},
	"db-dead": {Name: "db-dead", Stack: "supabase", Released: "2026-09-01", EndOfLife: "nobody mends it", Upgrades: []Upgrade{{From: "db-1"}}},
	"edge-1":  {Name: "edge-1", Stack: "edge"},
	"jobs-1":  {Name: "jobs-1", Stack: "trigger"},
}

func TestTargetsAreTheNamedTheDeclaredOrTheNewestReachable(t *testing.T) {
	for _, c := range []struct {
		name, running, declared string
		named                   []string
		want, failure           string
	}{
		{"the newest that can be reached and is alive", "db-1", "db-1", nil, "db-2", ""},
		{"one behind a procedure", "db-2", "db-2", nil, "db-3", ""},
		{"nothing newer", "db-3", "db-3", nil, "db-3", ""},
		{"the folder is ahead", "db-1", "db-3", nil, "db-3", ""},
		{"named", "db-1", "db-1", []string{"db-dead"}, "db-dead", ""},
		{"another stack's is named, this one stays", "db-1", "db-1", []string{"edge-1"}, "db-1", ""},
		{"unknown", "db-1", "db-1", []string{"db-9"}, "", "no catalog set"},
		{"of a stack that is not declared", "db-1", "db-1", []string{"jobs-1"}, "", "does not declare"},
	} {
		got, err := Targets(lineage, map[string]ReleasedSet{"supabase": {Name: c.running}, "edge": {Name: "edge-1"}},
			map[string]Set{"supabase": lineage[c.declared], "edge": lineage["edge-1"]}, c.named)
		if c.failure != "" {
			if err == nil || !strings.Contains(err.Error(), c.failure) {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if err != nil || got["supabase"].Name != c.want || got["edge"].Name != "edge-1" {
			t.Errorf("%s: got %s and %v, want %s", c.name, got["supabase"].Name, err, c.want)
		}
	}
}

func TestAWayHasItsStepsAndAnUnknownOneSaysBetween(t *testing.T) {
	running := map[string]ReleasedSet{"supabase": {Name: "db-1"}}
	ways, err := Ways(lineage, running, map[string]Set{"supabase": lineage["db-2"], "edge": lineage["edge-1"]})
	if err != nil || len(ways) != 1 || ways[0].From != "db-1" || !slices.Equal(ways[0].Steps, []string{"restart"}) || !slices.Equal(ways[0].Changes, []string{"newer"}) {
		t.Errorf("%+v, %v", ways, err)
	}
	var no *NoWayError
	if _, err := Ways(lineage, running, map[string]Set{"supabase": lineage["db-3"]}); !errors.As(err, &no) || !strings.Contains(no.Hint(), "--to db-2") {
		t.Errorf("two sets on: %v", err)
	}
	// Backwards there is none.
	if _, err := Ways(lineage, map[string]ReleasedSet{"supabase": {Name: "db-3"}}, map[string]Set{"supabase": lineage["db-1"]}); !errors.As(err, &no) || !strings.Contains(no.Hint(), "rollback") {
		t.Errorf("back: %v", err)
	}
}

func TestImagesThatChangeAreToldByService(t *testing.T) {
	contents := func(images ...string) Contents {
		p := Project{Name: "supabase"}
		for i := 0; i < len(images); i += 2 {
			p.Services = append(p.Services, Service{Name: images[i], Image: images[i+1]})
		}
		return Contents{Sets: map[string]ReleasedSet{"supabase": {Name: "db-1"}}, Projects: []Project{p}}
	}
	ways := WithImages(nil, contents("db", "db:1", "rest", "rest:1", "gone", "gone:1"), contents("db", "db:1", "rest", "rest:2", "new", "new:1"))
	want := []ImageChange{{"rest", "rest:1", "rest:2"}, {"new", "", "new:1"}, {"gone", "gone:1", ""}}
	if len(ways) != 1 || ways[0].From != "db-1" || ways[0].To != "db-1" || !slices.Equal(ways[0].Images, want) {
		t.Errorf("got %+v", ways)
	}
	if ways := WithImages(nil, contents("db", "db:1"), contents("db", "db:1")); len(ways) != 0 {
		t.Errorf("nothing changes: %+v", ways)
	}
}

func TestDataOfAnotherMajorVersionIsSeen(t *testing.T) {
	contents := func(major int) Contents {
		return Contents{Sets: map[string]ReleasedSet{"supabase": {Name: "db", PostgreSQL: major}}}
	}
	for _, c := range []struct {
		set, data int
		want      bool
	}{{17, 15, true}, {15, 17, true}, {17, 17, false}, {17, 0, false}, {0, 15, false}} {
		got := MajorMismatches(contents(c.set), State{PostgreSQL: map[string]int{"supabase": c.data}})
		if (len(got) == 1) != c.want {
			t.Errorf("a set of %d on data of %d: %+v", c.set, c.data, got)
		}
	}
	if got := parseVolumes("supabase_db-data 17\ntrigger_postgres 14\nother 9\n"); got["supabase"] != 17 || got["trigger"] != 14 || len(got) != 2 {
		t.Errorf("read %v", got)
	}
}

func TestEverySetOfTheCatalogCanBeReachedOnlyFromOnesThatExist(t *testing.T) {
	sets, err := Catalog()
	if err != nil {
		t.Fatal(err)
	}
	for name, set := range sets {
		for _, u := range set.Upgrades {
			if from, ok := sets[u.From]; !ok || from.Stack != set.Stack {
				t.Errorf("%s can be reached from %q, which is no set of %s", name, u.From, set.Stack)
			}
			if from := sets[u.From]; from.PostgreSQL != set.PostgreSQL && u.Manual == "" {
				t.Errorf("%s: from %s it is another PostgreSQL, and no procedure says how", name, u.From)
			}
		}
	}
}
