package migrate

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/internal/lab/pgtest"
)

// TestTheSupabaseCLIAndHoldfastContinueEachOther needs the CLI, whose path is in
// HOLDFAST_SUPABASE_CLI (npm install supabase; 3.1.0 was tried).
func TestTheSupabaseCLIAndHoldfastContinueEachOther(t *testing.T) {
	cli := os.Getenv("HOLDFAST_SUPABASE_CLI")
	if cli == "" {
		t.Skip("HOLDFAST_SUPABASE_CLI does not name the Supabase CLI")
	}
	db := pgtest.New(t)
	conn := db.Connect(t, "postgres")
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, "supabase", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	supabase := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(cli, append(args, "--workdir", dir, "--agent", "no")...)
		cmd.Env = append(os.Environ(), "HOME="+dir, "SUPABASE_TELEMETRY_DISABLED=1", "DO_NOT_TRACK=1")
		out, err := cmd.CombinedOutput()
		t.Logf("supabase %s\n%s", strings.Join(args, " "), out)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	read := func() []File {
		t.Helper()
		files, err := Read(os.DirFS(dir), "supabase/migrations")
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	remote := "--remote=" + db.URL("postgres", pgtest.Password)
	write("config.toml", "project_id = \"x\"\n[db.seed]\nenabled = true\nsql_paths = [\"./seed.sql\"]\n")
	write("seed.sql", "insert into public.a values (7);\n")

	// The CLI starts, Holdfast goes on.
	write("migrations/20260101000000_a.sql", "-- A table.\ncreate table public.a (id int);\n\nselect 'a;b';\n")
	supabase("db", "push", remote, "--yes", "--skip-vault", "--include-seed")
	status, err := ReadStatus(t.Context(), conn, read())
	if err != nil || len(status.Applied) != 1 || len(status.Changed) != 0 || len(status.Pending) != 0 {
		t.Fatalf("behind the CLI: %+v, %v", status, err)
	}
	write("migrations/20260102000000_b.sql", "alter table public.a add b text;\ncreate index concurrently a_b on public.a (b);\n")
	if _, err := Up(t.Context(), conn, read(), Options{}); err != nil {
		t.Fatal(err)
	}

	// Holdfast has been there, the CLI goes on.
	write("migrations/20260103000000_c.sql", "alter table public.a add c text;\n")
	if out := supabase("db", "push", remote, "--yes", "--skip-vault", "--dry-run"); strings.Contains(out, "20260102000000") || !strings.Contains(out, "20260103000000") {
		t.Error("the CLI does not go on behind what Holdfast has applied")
	}
	supabase("db", "push", remote, "--yes", "--skip-vault")
	if got := history(t, conn); got != "20260101000000 20260102000000 20260103000000" {
		t.Errorf("the history has %s", got)
	}
	supabase("migration", "list", remote)
	supabase("migration", "repair", remote, "--yes", "--status", "reverted", "20260103000000")
	if got := history(t, conn); got != "20260101000000 20260102000000" {
		t.Errorf("the history has %s", got)
	}
	if err := Repair(t.Context(), conn, read(), []string{"20260103000000"}, true); err != nil {
		t.Fatal(err)
	}
	if out := supabase("db", "push", remote, "--yes", "--skip-vault"); !strings.Contains(out, "up to date") {
		t.Error("the CLI finds something to do")
	}
	status, err = ReadStatus(t.Context(), conn, read())
	if err != nil || len(status.Applied) != 3 || len(status.Changed) != 0 {
		t.Errorf("at the end: %+v, %v", status, err)
	}

	// The same for seeds: what one has run the other does not run again.
	seeds := func() []Seed {
		t.Helper()
		list, err := ReadSeeds(os.DirFS(dir), "supabase")
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	write("config.toml", "project_id = \"x\"\n[db.seed]\nenabled = true\nsql_paths = [\"./seed.sql\", \"./more/*.sql\"]\n")
	write("more/b.sql", "insert into public.a values (8);\n")
	if _, err := Up(t.Context(), conn, read(), Options{Seeds: seeds()}); err != nil {
		t.Fatal(err)
	}
	supabase("db", "push", remote, "--yes", "--skip-vault", "--include-seed")
	write("more/b.sql", "insert into public.a values (9);\n")
	if _, err := Up(t.Context(), conn, read(), Options{Seeds: seeds()}); err != nil {
		t.Fatal(err)
	}
	supabase("db", "push", remote, "--yes", "--skip-vault", "--include-seed")
	if got := query(t, conn, "select string_agg(id::text, ' ' order by id) from public.a"); got != "7 8" {
		t.Errorf("the seeds have left %s", got)
	}
	for _, s := range seeds() {
		if got := query(t, conn, "select hash from supabase_migrations.seed_files where path = $1", s.Path); got != s.Hash {
			t.Errorf("%s has hash %s, recorded is %s", s.Path, s.Hash, got)
		}
	}
}
