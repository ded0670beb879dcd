package lock

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"holdfast/internal/environment"
	"holdfast/internal/nearest"
)

const header = `# The images that the servers pull, by digest. Written by "holdfast lock"; commit it,
# and don't edit it: after a merge conflict, take either side and run "holdfast lock".
`

// rewrite is the hint of every error about the file: nothing in it is made by hand.
const rewrite = "take the last good one from git, or remove it and run `holdfast lock`"

// Read reads the lock of an environment folder; one that is not there is empty.
// Every error is an environment.Errors, with all that is wrong and its lines.
func Read(dir string) (Lock, error) {
	file := filepath.Join(dir, FileName)
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return Lock{}, nil
	}
	if err != nil {
		return Lock{}, environment.Errors{{File: file, Message: "can't be read: " + errors.Unwrap(err).Error()}}
	}
	return parse(file, data)
}

// Write replaces the lock of an environment folder in one step: whoever reads it
// at any moment finds the old one or the new one.
func Write(dir string, l Lock) error {
	l.sort()
	var b bytes.Buffer
	b.WriteString(header)
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(l); err != nil {
		return fmt.Errorf("write %s: %w", FileName, err)
	}
	f, err := os.CreateTemp(dir, "."+FileName+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", FileName, err)
	}
	defer os.Remove(f.Name()) // fails once it has its name
	_, err = f.Write(b.Bytes())
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, FileName))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", FileName, err)
	}
	return nil
}

// reading collects what is wrong with one file.
type reading struct {
	file   string
	errors environment.Errors
}

func (r *reading) wrong(n *yaml.Node, hint, message string, args ...any) {
	r.errors = append(r.errors, environment.Error{File: r.file, Line: n.Line, Column: n.Column,
		Message: fmt.Sprintf(message, args...), Hint: hint})
}

var yamlLine = regexp.MustCompile(`line (\d+): `)

func parse(file string, data []byte) (Lock, error) {
	r := &reading{file: file}
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		wrong := environment.Error{File: file, Message: "this is not YAML: " + strings.TrimPrefix(err.Error(), "yaml: "), Hint: rewrite}
		if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
			wrong.Line, _ = strconv.Atoi(m[1])
		}
		return Lock{}, environment.Errors{wrong}
	}
	if len(document.Content) == 0 {
		return Lock{}, environment.Errors{{File: file, Message: "it is empty", Hint: rewrite}}
	}
	var l Lock
	root := document.Content[0]
	fields := r.fields(root, "the file", "images")
	if list := fields["images"]; list != nil && list.Kind != yaml.SequenceNode {
		r.wrong(list, rewrite, "images must be a list")
	} else if list != nil {
		for _, n := range list.Content {
			image := r.image(n)
			if _, twice := l.Get(image.Ref()); twice && image.Name != "" {
				r.wrong(n, rewrite, "%s is locked twice", image.Ref())
			}
			l.Images = append(l.Images, image)
		}
	}
	if len(r.errors) > 0 {
		return Lock{}, r.errors
	}
	l.sort()
	return l, nil
}

// image reads one entry.
func (r *reading) image(n *yaml.Node) Image {
	var image Image
	fields := r.fields(n, "an image", "image", "tag", "digest", "platform", "locked")
	text := func(key string, to *string, form *regexp.Regexp, want string) {
		value := fields[key]
		switch {
		case value == nil:
		case value.Kind != yaml.ScalarNode || !form.MatchString(value.Value):
			r.wrong(value, rewrite, "%s is not %s", key, want)
		default:
			*to = value.Value
		}
	}
	text("image", &image.Name, nameForm, "the name of an image")
	text("tag", &image.Tag, tagForm, "a tag")
	text("digest", &image.Digest, digestForm, `"sha256:" and 64 hexadecimal digits`)
	text("platform", &image.Platform, platformForm, "a platform, such as linux/amd64")
	if value := fields["locked"]; value != nil {
		at, err := time.Parse(time.RFC3339, value.Value)
		if err != nil {
			r.wrong(value, rewrite, "locked is not a time, such as 2026-11-23T09:00:00Z")
		}
		image.Locked = at.UTC()
	}
	return image
}

// fields returns the values of a mapping that has all of the keys and no other.
func (r *reading) fields(n *yaml.Node, what string, keys ...string) map[string]*yaml.Node {
	if n.Kind != yaml.MappingNode {
		r.wrong(n, rewrite, "%s must be a map of %s", what, strings.Join(keys, ", "))
		return nil
	}
	fields := map[string]*yaml.Node{}
	for _, key := range keys {
		fields[key] = nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		known, ok := fields[key.Value]
		switch {
		case !ok:
			hint := rewrite
			if near := nearest.Word(key.Value, keys); near != "" {
				hint = fmt.Sprintf("did you mean %q?", near)
			}
			r.wrong(key, hint, "unknown key %q in %s", key.Value, what)
		case known != nil:
			r.wrong(key, rewrite, "%s is there twice", key.Value)
		default:
			fields[key.Value] = value
		}
	}
	for _, key := range keys {
		if fields[key] == nil {
			r.wrong(n, rewrite, "%s lacks %s", what, key)
		}
	}
	return fields
}

var (
	nameForm     = regexp.MustCompile(`^[a-z0-9][a-zA-Z0-9.:/_-]*$`)
	tagForm      = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
	platformForm = regexp.MustCompile(`^[a-z0-9]+/[a-z0-9]+$`)
)
