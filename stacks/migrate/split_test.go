package migrate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func TestReadKeepsTheCLIsNamesAndOrder(t *testing.T) {
	fsys := fstest.MapFS{
		"m/20200101000000_init.sql":  {Data: []byte("select 0")},
		"m/20260102000000_b.sql":     {Data: []byte("\ufeffselect 2")},
		"m/20260101000000_a_b-c.sql": {Data: []byte("select 1")},
		"m/README.md":                {Data: []byte("hello")},
		"m/old/1_x.sql":              {Data: []byte("select 3")},
	}
	files, err := Read(fsys, "m")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files {
		got = append(got, f.Path+" "+f.Version+" "+f.Name+" "+f.SQL)
	}
	want := []string{"m/20260101000000_a_b-c.sql 20260101000000 a_b-c select 1", "m/20260102000000_b.sql 20260102000000 b select 2"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if files, err := Read(fsys, "nowhere"); err != nil || len(files) != 0 {
		t.Errorf("a missing folder: %v, %v", files, err)
	}
	for name, says := range map[string]string{
		"m/create_table.sql":         "m/create_table.sql would never be applied",
		"m/20260101000000_again.sql": "have the same version",
		"m/20260103000000_bad.sql":   "m/20260103000000_bad.sql:2:3: the byte 0xe9 is not UTF-8",
	} {
		bad := maps.Clone(fsys)
		bad[name] = &fstest.MapFile{Data: []byte("é\n--\xe9")}
		if _, err := Read(bad, "m"); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSplitKeepsCommentsForTheHistoryAndFindsTheFirstWord(t *testing.T) {
	f := File{Path: "f.sql", SQL: "-- one;\nselect 'a;b' ; ; /* two */ -- x\n create function f() returns int language plpgsql as $$ begin; return 1; end $$;\n\n-- trailing\n"}
	statements, err := f.split()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range statements {
		line, column := position(f.SQL, s.offset)
		got = append(got, fmt.Sprintf("%d:%d %q", line, column, s.sql))
	}
	got = append(got, fmt.Sprintf("%q", f.record(statements)))
	want := []string{
		`2:1 "select 'a;b'"`,
		`3:2 "create function f() returns int language plpgsql as $$ begin; return 1; end $$"`,
		`["-- one;\nselect 'a;b'" "/* two */ -- x\n create function f() returns int language plpgsql as $$ begin; return 1; end $$;\n\n-- trailing"]`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestAFileOfCommentsIsAnEmptyMigration(t *testing.T) {
	for _, sql := range []string{"", "-- nothing\n", "/* a /* b */ c */ ;;"} {
		if statements, err := (File{Path: "f.sql", SQL: sql}).parse(); err != nil || len(statements) != 0 {
			t.Errorf("%q: %v, %v", sql, statements, err)
		}
	}
}

func TestTableOriginsFollowsWhatBecomesOfATable(t *testing.T) {
	files := folder(t,
		"1_a.sql", "create table invoices (id int);\nalter table invoices enable row level security;\n\n/* c */ create table if not exists private.logs (id int); create table gone (id int);",
		"2_b.sql", "set search_path to api, public;\ncreate view totals as select 1;\nreset search_path; create table customers ();\nselect 1 as a into picked;\ncreate table \"Odd name\" ();",
		"3_c.sql", "alter table public.invoices disable row level security;\nalter table customers rename to clients;\nalter table clients set schema api;\ndrop table gone, \"Odd name\";\ncreate table if not exists picked ();",
		"4_d.sql", "create schema tmp; create table tmp.x (); alter schema tmp rename to kept; create table doomed.y (); drop schema doomed cascade;\ncreate materialized view m as select 1;",
	)
	got, err := TableOrigins(files)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, relation := range slices.Sorted(maps.Keys(got)) {
		lines = append(lines, relation+" "+strings.TrimPrefix(got[relation].String(), "supabase/migrations/"))
	}
	want := `api.clients 2_b.sql:3:20
api.totals 2_b.sql:2:1
kept.x 4_d.sql:1:20
private.logs 1_a.sql:4:9
public.invoices 3_c.sql:1:1
public.m 4_d.sql:2:1
public.picked 2_b.sql:4:1`
	if text := strings.Join(lines, "\n"); text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}
