package lint

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"holdfast/internal/lab/pgtest"
	"holdfast/stacks/migrate"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

var fileLine = regexp.MustCompile(`(?m)^-- ([0-9]+)_(\w+)\.sql\n`)

// folder makes files of an example: those its marker lines name, or one.
func folder(given, example string) []migrate.File {
	var files []migrate.File
	add := func(version, name, sql string) {
		files = append(files, migrate.File{Path: "supabase/migrations/" + version + "_" + name + ".sql", Version: version, Name: name, SQL: sql})
	}
	if given != "" {
		add("20260101000000", "given", given)
	}
	marks := fileLine.FindAllStringSubmatchIndex(example, -1)
	if len(marks) == 0 {
		add("20260201000000", "example", example)
	}
	for i, m := range marks {
		end := len(example)
		if i+1 < len(marks) {
			end = marks[i+1][0]
		}
		add(example[m[2]:m[3]], example[m[4]:m[5]], example[m[1]:end])
	}
	return files
}

// show prints findings, one a line.
func show(findings []Finding) string {
	var b strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&b, "%s:%d:%d %s %s: %s\n", strings.TrimPrefix(f.Path, "supabase/migrations/"), f.Line, f.Column, f.Severity, f.Rule, f.Message)
	}
	return b.String()
}

func has(findings []Finding, rule string) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool { return f.Rule == rule })
}

// reported leaves out what is in the example's given part, which is only there
// to build on.
func reported(r Result) []Finding {
	return slices.DeleteFunc(r.Findings, func(f Finding) bool { return strings.HasSuffix(f.Path, "_given.sql") })
}

func TestEachRuleFiresOnItsWrongExampleAndIsSilentOnItsRightOne(t *testing.T) {
	for _, rule := range Rules() {
		t.Run(rule.ID, func(t *testing.T) {
			if rule.Wrong == "" || rule.Right == "" || rule.Why == "" || rule.Title == "" || len(rule.Sources) == 0 || rule.Severity.rank() < 0 {
				t.Fatal("the rule is not complete")
			}
			wrong := reported(Check(folder(rule.Given, rule.Wrong), Options{}))
			if !has(wrong, rule.ID) {
				t.Errorf("silent on its wrong example:\n%s", show(wrong))
			}
			for _, f := range wrong {
				if f.Rule == rule.ID && f.Fix == "" {
					t.Errorf("no fix: %s", show([]Finding{f}))
				}
			}
			if right := reported(Check(folder(rule.Given, rule.Right), Options{})); len(right) > 0 {
				t.Errorf("its right example has findings:\n%s", show(right))
			}
		})
	}
}

// An example that PostgreSQL refuses for another reason teaches nothing.
func TestPostgreSQLTakesTheExamples(t *testing.T) {
	shared := pgtest.New(t).Connect(t, "supabase_admin")
	for _, rule := range Rules() {
		if slices.Contains([]string{"syntax", "transaction.control", "file.order"}, rule.ID) {
			continue
		}
		for _, example := range []struct{ word, sql string }{{"wrong", rule.Wrong}, {"right", rule.Right}} {
			t.Run(rule.ID+"/"+example.word, func(t *testing.T) {
				var list []migrate.Statement
				alone := false
				for _, file := range folder(rule.Given, example.sql) {
					statements, err := file.Statements()
					if err != nil {
						t.Fatal(err)
					}
					for _, s := range statements {
						alone = alone || s.Alone() != ""
						list = append(list, s)
					}
				}
				conn := shared
				if alone {
					conn = pgtest.New(t).Connect(t, "supabase_admin")
				} else {
					// Roles are the cluster's, and nothing is to be left of them.
					if _, err := conn.Exec(t.Context(), "begin"); err != nil {
						t.Fatal(err)
					}
					defer conn.Exec(t.Context(), "rollback; reset all; reset role")
				}
				for _, s := range list {
					if strings.Contains(s.SQL, "vault.") {
						continue // the test cluster has no vault
					}
					if _, err := conn.Exec(t.Context(), s.SQL); err != nil {
						t.Errorf("%s: %v", s.SQL, err)
					}
				}
			})
		}
	}
}

// cured are the rules about the end state: their fix, as a later migration,
// takes the finding away.
var cured = []string{"rls.off", "rls.disabled", "policy.inert", "policy.open-write", "policy.open-read", "policy.no-identity", "policy.storage-open", "policy.check-weaker", "policy.user-metadata",
	"grant.anon", "grant.truncate", "grant.create", "grant.service-schema", "function.search-path", "function.definer-granted", "view.security-invoker", "view.auth-users",
	"view.materialized", "table.foreign"}

var placeholder = regexp.MustCompile(`<[^>\n]+>`)

// What a finding offers as right is SQL, and helps.
func TestTheFixesAreSQLAndHelp(t *testing.T) {
	for _, rule := range Rules() {
		if slices.Contains([]string{"syntax", "transaction.control", "transaction.alone", "file.order", "ignore.invalid", "ignore.unused"}, rule.ID) {
			continue // theirs are words
		}
		files := folder(rule.Given, rule.Wrong)
		for _, f := range reported(Check(files, Options{})) {
			if f.Rule != rule.ID {
				continue
			}
			// A choice of two is offered as a comment.
			sql := strings.ReplaceAll(f.Fix, "-- or: ", "")
			sql = placeholder.ReplaceAllString(sql, "x")
			if _, err := parse(sql + "\n;select 1"); err != nil {
				t.Errorf("%s: %v in its fix:\n%s", rule.ID, err, sql)
			}
			if !slices.Contains(cured, rule.ID) {
				continue
			}
			mended := append(slices.Clone(files), migrate.File{Path: "3_fix.sql", Version: "3", SQL: sql})
			if left := Check(mended, Options{}); has(left.Findings, rule.ID) {
				t.Errorf("%s: its fix does not help:\n%s\n%s", rule.ID, sql, show(left.Findings))
			}
		}
	}
}
