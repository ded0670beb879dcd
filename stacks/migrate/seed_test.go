package migrate

import (
	"strings"
	"testing"
	"testing/fstest"

	"holdfast/internal/lab/pgtest"
)

func TestSeedsAreThoseThatTheConfigNames(t *testing.T) {
	files := func(config string) fstest.MapFS {
		return fstest.MapFS{
			"supabase/config.toml": {Data: []byte(config)}, "supabase/seed.sql": {Data: []byte("select 1")},
			"supabase/seeds/b.sql": {Data: []byte("select 2")}, "supabase/seeds/a.sql": {Data: []byte("select 3")}, "more.sql": {Data: []byte("select 4")},
		}
	}
	for config, want := range map[string]string{
		"":                           "supabase/seed.sql",
		"[db]\nport = 1\n":           "supabase/seed.sql",
		"[db.seed]\nenabled = false": "",
		"[db.seed]\nsql_paths = []":  "",
		"[db.seed]\nsql_paths = [\"./seeds/*.sql\", \"seeds/b.sql\", \"../more.sql\"]": "supabase/seeds/a.sql supabase/seeds/b.sql more.sql",
	} {
		seeds, err := ReadSeeds(files(config), "supabase")
		var got []string
		for _, s := range seeds {
			got = append(got, s.Path)
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: %v, %v", config, got, err)
		}
	}
	for config, says := range map[string]string{
		"[db.seed": "read supabase/config.toml",
		"[db.seed]\nsql_paths = [\"../../x.sql\"]": "lies outside",
		"[db.seed]\nsql_paths = [\"/etc/passwd\"]": "lies outside",
		"[db.seed]\nsql_paths = [\"[\"]":           "the seed pattern",
	} {
		_, err := ReadSeeds(files(config), "supabase")
		mustSay(t, err, says)
	}
	if seeds, err := ReadSeeds(fstest.MapFS{}, "supabase"); err != nil || seeds != nil {
		t.Errorf("without a folder: %v, %v", seeds, err)
	}
}

func TestASeedRunsOnceBehindTheGateAndWhenEditedOnlyItsHashIsRecorded(t *testing.T) {
	db := pgtest.New(t)
	conn := db.Connect(t, "postgres")
	seeds := func(sql string) []Seed {
		t.Helper()
		list, err := ReadSeeds(fstest.MapFS{"supabase/config.toml": {}, "supabase/seed.sql": {Data: []byte(sql)}}, "supabase")
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	var told []string
	up := func(sql string) error {
		_, err := Up(t.Context(), conn, folder(t, invoices...), Options{Seeds: seeds(sql), Tell: func(line string) { told = append(told, line) }})
		return err
	}
	mustSay(t, up("select 1;\ninsert into public.nope values (1)"), "supabase/seed.sql:2:13: relation \"public.nope\" does not exist", "nothing of the seeds was kept; the migrations are complete")
	mustSay(t, up("vacuum"), "VACUUM can't be part of a seed")
	row := "insert into public.invoices (owner) values (gen_random_uuid());"
	for _, sql := range []string{row, row, row + row} {
		if err := up(sql); err != nil {
			t.Fatal(err)
		}
	}
	if got := query(t, conn, "select count(*)::text from public.invoices"); got != "2" { // one is the migration's own
		t.Errorf("%s rows", got)
	}
	if got := query(t, conn, "select path || hash from supabase_migrations.seed_files"); got != "supabase/seed.sql"+seeds(row + row)[0].Hash {
		t.Errorf("recorded %s", got)
	}
	if got := strings.Join(told, "\n"); got != "supabase/seed.sql was edited since it was run; that is recorded, it is not run again" {
		t.Errorf("told %s", got)
	}
}
