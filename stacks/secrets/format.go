package secrets

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	// The one import of a YAML parser in this package; see docs/dependencies.md.
	"gopkg.in/yaml.v3"
)

// nameForm is what a secret's name looks like: that of an environment variable.
var nameForm = regexp.MustCompile(`^[A-Z][A-Z0-9_]*$`)

// maxPlain is the largest decrypted file in bytes.
const maxPlain = 1 << 20

const heading = "# Secrets of this environment: NAME: \"value\" # when it was made. `holdfast init` makes those it knows.\n"

// The keys of a rotation that is under way. It is no secret's name: a Holdfast
// that knows nothing of rotations refuses the file instead of starting services
// with the old values.
const (
	rotationKey = "rotation"
	beganKey    = "began"
)

// marshal writes a file as YAML, always the same for the same file: one line a
// secret, in the order of the names, with its age in a comment.
func marshal(f *File) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(heading)
	if err := marshalSet(&b, f.Set, f.Made, ""); err != nil {
		return nil, err
	}
	if f.Rotation != nil {
		fmt.Fprintf(&b, "# Begun and not ended: `holdfast deploy` puts these values in force, or takes them back.\n%s:\n  %s: %q\n", rotationKey, beganKey, f.Rotation.Began.UTC().Format(time.RFC3339))
		if err := marshalSet(&b, f.Rotation.New, nil, "  "); err != nil {
			return nil, err
		}
	}
	if b.Len() > maxPlain {
		return nil, fmt.Errorf("they are larger than %d KiB together", maxPlain>>10)
	}
	return b.Bytes(), nil
}

func marshalSet(b *bytes.Buffer, set Set, made map[string]time.Time, indent string) error {
	for _, name := range set.Names() {
		value := set[name]
		switch {
		case !nameForm.MatchString(name):
			return fmt.Errorf("%q is no name for a secret: upper-case letters, digits and \"_\"", name)
		case !utf8.ValidString(value) || strings.Contains(value, "\x00"):
			// Both could not reach a container as an environment variable.
			return fmt.Errorf("the value of %s is not text", name)
		}
		// Go's quoting is a subset of YAML's double-quoted style (YAML 1.2.2, 5.7).
		fmt.Fprintf(b, "%s%s: %s", indent, name, strconv.Quote(value))
		if at, known := made[name]; known {
			b.WriteString(" # " + at.UTC().Format(time.RFC3339))
		}
		b.WriteString("\n")
	}
	return nil
}

// unmarshal reads what marshal or a person wrote. Its errors say the line and
// never repeat a value, not even when the parser would.
func unmarshal(data []byte) (*File, error) {
	f := &File{Set: Set{}, Made: map[string]time.Time{}}
	var document yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return f, nil
	} else if err != nil {
		line := yamlLine.FindString(err.Error())
		return nil, fmt.Errorf("they are not YAML%s", line)
	}
	root := &document
	if root.Kind == yaml.DocumentNode && len(root.Content) == 1 {
		root = root.Content[0]
	}
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return f, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("they are not a list of NAME: value")
	}
	if err := f.read(root); err != nil {
		return nil, err
	}
	if err := decoder.Decode(&document); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more than one YAML document")
	}
	return f, nil
}

func (f *File) read(root *yaml.Node) error {
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		if key.Value == rotationKey && value.Kind == yaml.MappingNode && f.Rotation == nil {
			f.Rotation = &Rotation{New: Set{}}
			if err := f.Rotation.read(value); err != nil {
				return err
			}
			continue
		}
		if err := readValue(f.Set, key, value); err != nil {
			return err
		}
		comment := strings.TrimSpace(strings.TrimPrefix(value.LineComment, "#"))
		if at, err := time.Parse(time.RFC3339, comment); err == nil {
			f.Made[key.Value] = at.UTC()
		}
	}
	return nil
}

func (r *Rotation) read(root *yaml.Node) error {
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		if key.Value == beganKey && value.Kind == yaml.ScalarNode {
			at, err := time.Parse(time.RFC3339, value.Value)
			if err != nil {
				return fmt.Errorf("line %d: rotation.began is no time", value.Line)
			}
			r.Began = at.UTC()
			continue
		}
		if err := readValue(r.New, key, value); err != nil {
			return err
		}
	}
	return nil
}

// readValue reads one secret into set.
func readValue(set Set, key, value *yaml.Node) error {
	if key.Kind != yaml.ScalarNode || !nameForm.MatchString(key.Value) {
		return fmt.Errorf("line %d does not start with a name of upper-case letters, digits and \"_\"", key.Line)
	}
	if _, twice := set[key.Value]; twice {
		return fmt.Errorf("line %d: %s is there twice", key.Line, key.Value)
	}
	switch {
	case value.Kind != yaml.ScalarNode:
		return fmt.Errorf("line %d: the value of %s is not text", value.Line, key.Value)
	case value.ShortTag() == "!!null":
		set[key.Value] = ""
	default:
		set[key.Value] = value.Value // a number is the text it was written as
	}
	return nil
}

var yamlLine = regexp.MustCompile(` line \d+`)
