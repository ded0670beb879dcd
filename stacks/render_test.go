package stacks

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"golang.org/x/crypto/bcrypt"

	"holdfast/internal/environment"
)

var update = flag.Bool("update", false, "write the golden files")

// example is an environment with everything that changes a rendering.
func example() Input {
	names := []string{
		"POSTGRES_PASSWORD", "JWT_SECRET", "ANON_KEY", "SERVICE_ROLE_KEY", "SECRET_KEY_BASE", "REALTIME_DB_ENC_KEY",
		"VAULT_ENC_KEY", "PG_META_CRYPTO_KEY", "S3_PROTOCOL_ACCESS_KEY_ID", "S3_PROTOCOL_ACCESS_KEY_SECRET",
		"SUPABASE_PUBLISHABLE_KEY", "SUPABASE_SECRET_KEY", "POOLER_TENANT_ID",
		"TRIGGER_SESSION_SECRET", "TRIGGER_MAGIC_LINK_SECRET", "TRIGGER_ENCRYPTION_KEY", "TRIGGER_PROVIDER_SECRET",
		"TRIGGER_COORDINATOR_SECRET", "TRIGGER_MANAGED_WORKER_SECRET", "TRIGGER_POSTGRES_PASSWORD", "TRIGGER_REDIS_PASSWORD",
		"TRIGGER_CLICKHOUSE_PASSWORD", "TRIGGER_OBJECT_STORE_ACCESS_KEY_ID", "TRIGGER_OBJECT_STORE_SECRET_ACCESS_KEY",
		"TRIGGER_REGISTRY_PASSWORD", "SMTP_PASSWORD", "STRIPE_SECRET_KEY",
	}
	secrets := map[string]string{"DASHBOARD_USERNAME": "supabase", "DASHBOARD_PASSWORD": "not-used-by-any-service"}
	for _, name := range names {
		sum := sha256.Sum256([]byte(name))
		secrets[name] = hex.EncodeToString(sum[:16])
	}
	secrets["STRIPE_SECRET_KEY"] = `tricky $HOME ${X} 'single' "double" \n & # end`
	return Input{
		Config: environment.Config{
			Environment: "production",
			Domains:     environment.Domains{API: "api.example.com", App: "app.example.com", Jobs: "jobs.example.com"},
			Stacks: environment.Stacks{
				Supabase: &environment.Supabase{Set: "supabase-0.8.1-kong", RedirectURLs: []string{"https://admin.example.com/callback", "https://*.example.com/**", "com.example.app://login"}},
				Trigger:  &environment.Trigger{Set: "trigger-4.5.12", SignUp: []string{"@example.com", "Ada@example.org"}},
				App: &environment.App{Image: "registry.example.com/web:1.4.2", Health: "/health?full=1&x='y'", Port: 3000,
					Public: map[string]string{"NEXT_PUBLIC_SITE_NAME": "Ex: ample's \"#1\" $HOME ${X}"}, Secrets: []string{"STRIPE_SECRET_KEY"}},
				Edge: &environment.Edge{Set: "edge-1", TLS: "acme", Email: "ops@example.com"},
			},
			Mail: &environment.Mail{Host: "smtp.example.com", Port: 587, User: "mailer", Password: "secret:SMTP_PASSWORD", From: "Example <no-reply@example.com>"},
		},
		Secrets: secrets,
		Functions: fstest.MapFS{
			"hello/index.ts":    {Data: []byte("Deno.serve(() => new Response('hello'))\n")},
			"_shared/cors.ts":   {Data: []byte("export {}\n")},
			".env":              {Data: []byte("LOCAL=1\n")},
			"deno.lock":         {Data: []byte("{}\n")},
			"hello/.npmrc":      {Data: []byte("token\n")},
			"hello/sub/util.ts": {Data: []byte("export {}\n")},
		},
	}
}

func render(t testing.TB, in Input) *Release {
	t.Helper()
	release, err := Render(in)
	if err != nil {
		t.Fatal(err)
	}
	return release
}

func (r *Release) file(path string) []byte {
	for _, f := range r.Files {
		if f.Path == path {
			return f.Content
		}
	}
	return nil
}

