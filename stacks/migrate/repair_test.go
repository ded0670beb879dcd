package migrate

import (
	"fmt"
	"testing"

	"holdfast/internal/lab/pgtest"
)

func TestRepairCorrectsTheHistoryAlone(t *testing.T) {
	db := pgtest.New(t)
	conn := db.Connect(t, "postgres")
	files := folder(t, "1_a.sql", "create table public.a (id int);\nselect 1;", "2_b.sql", "create table public.b ()")
	for range 2 { // the second run is safe
		if err := Repair(t.Context(), conn, files, []string{"1", "2"}, true); err != nil {
			t.Fatal(err)
		}
	}
	if got := history(t, conn); got != "1 2" {
		t.Errorf("the history has %s", got)
	}
	if got := query(t, conn, "select name || statements[2] from supabase_migrations.schema_migrations where version = '1'"); got != "aselect 1" {
		t.Errorf("recorded %q", got)
	}
	if got := query(t, conn, "select to_regclass('public.a')::text"); got != "null" {
		t.Error("the migration was run")
	}
	if result, err := Up(t.Context(), conn, files, Options{}); err != nil || len(result.Applied) != 0 {
		t.Errorf("afterwards applied %v, %v", versions(result.Applied), err)
	}
	if err := Repair(t.Context(), conn, files, []string{"2", "9"}, false); err != nil {
		t.Fatal(err)
	}
	if got := history(t, conn); got != "1" {
		t.Errorf("the history has %s", got)
	}
	for versions, says := range map[string]string{"3": "the folder holds no file of version 3", "1_a": "is not a version"} {
		mustSay(t, Repair(t.Context(), conn, files, []string{versions}, true), says, untouched)
	}
	mustSay(t, Repair(t.Context(), conn, files, nil, true), "no versions are given")
}

func TestAnEditedFileIsShownAsADiff(t *testing.T) {
	db := pgtest.New(t)
	conn := db.Connect(t, "postgres")
	if _, err := Up(t.Context(), conn, folder(t, "1_a.sql", "create table public.a (id int);\n\n-- what for\nselect 1;\n", "2_b.sql", "select 2", "3_c.sql", "select 3"), Options{}); err != nil {
		t.Fatal(err)
	}
	status, err := ReadStatus(t.Context(), conn, folder(t, "1_a.sql", "create table public.a (id bigint);\n-- what for\nselect 1;", "2_b.sql", "\nselect   2;\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"1": "--- applied/1\n+++ supabase/migrations/1_a.sql\n@@ -1,3 +1,3 @@\n-create table public.a (id int);\n+create table public.a (id bigint);\n -- what for\n select 1;\n",
		"2": "",
		"3": "--- applied/3\n+++ 3 (not in the folder)\n@@ -1 +0,0 @@\n-select 3;\n",
		"4": "",
	}
	for version, diff := range want {
		if got := status.Diff(version); got != diff {
			t.Errorf("%s:\n%s", version, got)
		}
	}
	if got := fmt.Sprint(versions(status.Changed), status.RemoteOnly); got != "[1] [3]" {
		t.Errorf("changed and remote only: %s", got)
	}
}
