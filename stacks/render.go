package stacks

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"holdfast/internal/environment"
	"holdfast/templates"
)

// Input is all that a release is made of.
type Input struct {
	Config    environment.Config // as loaded: defaults filled in
	Secrets   map[string]string  // by name
	Pins      map[string]string  // what to pull for a reference, by digest; those without stay as they are
	Functions fs.FS              // the environment's supabase/functions; nil for none
}

// Render makes the release of an environment: it fills the templates in, loads
// every Compose file the way Compose does, and refuses what breaks policy or
// would show a secret.
//
// Errors name everything that is wrong at once: a *MissingSecretsError, a
// *PolicyError, or a sentence about the value of holdfast.yml that can't be used.
func Render(in Input) (*Release, error) {
	r := &rendering{in: in, missing: map[string]bool{}}
	var projects []renderedProject
	sets, err := DeclaredSets(in.Config)
	if err != nil {
		return nil, err
	}
	for _, stack := range declared(in.Config) {
		p, err := r.stack(stack)
		if err != nil {
			return nil, fmt.Errorf("render stack %s: %w", stack.name, err)
		}
		projects = append(projects, p)
	}
	if len(r.missing) > 0 {
		return nil, &MissingSecretsError{Names: slices.Sorted(maps.Keys(r.missing))}
	}
	if err := leaks(r.files, in.Secrets); err != nil {
		return nil, err
	}
	release := &Release{Files: r.files, Contents: Contents{Sets: map[string]ReleasedSet{}, Mounts: r.mounts}}
	for _, stack := range declared(in.Config) {
		set := ReleasedSet{Name: sets[stack.name].Name, PostgreSQL: sets[stack.name].PostgreSQL}
		if stack.replacesDatabase() {
			set.PostgreSQL = 0 // the image may be of any version
		}
		release.Sets[stack.name] = set
	}
	var violations []Violation
	for _, p := range projects {
		project, err := load(p.name, p.compose)
		if err != nil {
			return nil, fmt.Errorf("load %s: %w", p.file, err)
		}
		violations = append(violations, CheckPolicy(project)...)
		release.Projects = append(release.Projects, describe(project, p.file))
	}
	if len(violations) > 0 {
		return nil, &PolicyError{Violations: violations}
	}
	return release, release.seal()
}

// MissingSecretsError says which secrets a release needs and secrets.age lacks.
type MissingSecretsError struct{ Names []string }

func (e *MissingSecretsError) Error() string {
	return "secrets.age has no value for " + strings.Join(e.Names, ", ")
}

// Hint says what to do next.
func (e *MissingSecretsError) Hint() string {
	return "`holdfast secrets edit` adds your own; `holdfast init` in this folder generates those that Holdfast can make up"
}

// stack is one declared stack: its set, its templates' data and its overrides.
type stack struct {
	name   string
	set    string
	images environment.Images
	// files are the templates it consists of besides compose.yml: path in the
	// release → path in the templates.
	files map[string]string
}

// declared returns the stacks of an environment in the order they start.
func declared(c environment.Config) []stack {
	var all []stack
	if s := c.Stacks.Supabase; s != nil {
		all = append(all, stack{name: "supabase", set: s.Set, images: s.Images, files: map[string]string{
			"supabase/kong.yml":                "kong/kong.yml",
			"supabase/kong-entrypoint.sh":      "kong/kong-entrypoint.sh",
			"supabase/functions/main/index.ts": "compose/functions/index.ts",
		}})
	}
	if s := c.Stacks.Trigger; s != nil {
		all = append(all, stack{name: "trigger", set: s.Set, images: s.Images, files: map[string]string{
			"trigger/trigger.config.ts": "trigger/trigger.config.ts",
		}})
	}
	if s := c.Stacks.App; s != nil {
		all = append(all, stack{name: "app", set: "app-1", images: environment.Images{"app": s.Image}})
	}
	if s := c.Stacks.Edge; s != nil {
		all = append(all, stack{name: "edge", set: s.Set, images: s.Images, files: map[string]string{
			"edge/Caddyfile": "compose/Caddyfile",
		}})
	}
	return all
}