func TestRenderingIsTheGoldenOne(t *testing.T) {
	release := render(t, example())
	dir := filepath.Join("testdata", "release")
	if *update {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]bool{}
	for _, f := range release.Files {
		// Golden files of this folder must not look like source of this module.
		name := filepath.Join(dir, filepath.FromSlash(f.Path)) + ".golden"
		want[name] = true
		if *update {
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, f.Content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		golden, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(golden, f.Content) {
			t.Errorf("%s differs from %s; run the test with -update and read the difference", f.Path, name)
		}
	}
	err := filepath.WalkDir(dir, func(name string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && !want[name] {
			t.Errorf("%s is no longer rendered", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestProjectsStartInOrderAndNameWhatTheyNeed(t *testing.T) {
	release := render(t, example())
	var names []string
	for _, p := range release.Projects {
		names = append(names, p.Name)
		if !slices.Equal(p.Networks, []string{"holdfast-edge"}) {
			t.Errorf("%s needs the networks %v", p.Name, p.Networks)
		}
		if release.file(p.File) == nil {
			t.Errorf("%s: there is no file %s", p.Name, p.File)
		}
	}
	if want := []string{"supabase", "trigger", "app", "edge"}; !slices.Equal(names, want) {
		t.Errorf("projects start as %v, want %v", names, want)
	}
	if n := len(release.Projects[0].Services); n != 11 {
		t.Errorf("supabase has %d services, want 11", n)
	}
	if n := len(release.Projects[1].Services); n != 9 {
		t.Errorf("trigger has %d services, want 9", n)
	}
}

func TestSameInputGivesTheSameRelease(t *testing.T) {
	first := render(t, example())
	for range 5 {
		if again := render(t, example()); again.ID != first.ID {
			t.Fatalf("release %s became %s", first.ID, again.ID)
		}
	}
	changed := example()
	changed.Config.Stacks.App.Image = "registry.example.com/web:1.4.3"
	if render(t, changed).ID == first.ID {
		t.Error("another image gave the same release")
	}
	rotated := example()
	rotated.Secrets["JWT_SECRET"] = strings.Repeat("f0", 20)
	if render(t, rotated).ID == first.ID {
		t.Error("another secret gave the same release")
	}
}

func TestStacksThatAreNotDeclaredAreNotRendered(t *testing.T) {
	in := example()
	in.Config.Stacks.Trigger, in.Config.Stacks.App, in.Config.Mail = nil, nil, nil
	in.Config.Domains.Jobs = ""
	for name := range in.Secrets {
		if strings.HasPrefix(name, "TRIGGER_") {
			delete(in.Secrets, name)
		}
	}
	release := render(t, in)
	if len(release.Projects) != 2 {
		t.Fatalf("rendered %d projects, want 2", len(release.Projects))
	}
	if caddy := string(release.file("edge/Caddyfile")); strings.Contains(caddy, "app.example.com") || strings.Contains(caddy, "webapp") {
		t.Errorf("the edge serves what does not run:\n%s", caddy)
	}
}

func TestNoSecretIsInAFileThatIsNotSecret(t *testing.T) {
	in := example()
	for _, f := range render(t, in).Files {
		if f.Secret != (f.Mode == 0o600) {
			t.Errorf("%s has mode %o, secret: %t", f.Path, f.Mode, f.Secret)
		}
		for name, value := range in.Secrets {
			if !f.Secret && name != "DASHBOARD_USERNAME" && bytes.Contains(f.Content, []byte(value)) {
				t.Errorf("%s shows %s", f.Path, name)
			}
		}
	}
}

func TestASecretInAPlainValueIsRefused(t *testing.T) {
	in := example()
	in.Config.Stacks.App.Public["NEXT_PUBLIC_NOTE"] = "see " + in.Secrets["JWT_SECRET"]
	_, err := Render(in)
	if err == nil || !strings.Contains(err.Error(), "app/compose.yml") || !strings.Contains(err.Error(), "JWT_SECRET") {
		t.Fatalf("error %v does not name the file and the secret", err)
	}
	if strings.Contains(err.Error(), in.Secrets["JWT_SECRET"]) {
		t.Errorf("the error shows the secret: %v", err)
	}
	in = example()
	in.Functions = fstest.MapFS{"pay/index.ts": {Data: []byte("const key = '" + in.Secrets["SERVICE_ROLE_KEY"] + "'")}}
	if _, err := Render(in); err == nil || !strings.Contains(err.Error(), "supabase/functions/pay/index.ts") {
		t.Errorf("a function with the service key in it: error %v", err)
	}
}

func TestEachServiceGetsOnlyItsOwnSecrets(t *testing.T) {
	in := example()
	release := render(t, in)
	for _, test := range []struct{ file, without string }{
		{"supabase/secrets/rest.env", "SERVICE_ROLE_KEY"},
		{"supabase/secrets/auth.env", "SERVICE_ROLE_KEY"},
		{"supabase/secrets/kong.env", "JWT_SECRET"},
		{"supabase/secrets/kong.env", "POSTGRES_PASSWORD"},
		{"supabase/secrets/storage.env", "SECRET_KEY_BASE"},
		{"app/secrets/app.env", "POSTGRES_PASSWORD"},
		{"app/secrets/app.env", "SERVICE_ROLE_KEY"},
		{"trigger/secrets/supervisor.env", "TRIGGER_POSTGRES_PASSWORD"},
		{"trigger/secrets/webapp.env", "POSTGRES_PASSWORD"},
	} {
		content := release.file(test.file)
		if content == nil {
			t.Errorf("%s is missing", test.file)
		}
		if bytes.Contains(content, []byte(in.Secrets[test.without])) {
			t.Errorf("%s holds %s", test.file, test.without)
		}
	}
}

func TestMissingSecretsAreAllNamed(t *testing.T) {
	in := example()
	delete(in.Secrets, "JWT_SECRET")
	delete(in.Secrets, "TRIGGER_REGISTRY_PASSWORD")
	in.Secrets["STRIPE_SECRET_KEY"] = ""
	_, err := Render(in)
	var missing *MissingSecretsError
	if !errors.As(err, &missing) {
		t.Fatalf("error %v is not about missing secrets", err)
	}
	if want := []string{"JWT_SECRET", "STRIPE_SECRET_KEY", "TRIGGER_REGISTRY_PASSWORD"}; !slices.Equal(missing.Names, want) {
		t.Errorf("missing %v, want %v", missing.Names, want)
	}
	if !strings.Contains(missing.Hint(), "holdfast secrets") {
		t.Errorf("hint %q names no verb", missing.Hint())
	}
}

func TestForeignValuesStayValues(t *testing.T) {
	in := example()
	nasty := "x\"\n    privileged: true\n${HOME} $$ {{.}} 'a' \\ \u2028 \t#"
	in.Config.Stacks.App.Public["NASTY"] = nasty
	release := render(t, in)
	project, err := load("app", release.file("app/compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	app := project.Services["app"]
	if app.Privileged {
		t.Error("a value became a setting")
	}
	for name, want := range map[string]string{"NASTY": nasty, "NEXT_PUBLIC_SITE_NAME": in.Config.Stacks.App.Public["NEXT_PUBLIC_SITE_NAME"]} {
		if got := app.Environment[name]; got == nil || *got != want {
			t.Errorf("%s reached the app as %q, want %q", name, *got, want)
		}
	}
}

func TestValuesThatCannotStandBareAreRefused(t *testing.T) {
	for name, change := range map[string]func(*environment.Config){
		"domain":  func(c *environment.Config) { c.Domains.API = "api.example.com {\n respond 1 \n}" },
		"email":   func(c *environment.Config) { c.Stacks.Edge.Email = "a@b.c\nadmin on" },
		"image":   func(c *environment.Config) { c.Stacks.Supabase.Images = environment.Images{"nosuch": "a:1.2.3"} },
		"set":     func(c *environment.Config) { c.Stacks.Supabase.Set = "supabase-1" },
		"foreign": func(c *environment.Config) { c.Stacks.Supabase.Set = "edge-1" },
	} {
		in := example()
		change(&in.Config)
		if _, err := Render(in); err == nil {
			t.Errorf("%s: rendered", name)
		}
	}
}

func TestUserImageOverridesTheCatalog(t *testing.T) {
	in := example()
	ref := "holdfast.local/db:sha256-" + strings.Repeat("0a", 32)
	in.Config.Stacks.Supabase.Images = environment.Images{"db": ref}
	release := render(t, in)
	project, err := load("supabase", release.file("supabase/compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if db := project.Services["db"]; db.Image != ref || db.PullPolicy != "never" {
		t.Errorf("db runs %s, pulled %q", db.Image, db.PullPolicy)
	}
	if rest := project.Services["rest"]; rest.PullPolicy != "" {
		t.Errorf("rest is pulled %q", rest.PullPolicy)
	}
}

func TestFloatingTagIsRefusedByName(t *testing.T) {
	in := example()
	in.Config.Stacks.App.Image = "registry.example.com/web:latest"
	_, err := Render(in)
	var policy *PolicyError
	if !errors.As(err, &policy) || len(policy.Violations) != 1 {
		t.Fatalf("error is %v", err)
	}
	if v := policy.Violations[0]; v.Stack != "app" || v.Service != "app" || v.Rule != "image-pinned" {
		t.Errorf("violation %+v", v)
	}
}

func TestHiddenFilesOfFunctionsStayBehind(t *testing.T) {
	release := render(t, example())
	var got []string
	for _, f := range release.Files {
		if rest, ok := strings.CutPrefix(f.Path, "supabase/functions/"); ok {
			got = append(got, rest)
		}
	}
	if want := []string{"_shared/cors.ts", "hello/index.ts", "hello/sub/util.ts", "main/index.ts"}; !slices.Equal(got, want) {
		t.Errorf("functions are %v, want %v", got, want)
	}
	in := example()
	in.Functions = fstest.MapFS{"main/index.ts": {Data: []byte("")}}
	if _, err := Render(in); err == nil || !strings.Contains(err.Error(), "rename it") {
		t.Errorf("a function named main: error %v", err)
	}
	in.Functions = os.DirFS(filepath.Join(t.TempDir(), "nosuch"))
	render(t, in)
}

func TestNobodySignsUpUnlessNamed(t *testing.T) {
	if got := signUpPattern(nil); got != "^$" {
		t.Errorf("pattern for nobody is %q", got)
	}
	if got, want := signUpPattern([]string{"@example.com", "Ada@example.org"}), `^([^@]+@example\.com|ada@example\.org)$`; got != want {
		t.Errorf("pattern is %q, want %q", got, want)
	}
}

func TestOnlyExactPagesMayCallTheAPI(t *testing.T) {
	got := origins([]string{"https://Admin.example.com/x", "https://admin.example.com", "https://*.example.com/**", "http://localhost:3000/**", "app://x", "https://app.example.com/y"}, "https://app.example.com")
	if want := []string{"https://admin.example.com", "http://localhost:3000"}; !slices.Equal(got, want) {
		t.Errorf("origins %v, want %v", got, want)
	}
}

func TestEnvironmentFilesAreReadBackAsWritten(t *testing.T) {
	for _, value := range []string{"plain", "", "a b", `$HOME`, `${HOME}`, "$$", `\`, `\\`, `a\`, `\$x`, `"`, `'`, `'"$\`, "two\nlines", "#x", " x ", "a#b", "=", `\n`, "é\t", "`id`"} {
		var f envFile
		f.set("FIRST", value)
		f.set("SECOND", "kept")
		content, err := f.encode()
		if err != nil {
			t.Errorf("%q: %v", value, err)
			continue
		}
		back, err := dotenv.ParseWithLookup(bytes.NewReader(content), nil)
		if err != nil || back["FIRST"] != value || back["SECOND"] != "kept" {
			t.Errorf("%q came back as %q (%v)", value, back, err)
		}
	}
	var f envFile
	f.set("A", "x\x00y")
	if _, err := f.encode(); err == nil {
		t.Error("a NUL was written")
	}
}

func FuzzEnvironmentFileRoundTrips(f *testing.F) {
	for _, seed := range []string{"a", `$"'\`, "a\nb", "\\0134"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		var file envFile
		file.set("NAME", value)
		// encode reads back what it wrote; it may refuse, but must not panic.
		if _, err := file.encode(); err != nil && strings.Contains(err.Error(), value) && len(value) > 3 {
			t.Errorf("the error shows the value: %v", err)
		}
	})
}

func TestRegistryPasswordIsWhatBcryptAccepts(t *testing.T) {
	line, err := htpasswd("trigger", "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	user, hash, _ := strings.Cut(strings.TrimSpace(line), ":")
	if user != "trigger" {
		t.Errorf("user is %q", user)
	}
	if err := bcrypt.CompareHashAndPassword([]byte(hash), []byte("correct horse")); err != nil {
		t.Error(err)
	}
	if bcrypt.CompareHashAndPassword([]byte(hash), []byte("wrong horse")) == nil {
		t.Error("another password passes")
	}
}

func TestEverySetNamesWhatItsTemplateRuns(t *testing.T) {
	for _, name := range Sets("") {
		set, err := LookUp(name)
		if err != nil {
			t.Fatal(err)
		}
		for service, image := range set.Images {
			if why := unpinned(image.Ref); why != "" {
				t.Errorf("%s/%s: %s: %s", name, service, image.Ref, why)
			}
			if image.Seen == "" {
				t.Errorf("%s/%s: nobody says where %s was seen", name, service, image.Ref)
			}
		}
	}
	if _, err := LookUp("nosuch"); err == nil || !strings.Contains(err.Error(), "edge-1") {
		t.Errorf("an unknown set: %v", err)
	}
}

func BenchmarkRender(b *testing.B) {
	in := example()
	for b.Loop() {
		render(b, in)
	}
}

func Example() {
	release, err := Render(example())
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range release.Projects {
		fmt.Println(p.Name, len(p.Services))
	}
	// Output:
	// supabase 11
	// trigger 9
	// app 1
	// edge 1
}
