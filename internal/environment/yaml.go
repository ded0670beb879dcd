package environment

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	// The one import of a YAML parser in this package: the maintained fork
	// go.yaml.in/yaml/v3 has the same API, so that moving to it is this line.
	"gopkg.in/yaml.v3"
)

// node is one parsed YAML value with its position; lines and columns count from 1.
type node = yaml.Node

const (
	mapping  = yaml.MappingNode
	sequence = yaml.SequenceNode
	scalar   = yaml.ScalarNode
	alias    = yaml.AliasNode
)

// A syntaxError is YAML that can't be read at all. Line is 0 when the parser
// does not say where.
type syntaxError struct {
	line    int
	message string
}

func (e *syntaxError) Error() string { return e.message }

// parse reads data as one YAML document and returns its root, or nil when the
// document is empty. Aliases are not followed, so a small document can't grow.
func parse(data []byte) (*node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, syntax(err)
	}
	var second node
	switch err := decoder.Decode(&second); {
	case err == nil:
		return nil, &syntaxError{second.Line, "a second YAML document starts here; there can be only one"}
	case !errors.Is(err, io.EOF):
		return nil, syntax(err)
	}
	if len(document.Content) != 1 {
		return nil, nil
	}
	return document.Content[0], nil
}

var yamlLine = regexp.MustCompile(`^yaml: line (\d+): `)

// syntax takes apart the parser's message, which is the only place where it
// says the line. It counts from 0 when the parser complains and from 1 when the
// scanner does (yaml.v3, decode.go, func fail); only the parser's messages start
// with "did not find expected".
func syntax(err error) *syntaxError {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		line, _ = strconv.Atoi(m[1])
		message = strings.TrimPrefix(err.Error(), m[0])
		if strings.HasPrefix(message, "did not find expected") {
			line++
		}
	}
	return &syntaxError{line, "this is not YAML: " + message}
}

// scalarText returns s as a YAML scalar on one line, in quotes where it needs them.
func scalarText(s string) (string, error) {
	data, err := yaml.Marshal(s)
	return strings.TrimSpace(string(data)), err
}