// resolve returns a stack's set, and its images by service: the set's, with the
// environment's overrides.
func (s stack) resolve() (Set, map[string]string, error) {
	set, err := LookUp(s.set)
	if err != nil {
		return Set{}, nil, err
	}
	if set.Stack != s.name {
		return Set{}, nil, fmt.Errorf("catalog set %s is one of the stack %s; for this one there is %s", s.set, set.Stack, strings.Join(Sets(s.name), ", "))
	}
	images := map[string]string{}
	for service, image := range set.Images {
		images[service] = image.Ref
	}
	for service, ref := range s.images {
		if _, ok := images[service]; !ok && s.name != "app" {
			return Set{}, nil, fmt.Errorf("images names a service %q that the stack does not have; it has %s", service, strings.Join(slices.Sorted(maps.Keys(images)), ", "))
		}
		images[service] = ref
	}
	return set, images, nil
}

// DeclaredSets returns the catalog sets of an environment's stacks, by stack.
func DeclaredSets(c environment.Config) (map[string]Set, error) {
	sets := map[string]Set{}
	for _, stack := range declared(c) {
		set, _, err := stack.resolve()
		if err != nil {
			return nil, fmt.Errorf("render stack %s: %w", stack.name, err)
		}
		sets[stack.name] = set
	}
	return sets, nil
}

// References returns the images of an environment's stacks as they are declared,
// each once, sorted.
func References(c environment.Config) ([]string, error) {
	all := map[string]bool{}
	for _, stack := range declared(c) {
		_, images, err := stack.resolve()
		if err != nil {
			return nil, fmt.Errorf("stack %s: %w", stack.name, err)
		}
		for _, ref := range images {
			all[ref] = true
		}
	}
	return slices.Sorted(maps.Keys(all)), nil
}

// rendering is one run of Render.
type rendering struct {
	in      Input
	files   []File
	mounts  []Mount
	missing map[string]bool // names of secrets that a template asked for in vain
}

type renderedProject struct {
	name, file string
	compose    []byte
}

func (r *rendering) add(name string, content []byte) {
	r.files = append(r.files, File{Path: name, Mode: 0o644, Content: content})
}

func (r *rendering) addSecret(name string, content []byte) {
	r.files = append(r.files, File{Path: name, Mode: 0o600, Secret: true, Content: content})
}

// stack renders one stack's files.
func (r *rendering) stack(s stack) (renderedProject, error) {
	set, images, err := s.resolve()
	if err != nil {
		return renderedProject{}, err
	}
	for service, ref := range images {
		if pin, ok := r.in.Pins[ref]; ok {
			images[service] = pin
		}
	}
	data, err := newView(r.in.Config, set)
	if err != nil {
		return renderedProject{}, err
	}
	for _, name := range slices.Sorted(maps.Keys(s.files)) {
		content, err := plainFile(s.files[name], data)
		if err != nil {
			return renderedProject{}, err
		}
		r.add(name, content)
	}
	switch s.name {
	case "supabase":
		err = r.functions()
	case "trigger":
		var line string
		if password := r.secret("TRIGGER_REGISTRY_PASSWORD"); password != "" {
			line, err = htpasswd("trigger", password)
		}
		r.addSecret("trigger/secrets/registry.htpasswd", []byte(line))
	}
	if err != nil {
		return renderedProject{}, err
	}
	// Last, because it names the others by their content.
	compose, env, err := r.compose(s.name, data, images)
	if err != nil {
		return renderedProject{}, err
	}
	file := s.name + "/compose.yml"
	r.add(file, compose)
	for _, service := range slices.Sorted(maps.Keys(env)) {
		content, err := env[service].encode()
		if err != nil {
			return renderedProject{}, fmt.Errorf("environment of service %s: %w", service, err)
		}
		r.addSecret(s.name+"/secrets/"+service+".env", content)
	}
	return renderedProject{name: s.name, file: file, compose: compose}, nil
}

// secret returns the value of a secret and notes when there is none.
func (r *rendering) secret(name string) string {
	value := r.in.Secrets[name]
	if value == "" {
		r.missing[name] = true
	}
	return value
}

