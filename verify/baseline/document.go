package baseline

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"gopkg.in/yaml.v3"

	"holdfast/internal/nearest"
)

// A document is one baseline file as written.
type document struct {
	Extends   string     `yaml:"extends"`
	Rules     []Rule     `yaml:"rules"`
	Overrides []Override `yaml:"overrides"`
	Waivers   []Waiver   `yaml:"waivers"`
}

// positions remembers where a value stood, by its path: "rules[3].holds".
type positions struct {
	file  string
	nodes map[string]*yaml.Node
}

// at returns "file:line:column" of the value at path, or of the closest
// enclosing value that is written down.
func (p positions) at(path string) string {
	for {
		if n, ok := p.nodes[path]; ok {
			return fmt.Sprintf("%s:%d:%d", p.file, n.Line, n.Column)
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			return p.file
		}
		path = path[:cut]
	}
}

// parse reads a baseline file strictly: a key that means nothing, a key given
// twice or a value of the wrong type is an error with its place.
func parse(data []byte, file string) (document, positions, error) {
	pos := positions{file: file, nodes: map[string]*yaml.Node{}}
	var doc document
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		return doc, pos, fmt.Errorf("%s: %s", file, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if root.Kind == 0 { // an empty file
		return doc, pos, nil
	}
	if err := pos.check(root.Content[0], reflect.TypeFor[document](), ""); err != nil {
		return doc, pos, err
	}
	if err := root.Decode(&doc); err != nil {
		var wrong *yaml.TypeError
		if errors.As(err, &wrong) {
			err = errors.New(strings.Join(wrong.Errors, "; "))
		}
		return doc, pos, fmt.Errorf("%s: %s", file, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	return doc, pos, nil
}

// check walks a node beside the type it will be decoded into.
func (p positions) check(n *yaml.Node, t reflect.Type, path string) error {
	if n.Kind == yaml.AliasNode {
		if n.Alias.Kind != yaml.ScalarNode {
			return p.errorf(n, "only single values can be repeated with an alias: write it out")
		}
		p.nodes[path] = n
		return nil // checked where it is anchored, and by the decoder
	}
	p.nodes[path] = n
	switch t.Kind() {
	case reflect.Struct:
		return p.checkStruct(n, t, path)
	case reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			return p.errorf(n, "%s must be a list", named(path))
		}
		for i, item := range n.Content {
			if err := p.check(item, t.Elem(), fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
	case reflect.Map:
		if n.Kind != yaml.MappingNode {
			return p.errorf(n, "%s must be a mapping", named(path))
		}
	case reflect.Interface:
	default:
		if n.Kind != yaml.ScalarNode {
			return p.errorf(n, "%s must be a single value", named(path))
		}
	}
	return nil
}

func (p positions) checkStruct(n *yaml.Node, t reflect.Type, path string) error {
	if n.Kind != yaml.MappingNode {
		return p.errorf(n, "%s must be a mapping", named(path))
	}
	fields := map[string]reflect.Type{}
	var names []string
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		fields[name] = t.Field(i).Type
		names = append(names, name)
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		field, known := fields[key.Value]
		if !known {
			return p.errorf(key, "unknown key %q in %s%s", key.Value, named(path), suggest(key.Value, names))
		}
		if seen[key.Value] {
			return p.errorf(key, "key %q is given twice", key.Value)
		}
		seen[key.Value] = true
		below := key.Value
		if path != "" {
			below = path + "." + key.Value
		}
		if err := p.check(value, field, below); err != nil {
			return err
		}
	}
	return nil
}

func (p positions) errorf(n *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("%s:%d:%d: %s", p.file, n.Line, n.Column, fmt.Sprintf(format, args...))
}

// named describes a path to a person; the empty path is the file itself.
func named(path string) string {
	if path == "" {
		return "the file"
	}
	return path
}

// suggest returns a hint that names the known word closest to word, or
// nothing when none is close.
func suggest(word string, known []string) string {
	best := nearest.Word(word, known)
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", best)
}
