package secrets

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	// The one import of a YAML parser in this package; see docs/dependencies.md.
	"gopkg.in/yaml.v3"
)

// nameForm is what a secret's name looks like: that of an environment variable.
var nameForm = regexp.MustCompile(`^[A-Z][A-Z0-9_]*$`)

// maxPlain is the largest decrypted file in bytes.
const maxPlain = 1 << 20

const heading = "# Secrets of this environment: NAME: \"value\". `holdfast init` makes those it knows.\n"

// marshal writes a set as YAML, always the same for the same set: one line a
// secret, in the order of the names.
func marshal(set Set) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(heading)
	for _, name := range set.Names() {
		value := set[name]
		switch {
		case !nameForm.MatchString(name):
			return nil, fmt.Errorf("%q is no name for a secret: upper-case letters, digits and \"_\"", name)
		case !utf8.ValidString(value) || strings.Contains(value, "\x00"):
			// Both could not reach a container as an environment variable.
			return nil, fmt.Errorf("the value of %s is not text", name)
		}
		// Go's quoting is a subset of YAML's double-quoted style (YAML 1.2.2, 5.7).
		fmt.Fprintf(&b, "%s: %s\n", name, strconv.Quote(value))
	}
	if b.Len() > maxPlain {
		return nil, fmt.Errorf("they are larger than %d KiB together", maxPlain>>10)
	}
	return b.Bytes(), nil
}

// unmarshal reads what marshal or a person wrote. Its errors say the line and
// never repeat a value, not even when the parser would.
func unmarshal(data []byte) (Set, error) {
	var document yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return Set{}, nil
	} else if err != nil {
		line := yamlLine.FindString(err.Error())
		return nil, fmt.Errorf("they are not YAML%s", line)
	}
	root := &document
	if root.Kind == yaml.DocumentNode && len(root.Content) == 1 {
		root = root.Content[0]
	}
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return Set{}, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("they are not a list of NAME: value")
	}
	set := Set{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		if key.Kind != yaml.ScalarNode || !nameForm.MatchString(key.Value) {
			return nil, fmt.Errorf("line %d does not start with a name of upper-case letters, digits and \"_\"", key.Line)
		}
		if _, twice := set[key.Value]; twice {
			return nil, fmt.Errorf("line %d: %s is there twice", key.Line, key.Value)
		}
		switch {
		case value.Kind != yaml.ScalarNode:
			return nil, fmt.Errorf("line %d: the value of %s is not text", value.Line, key.Value)
		case value.ShortTag() == "!!null":
			set[key.Value] = ""
		default:
			set[key.Value] = value.Value // a number is the text it was written as
		}
	}
	if err := decoder.Decode(&document); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more than one YAML document")
	}
	return set, nil
}

var yamlLine = regexp.MustCompile(` line \d+`)