// compose renders a Compose file. Beside the file it returns the secret
// environment of each service, which the template declares where it declares
// the service, so that nothing about a service is in two places.
func (r *rendering) compose(stack string, data view, images map[string]string) ([]byte, map[string]*envFile, error) {
	env := map[string]*envFile{}
	funcs := template.FuncMap{
		"join": strings.Join,
		// quote writes a YAML scalar for Compose, which reads "$" as a variable.
		"quote": func(s string) (string, error) { return yamlString(strings.ReplaceAll(s, "$", "$$")) },
		// image writes the value of "image:", and keeps an image that no
		// registry has from being looked for there.
		"image": func(service string) (string, error) {
			ref, ok := images[service]
			if !ok {
				return "", fmt.Errorf("catalog set %s has no image for service %s", data.Set, service)
			}
			text, err := yamlString(strings.ReplaceAll(ref, "$", "$$"))
			if _, byContent := ContentID(ref); byContent {
				text += "\n    pull_policy: never"
			}
			return text, err
		},
		// secrets gives a service secret environment: pairs of a name and a value
		// that names secrets in braces. The first call for a service writes
		// "env_file:".
		"secrets": func(service string, pairs ...string) (string, error) {
			file, more := env[service]
			if !more {
				file = &envFile{}
				env[service] = file
			}
			for pair := range slices.Chunk(pairs, 2) {
				if len(pair) != 2 {
					return "", fmt.Errorf("secrets of service %s: %s has no value", service, pair[0])
				}
				file.set(pair[0], r.expand(pair[1]))
			}
			if more {
				return "", nil
			}
			return "\n    env_file: [secrets/" + service + ".env]", nil
		},
		// mount writes where a server has a file or folder of the stack.
		"mount": func(name string) (string, error) { return r.mount(stack + "/" + name) },
		// inline writes a file's text as the content of one of Compose's configs.
		"inline": func(file string) (string, error) {
			text, err := fs.ReadFile(templates.FS, "compose/"+file)
			return block(strings.ReplaceAll(string(text), "$", "$$"), 6), err
		},
		// fingerprint changes when one of the files does.
		"fingerprint": func(files ...string) (string, error) {
			sum := sha256.New()
			for _, file := range files {
				text, err := fs.ReadFile(templates.FS, "compose/"+file)
				if err != nil {
					return "", err
				}
				sum.Write(text)
			}
			return yamlString(hex.EncodeToString(sum.Sum(nil))[:12])
		},
	}
	content, err := execute("compose/"+stack+".yml", funcs, data)
	return content, env, err
}

// placeholder is a secret in a value: {NAME}, or {NAME:url} inside a URL.
var placeholder = regexp.MustCompile(`\{([A-Za-z_][A-Za-z0-9_]*)(:url)?\}`)

// expand replaces the secrets that a value names.
func (r *rendering) expand(value string) string {
	return placeholder.ReplaceAllStringFunc(value, func(match string) string {
		m := placeholder.FindStringSubmatch(match)
		secret := r.secret(m[1])
		if m[2] != "" {
			return urlPart(secret)
		}
		return secret
	})
}

// plainFile renders a file that is not a Compose file. Its template may use
// values of holdfast.yml that are written bare, so bare refuses any that would
// need quoting.
func plainFile(name string, data view) ([]byte, error) {
	if ext := path.Ext(name); ext == ".sh" || name == "compose/functions/index.ts" {
		return fs.ReadFile(templates.FS, name)
	}
	return execute(name, template.FuncMap{
		"bare": bare,
		"list": func(items ...string) []string { return items },
		"dict": dict,
		"limits": func(minute, hour, mib int) map[string]int {
			return map[string]int{"Minute": minute, "Hour": hour, "MiB": mib}
		},
	}, data)
}

func execute(name string, funcs template.FuncMap, data view) ([]byte, error) {
	t, err := template.New(path.Base(name)).Option("missingkey=error").Funcs(funcs).ParseFS(templates.FS, name)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		if inner := (template.ExecError{}); errors.As(err, &inner) {
			err = inner.Unwrap()
		}
		return nil, err
	}
	return b.Bytes(), nil
}

// bareWord is what needs no quoting in YAML, in a Caddyfile and in a regular
// expression of Kong's cors plugin alike.
var bareWord = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9@.:/_+-]*$`)

func bare(s string) (string, error) {
	if !bareWord.MatchString(s) {
		return "", fmt.Errorf("%q has a character that can't be part of a host name or an address", s)
	}
	return s, nil
}

func dict(pairs ...string) map[string]string {
	m := map[string]string{}
	for pair := range slices.Chunk(pairs, 2) {
		m[pair[0]] = pair[1]
	}
	return m
}

// yamlString writes s as a double-quoted YAML scalar. JSON's strings are such
// scalars (YAML 1.2, 1.2); only DEL and the C1 controls, which JSON leaves bare,
// are not printable in YAML.
func yamlString(s string) (string, error) {
	if strings.ContainsFunc(s, func(r rune) bool { return r >= 0x7f && r < 0xa0 }) {
		return "", fmt.Errorf("%q has a control character", s)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return "", err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// block writes text as a literal block scalar with the given indentation.
func block(text string, indent int) string {
	var b strings.Builder
	b.WriteString("|")
	pad := strings.Repeat(" ", indent)
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		b.WriteString("\n")
		if line != "" {
			b.WriteString(pad + line)
		}
	}
	return b.String()
}
