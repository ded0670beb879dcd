package lint

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"holdfast/stacks/migrate"
)

var update = flag.Bool("update", false, "write what is found into testdata/*.txtar")

// What Holdfast gives people to start from must not be what it complains about.
func TestTheExamplesMigrationsHaveNoFindings(t *testing.T) {
	read := 0
	for _, dir := range []string{"examples/production", "examples/minimal", "templates/lab"} {
		files, err := migrate.Read(os.DirFS("../../.."), dir+"/supabase/migrations")
		if err != nil {
			t.Fatal(err)
		}
		read += len(files)
		if r := Check(files, Options{}); len(r.Findings)+len(r.Ignored) > 0 {
			t.Errorf("%s:\n%s", dir, show(append(r.Findings, r.Ignored...)))
		}
	}
	if read == 0 {
		t.Error("there are none")
	}
}

// Each archive of testdata is a folder of migrations and what is found in it. A
// comment "pending: VERSION…" at its top says what the database lacks.
func TestFindingsAreAboutWhatTheFilesLeaveBehindAndWhatALiveDatabaseGoesThrough(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var files []migrate.File
			var options Options
			if m := regexp.MustCompile(`(?m)^pending: (.*)$`).FindSubmatch(archive.Comment); m != nil {
				options.Pending = strings.Fields(string(m[1]))
			}
			want := -1
			for i, f := range archive.Files {
				if f.Name == "want" {
					want = i
					continue
				}
				version, name, _ := strings.Cut(strings.TrimSuffix(f.Name, ".sql"), "_")
				files = append(files, migrate.File{Path: f.Name, Version: version, Name: name, SQL: string(f.Data)})
			}
			r := Check(files, options)
			got := show(r.Findings)
			for _, f := range r.Ignored {
				got += "accepted: " + f.Reason + ": " + show([]Finding{f})
			}
			for _, f := range r.Applied {
				got += "applied: " + show([]Finding{f})
			}
			if *update {
				if want < 0 {
					archive.Files = append(archive.Files, txtar.File{Name: "want"})
					want = len(archive.Files) - 1
				}
				archive.Files[want].Data = []byte(got)
				if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want < 0 || got != string(archive.Files[want].Data) {
				t.Errorf("found:\n%s\nwant:\n%s", got, archive.Files[max(want, 0)].Data)
			}
		})
	}
}
