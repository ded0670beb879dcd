package environment

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"

	"holdfast/templates"
)

const (
	recipientsFile = "secrets.recipients"
	schemaFile     = ".holdfast/holdfast.schema.json"
)

// InitOptions are what a new environment can't derive.
type InitOptions struct {
	// Environment names the pair; default "production".
	Environment string
	// Production and Audit need an Address; the rest may be zero.
	Production, Audit Server
	// Operator is an SSH public key line, or the path of a .pub file.
	Operator string
	// Domains needs API and App. With Jobs, the stack trigger is declared.
	Domains Domains
	// Recipients may open secrets.age: age or SSH public keys. Empty: the
	// operator's key, when it is of a type that age encrypts to.
	Recipients []string
	// SupabaseSet and TriggerSet are sets of the catalog; default: those that
	// the template names.
	SupabaseSet, TriggerSet string
	// AppImage is the Next.js app's image; empty: the stack app stays a comment.
	AppImage string
	// Delivery and TLS are "" for the defaults; see Config and Edge.
	Delivery, TLS string
}

// InitResult lists files by their slash-separated path in the folder.
type InitResult struct {
	Written []string
	Kept    []string // was there before, and was left as it is
}

// Init writes an environment folder: everything but secrets.age. It never
// overwrites: what exists is kept and listed, only what is missing is written,
// so that a run that was cut off is finished by the next, and a folder that the
// Supabase CLI already uses gains what it lacks. When holdfast.yml exists, it
// decides, and the options that would have gone into it are not needed. The one
// file that is renewed is the generated schema.
//
// Options that make no valid holdfast.yml are an Errors, and nothing is written.
func Init(dir string, options InitOptions) (*InitResult, error) {
	files, err := newFolder(dir, options)
	if err != nil {
		return nil, err
	}
	result := &InitResult{}
	for _, f := range files {
		written, err := f.write(dir)
		switch {
		case err != nil:
			return result, fmt.Errorf("write environment folder %s: %w", dir, err)
		case written:
			result.Written = append(result.Written, f.name)
		default:
			result.Kept = append(result.Kept, f.name)
		}
	}
	return result, nil
}

// newFile is one file of a new folder.
type newFile struct {
	name    string
	content []byte
	renewed bool // it is generated: overwrite it when it differs
}

func (f newFile) write(dir string) (bool, error) {
	name := filepath.Join(dir, filepath.FromSlash(f.name))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return false, err
	}
	if old, err := os.ReadFile(name); f.renewed && err == nil {
		if bytes.Equal(old, f.content) {
			return false, nil
		}
		return true, os.WriteFile(name, f.content, 0o644)
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, err = file.Write(f.content)
	if err := errors.Join(err, file.Close()); err != nil {
		return false, errors.Join(err, os.Remove(name))
	}
	return true, nil
}

// newFolder makes all files in memory and proves that they are a valid
// environment. holdfast.yml comes last: a folder that has it has the rest.
func newFolder(dir string, o InitOptions) ([]newFile, error) {
	var files []newFile
	_, err := os.Lstat(filepath.Join(dir, FileName))
	exists := err == nil

	var keys []string
	var config []byte
	if exists {
		env, err := Load(dir)
		if err != nil {
			return nil, err
		}
		if len(o.Recipients) == 0 {
			if keys, err = env.OperatorKeys(); err != nil {
				return nil, err
			}
		}
	} else {
		key, err := operatorKey(o.Operator)
		if err != nil {
			return nil, initError(dir, err.Error())
		}
		keys = []string{key}
		name := "keys/" + operatorName(key) + ".pub"
		files = append(files, newFile{name: name, content: []byte(key + "\n")})
		if config, err = newConfig(dir, name, o); err != nil {
			return nil, err
		}
	}

	if len(o.Recipients) == 0 {
		o.Recipients = ageRecipients(keys)
	}
	if len(o.Recipients) == 0 {
		return nil, initError(dir, "secrets.age can't be encrypted to the operator's key: age knows SSH keys of the types ssh-ed25519 and ssh-rsa, and its own")
	}
	recipients, err := execute("secrets.recipients.tmpl", o)
	if err != nil {
		return nil, err
	}
	baseline, err := templates.FS.ReadFile("environment/security-baseline.yml")
	if err != nil {
		return nil, err
	}
	ignore, err := templates.FS.ReadFile("environment/gitignore")
	if err != nil {
		return nil, err
	}
	files = append(files,
		newFile{name: schemaFile, content: Schema(), renewed: true},
		newFile{name: ".gitignore", content: ignore},
		newFile{name: "security-baseline.yml", content: baseline},
		newFile{name: recipientsFile, content: recipients},
		newFile{name: "supabase/migrations/.gitkeep"},
		newFile{name: "supabase/functions/.gitkeep"},
	)
	return append(files, newFile{name: FileName, content: config}), nil
}

