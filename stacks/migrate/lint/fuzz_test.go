package lint

import (
	"strings"
	"testing"
	"unicode/utf8"

	"holdfast/stacks/migrate"
)

// Whatever the files say, the linter comes back with findings whose places are
// in them, and with the same ones each time.
func FuzzCheck(f *testing.F) {
	migrate.Warm() // instrumented for fuzzing it takes longer than one input may
	for _, rule := range Rules() {
		f.Add(rule.Given, rule.Wrong)
		f.Add(rule.Wrong, rule.Right)
	}
	f.Add("create table t(a int)", "do $$ begin execute 'alter table t alter a type text'; end $$; -- holdfast:ignore")
	f.Add("select 1 'a' '\n'", "select 1 \"a\nb\" c d")
	f.Add("set search_path = ''; create table a()", "alter table a add check (((1))); create index on a ((1)) where (')' = '('); drop table a, b.c.d cascade")
	f.Fuzz(func(t *testing.T, first, second string) {
		files := []migrate.File{{Path: "1_a.sql", Version: "1", SQL: first}, {Path: "2_b.sql", Version: "2", SQL: second}}
		for _, file := range files {
			if !utf8.ValidString(file.SQL) || strings.ContainsRune(file.SQL, 0) {
				t.Skip() // migrate.Read refuses it
			}
		}
		r := Check(files, Options{})
		for _, list := range [][]Finding{r.Findings, r.Ignored, r.Applied} {
			for _, found := range list {
				text := strings.Split(first, "\n")
				if found.Path == "2_b.sql" {
					text = strings.Split(second, "\n")
				}
				if found.Line < 1 || found.Line > len(text) || found.Column < 1 || found.Column > utf8.RuneCountInString(text[found.Line-1])+1 {
					t.Fatalf("%d:%d is not in the file: %s", found.Line, found.Column, show([]Finding{found}))
				}
				if _, ok := Lookup(found.Rule); !ok || found.Message == "" || strings.ContainsRune(found.Message, '\n') {
					t.Fatalf("%#v", found)
				}
			}
		}
		again := Check(files, Options{})
		if show(r.Findings) != show(again.Findings) || show(r.Ignored) != show(again.Ignored) {
			t.Fatalf("another time it found\n%snot\n%s", show(again.Findings), show(r.Findings))
		}
	})
}
