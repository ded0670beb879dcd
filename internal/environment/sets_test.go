package environment

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestASetIsReplacedWhereItStandsAndNothingElseIs(t *testing.T) {
	dir := t.TempDir()
	text := strings.Replace(minimal, "stacks: {}", `stacks:
  # The API.
  supabase: {set: "supabase-0.8.1-kong", sign-up: true} # pinned in March
  trigger:
    sign-up: ["@example.com"]
    set:   trigger-4.5.12   # until v5
  edge: {tls: internal}`, 1)
	text = strings.Replace(text, "app: app.example.com", "app: app.example.com\n  jobs: jobs.example.com", 1)
	file := filepath.Join(dir, FileName)
	if err := os.WriteFile(file, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	env, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	changed, got, err := env.WithSets(map[string]string{"supabase": "supabase-9", "trigger": "trigger-9"})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.NewReplacer("supabase-0.8.1-kong", "supabase-9", "trigger-4.5.12", "trigger-9").Replace(text)
	if string(got) != want {
		t.Errorf("the text became\n%s\nwant\n%s", got, want)
	}
	if changed.Stacks.Supabase.Set != "supabase-9" || changed.Stacks.Trigger.Set != "trigger-9" || env.Stacks.Supabase.Set != "supabase-0.8.1-kong" {
		t.Errorf("the sets are %+v and %+v, they were %+v", changed.Stacks.Supabase, changed.Stacks.Trigger, env.Stacks.Supabase)
	}
	if now, _ := os.ReadFile(file); string(now) != text {
		t.Error("the file was written")
	}
	former, err := env.WriteConfig(got)
	if err != nil || string(former) != text {
		t.Errorf("%v; former is\n%s", err, former)
	}
	if now, _ := os.ReadFile(file); string(now) != want {
		t.Errorf("the file is\n%s", now)
	}
	if info, _ := os.Stat(file); info.Mode().Perm() != 0o640 {
		t.Errorf("its permissions are %v", info.Mode())
	}
	if _, _, err := env.WithSets(map[string]string{"edge": "edge-2"}); err == nil || !strings.Contains(err.Error(), "set: edge-2") {
		t.Errorf("a set that is not written: %v", err)
	}
}