// newConfig renders holdfast.yml and reads it back.
func newConfig(dir, operatorFile string, o InitOptions) ([]byte, error) {
	if o.Environment == "" {
		o.Environment = "production"
	}
	content, err := execute("holdfast.yml.tmpl", struct {
		InitOptions
		OperatorFile string
	}{o, operatorFile})
	if err != nil {
		return nil, err
	}
	_, err = decode(dir, content)
	if wrong := (Errors)(nil); errors.As(err, &wrong) {
		for i := range wrong {
			// The line is of a file that was never written.
			wrong[i].Line, wrong[i].Column = 0, 0
		}
		return nil, wrong
	}
	return content, err
}

func execute(name string, data any) ([]byte, error) {
	t, err := template.New(name).Funcs(template.FuncMap{"yaml": scalarText}).
		ParseFS(templates.FS, path.Join("environment", name))
	if err != nil {
		return nil, fmt.Errorf("read the template of %s: %w", name, err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return nil, fmt.Errorf("fill in the template of %s: %w", name, err)
	}
	return b.Bytes(), nil
}

// operatorKey reads a public key, given as its line or as the path of its file.
func operatorKey(operator string) (string, error) {
	operator = strings.TrimSpace(operator)
	if operator == "" {
		return "", errors.New("the operator's SSH public key is missing: without one nobody could log in")
	}
	if key, err := parseOperatorKey(operator); err == nil || isPrivateKey([]byte(operator)) || keyType.MatchString(operator) {
		return key, err
	}
	data, err := read(operator, maxKeyFile)
	if err != nil {
		return "", fmt.Errorf("read the operator's public key %s: %w", quote(operator), err)
	}
	if isPrivateKey(data) {
		return "", fmt.Errorf("%s holds a private key: name its .pub file", quote(operator))
	}
	lines := keyLines(data)
	if len(lines) != 1 {
		return "", fmt.Errorf("%s holds %d keys, one is wanted; more can be added under access.operators", quote(operator), len(lines))
	}
	key, err := parseOperatorKey(lines[0].text)
	if err != nil {
		return "", fmt.Errorf("%s: %w", quote(operator), err)
	}
	return key, nil
}

// keyType is what a key line starts with, valid or not.
var keyType = regexp.MustCompile(`^(ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+\s`)

var nameRunes = regexp.MustCompile(`[^a-z0-9._-]+`)

// operatorName is a file name from a key's comment: "ada" for "ada@laptop".
func operatorName(key string) string {
	if parts := strings.SplitN(key, " ", 3); len(parts) == 3 {
		name, _, _ := strings.Cut(parts[2], "@")
		name = strings.Trim(nameRunes.ReplaceAllString(strings.ToLower(name), "-"), "-.")
		if name != "" && len(name) <= 64 {
			return name
		}
	}
	return "operator"
}

// ageRecipients are those of the SSH keys that age encrypts to.
func ageRecipients(keys []string) []string {
	var recipients []string
	for _, key := range keys {
		if strings.HasPrefix(key, "ssh-ed25519 ") || strings.HasPrefix(key, "ssh-rsa ") {
			recipients = append(recipients, key)
		}
	}
	return recipients
}

func initError(dir, message string) Errors {
	return Errors{{File: filepath.Join(dir, FileName), Message: message}}
}
