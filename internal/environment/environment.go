// Package environment reads and writes environment folders: the holdfast.yml
// that declares one pair of servers and what runs on them, and the files that
// lie beside it.
//
// Reading is strict. Whatever is wrong with holdfast.yml is reported together,
// each thing with its line, its column and, where one is near, the key or value
// that was meant; no error repeats a value that could be a secret.
package environment

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
)

// FileName is the file that makes a folder an environment.
const FileName = "holdfast.yml"

// maxSize is the largest holdfast.yml in bytes. Real ones have a few KiB.
const maxSize = 1 << 20

// An Environment is a loaded environment folder.
type Environment struct {
	Dir string // as given to Load
	Config
	positions map[string]position // of every value in holdfast.yml, by its path
}

// Load reads the holdfast.yml in dir. Every error is an Errors.
//
// Of the files that holdfast.yml names, none is read; see OperatorKeys.
func Load(dir string) (*Environment, error) {
	file := filepath.Join(dir, FileName)
	data, err := read(file, maxSize)
	if err != nil {
		e := Error{File: file, Message: "can't be read: " + err.Error()}
		if errors.Is(err, fs.ErrNotExist) {
			e.Message = "there is no environment in this folder"
			e.Hint = "`holdfast init` writes one, -C names another folder"
		}
		return nil, Errors{e}
	}
	return decode(dir, data)
}

// decode makes an Environment of the content of a holdfast.yml in dir.
func decode(dir string, data []byte) (*Environment, error) {
	d := decoder{file: filepath.Join(dir, FileName), positions: map[string]position{}}
	root, err := parse(data)
	if err != nil {
		e := Error{File: d.file, Message: err.Error()}
		if s := (*syntaxError)(nil); errors.As(err, &s) {
			e.Line = s.line
		}
		return nil, Errors{e}
	}
	if root == nil {
		return nil, Errors{{File: d.file, Message: "it is empty", Hint: "`holdfast init` writes a commented one"}}
	}
	env := &Environment{Dir: dir, positions: d.positions}
	d.positions[""] = position{1, 1}
	d.value(root, reflect.ValueOf(&env.Config).Elem(), "", rules{})
	if env.Stacks.Edge == nil {
		env.Stacks.Edge = &Edge{}
		fill(reflect.ValueOf(env.Stacks.Edge).Elem(), rules{})
	}
	env.inconsistencies(&d)
	d.errors.sort()
	if err := d.errors.orNil(); err != nil {
		return nil, err
	}
	if err := env.resolveIdentities(); err != nil {
		return nil, Errors{{File: d.file, Message: err.Error()}}
	}
	return env, nil
}

// ErrorAt returns an error about the value at path, such as "stacks.trigger.set",
// with the place of that value, or of the nearest one around it, in holdfast.yml.
func (e *Environment) ErrorAt(path, message, hint string) Error {
	p := e.place(path)
	return Error{
		File: filepath.Join(e.Dir, FileName), Line: p.line, Column: p.column,
		Path: path, Message: path + ": " + message, Hint: hint,
	}
}

func (e *Environment) place(path string) position {
	for path != "" {
		if p, ok := e.positions[path]; ok {
			return p
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return e.positions[""]
}

// resolveIdentities makes full paths of the servers' identities.
func (e *Environment) resolveIdentities() error {
	for _, server := range []*Server{&e.Servers.Production, &e.Servers.Audit} {
		if server.Identity == "" {
			continue
		}
		if rest, ok := strings.CutPrefix(server.Identity, "~/"); ok {
			home, err := os.UserHomeDir()
			if err != nil {
				return fmt.Errorf("expand %q: %w", server.Identity, err)
			}
			server.Identity = filepath.Join(home, rest)
		}
		if !filepath.IsAbs(server.Identity) {
			server.Identity = e.Path(server.Identity)
		}
	}
	return nil
}

// SecretName returns NAME of "secret:NAME", the form in which holdfast.yml
// names a secret where a value could also stand.
func SecretName(value string) (name string, ok bool) {
	return strings.CutPrefix(value, secretPrefix)
}

// SecretUses returns every place that names a secret which the user has to put
// into secrets.age, in the order of Config.
func (c *Config) SecretUses() []SecretUse {
	var uses []SecretUse
	if c.Stacks.App != nil {
		for i, name := range c.Stacks.App.Secrets {
			uses = append(uses, SecretUse{name, fmt.Sprintf("stacks.app.secrets[%d]", i)})
		}
	}
	if c.Mail != nil {
		if name, ok := SecretName(c.Mail.Password); ok {
			uses = append(uses, SecretUse{name, "mail.password"})
		}
	}
	if c.Notify != nil {
		if name, ok := SecretName(c.Notify.Webhook); ok {
			uses = append(uses, SecretUse{name, "notify.webhook"})
		}
	}
	return uses
}

// read returns the content of a regular file of at most limit bytes. Its errors
// don't name the file.
func read(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("it is larger than %d KiB", limit>>10)
	}
	return data, nil
}
