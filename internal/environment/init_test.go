package environment

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func initOptions(t *testing.T) InitOptions {
	return InitOptions{
		Production: Server{Address: "203.0.113.10"},
		Audit:      Server{Address: "203.0.113.20"},
		Operator:   edLine(t, "Ada.L@laptop"),
		Domains:    Domains{API: "api.example.com", App: "app.example.com"},
	}
}

func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[filepath.ToSlash(name)] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestInitWritesAFolderThatLoads(t *testing.T) {
	full := initOptions(t)
	full.Environment = "staging"
	full.Production = Server{Address: "2001:db8::1", Port: 2222, User: "admin", Identity: "~/.ssh/lab", Private: "10.0.0.1",
		HostKey: "SHA256:" + strings.Repeat("a", 43)}
	full.Audit = Server{Address: "no", Port: 22, User: "true", Private: "fd00::2"}
	full.Domains.Jobs = "jobs.example.com"
	full.AppImage = "web:1.4.2"
	full.Delivery, full.TLS = "ship", "internal"
	for name, options := range map[string]InitOptions{"the least": initOptions(t), "everything": full} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "new", "folder")
			result, err := Init(dir, options)
			if err != nil {
				t.Fatal(err)
			}
			env, err := Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			keys, err := env.OperatorKeys()
			if err != nil || len(keys) != 1 || keys[0] != options.Operator {
				t.Errorf("operators: %q %v", keys, err)
			}
			if recipients, err := env.SecretRecipients(); err != nil || len(recipients) != 1 || recipients[0] != options.Operator {
				t.Errorf("recipients: %q %v", recipients, err)
			}
			if err := validate(t, []byte(tree(t, dir)[FileName])); err != nil {
				t.Errorf("the schema refuses what init wrote: %v", err)
			}
			if env.Servers.Audit.Address != options.Audit.Address || env.Servers.Production.HostKey != options.Production.HostKey ||
				env.Domains != options.Domains || (env.Stacks.Trigger != nil) != (options.Domains.Jobs != "") {
				t.Errorf("%+v", env.Config)
			}
			written := []string{
				"keys/ada.l.pub", ".holdfast/holdfast.schema.json", ".gitignore", "security-baseline.yml",
				"secrets.recipients", "supabase/migrations/.gitkeep", "supabase/functions/.gitkeep", "holdfast.yml",
			}
			if diff := cmp.Diff(written, result.Written); diff != "" || len(result.Kept) != 0 {
				t.Errorf("kept %v, written: %s", result.Kept, diff)
			}
		})
	}
}

// TestEveryCommentedLineOfTheNewFileIsValid takes the "# " from the examples in
// holdfast.yml, section by section, and loads what comes out.
func TestEveryCommentedLineOfTheNewFileIsValid(t *testing.T) {
	content, err := newConfig("", "keys/ada.pub", initOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(content), "\n")
	yamlComment := func(s string) (string, bool) {
		indent := s[:len(s)-len(strings.TrimLeft(s, " "))]
		body, ok := strings.CutPrefix(strings.TrimLeft(s, " "), "# ")
		key, _, isKey := strings.Cut(strings.TrimLeft(body, " "), ":")
		return indent + body, ok && isKey && !strings.ContainsAny(key, ` ."`) && !strings.HasPrefix(key, "yaml-")
	}
	var all []string
	uncommented := 0
	for _, line := range lines {
		if body, ok := yamlComment(line); ok {
			line = strings.ReplaceAll(body, "SHA256:…", "SHA256:"+strings.Repeat(string(rune('a'+uncommented)), 43))
			uncommented++
		}
		all = append(all, line)
	}
	if uncommented < 20 {
		t.Errorf("only %d lines were uncommented", uncommented)
	}
	if _, err := decode("", []byte(strings.Join(all, "\n"))); err != nil {
		t.Errorf("%v\n%s", err, strings.Join(all, "\n"))
	}
}

func TestInitNeverOverwritesAndFinishesWhatWasCutOff(t *testing.T) {
	dir := t.TempDir()
	options := initOptions(t)
	if err := os.WriteFile(filepath.Join(dir, ".gitignore"), []byte("mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	result, err := Init(dir, options)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{".gitignore"}, result.Kept); diff != "" {
		t.Error(diff)
	}
	before := tree(t, dir)
	if before[".gitignore"] != "mine\n" {
		t.Error(".gitignore was overwritten")
	}

	// Without options: holdfast.yml has them.
	result, err = Init(dir, InitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Written) != 0 {
		t.Errorf("the second run wrote %v", result.Written)
	}
	if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
		t.Error(diff)
	}

	for _, name := range []string{"secrets.recipients", "security-baseline.yml"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, schemaFile), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	result, err = Init(dir, InitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{schemaFile, "security-baseline.yml", "secrets.recipients"}, result.Written); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
		t.Error(diff)
	}
}

func TestInitWritesNothingWhenTheOptionsAreWrong(t *testing.T) {
	private := filepath.Join(t.TempDir(), "id")
	if err := os.WriteFile(private, []byte("-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*InitOptions)
		want   string
	}{
		"no address":     {func(o *InitOptions) { o.Production.Address = "" }, `servers.production.address: "" is not a host name`},
		"a bad domain":   {func(o *InitOptions) { o.Domains.App = "app" }, `domains.app: "app" is not a public host name`},
		"no operator":    {func(o *InitOptions) { o.Operator = "" }, "the operator's SSH public key is missing"},
		"a private key":  {func(o *InitOptions) { o.Operator = private }, "holds a private key: name its .pub file"},
		"a pasted one":   {func(o *InitOptions) { o.Operator = "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2" }, "this is a private key"},
		"a torn key":     {func(o *InitOptions) { o.Operator = "ssh-ed25519 AAAA" }, "this line is no SSH public key"},
		"no such file":   {func(o *InitOptions) { o.Operator = "/nonexistent/id.pub" }, "no such file"},
		"a line feed":    {func(o *InitOptions) { o.Environment = "a\nservers: {}" }, "environment:"},
		"a bad delivery": {func(o *InitOptions) { o.Delivery = "mail" }, "delivery:"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "new")
			options := initOptions(t)
			c.change(&options)
			_, err := Init(dir, options)
			var wrong Errors
			if !errors.As(err, &wrong) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want it to contain %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error repeats a private key: %v", err)
			}
			if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
				t.Error("something was written")
			}
		})
	}
}

func TestExamplesLoad(t *testing.T) {
	for _, dir := range exampleDirs(t) {
		env, err := Load(dir)
		if err != nil {
			t.Error(err)
			continue
		}
		if _, err := env.OperatorKeys(); err != nil {
			t.Error(err)
		}
		if _, err := env.SecretRecipients(); err != nil {
			t.Error(err)
		}
		for _, name := range env.Backups.Recipients {
			if _, err := os.Stat(env.Path(name)); err != nil {
				t.Error(err)
			}
		}
		file := env.Path(schemaFile)
		if data, err := os.ReadFile(file); !*update && (err != nil || !bytes.Equal(data, Schema())) {
			t.Errorf("%s is not the schema: go test ./internal/environment -update (%v)", file, err)
		}
	}
}
