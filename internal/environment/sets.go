package environment

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// WithSets returns the environment as it is when its stacks name other catalog sets,
// and the text of its holdfast.yml then: everything but the names stays as it is
// written. sets is by stack. Nothing is written; see WriteConfig.
//
// A set that holdfast.yml does not name, because it is the default, can't be
// replaced: the error says which line to add.
func (e *Environment) WithSets(sets map[string]string) (*Environment, []byte, error) {
	file := filepath.Join(e.Dir, FileName)
	data, err := read(file, maxSize)
	if err != nil {
		return nil, nil, Errors{{File: file, Message: "can't be read: " + err.Error()}}
	}
	lines := strings.SplitAfter(string(data), "\n")
	var wrong Errors
	for stack, set := range sets {
		path := "stacks." + stack + ".set"
		at, ok := e.positions[path]
		if !ok || at.line > len(lines) {
			wrong = append(wrong, e.ErrorAt(path, "holdfast.yml does not name it", fmt.Sprintf("add `set: %s` to stacks.%s", set, stack)))
			continue
		}
		line := []rune(lines[at.line-1])
		before := min(at.column-1, len(line))
		rest := string(line[before:])
		named := setName.FindStringSubmatchIndex(rest)
		if named == nil {
			wrong = append(wrong, e.ErrorAt(path, "its name can't be replaced where it stands", fmt.Sprintf("write `set: %s` on one line", set)))
			continue
		}
		lines[at.line-1] = string(line[:before]) + rest[:named[2]] + set + rest[named[3]:]
	}
	if len(wrong) > 0 {
		wrong.sort()
		return nil, nil, wrong
	}
	text := []byte(strings.Join(lines, ""))
	changed, err := decode(e.Dir, text)
	return changed, text, err
}

// setName is a set's name where holdfast.yml has it, with its key or without.
var setName = regexp.MustCompile(`^(?:["']?set["']?\s*:\s*)?["']?([A-Za-z0-9][A-Za-z0-9._-]*)`)

// WriteConfig replaces the folder's holdfast.yml in one step, with the permissions
// that it has, and returns the text it replaced.
func (e *Environment) WriteConfig(text []byte) (former []byte, err error) {
	file := filepath.Join(e.Dir, FileName)
	if former, err = read(file, maxSize); err != nil {
		return nil, Errors{{File: file, Message: "can't be read: " + err.Error()}}
	}
	if slices.Equal(former, text) {
		return former, nil
	}
	mode := os.FileMode(0o644)
	if info, err := os.Stat(file); err == nil {
		mode = info.Mode().Perm()
	}
	temp := file + ".new"
	if err = os.WriteFile(temp, text, mode); err == nil {
		err = os.Rename(temp, file)
	}
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", file, err)
	}
	return former, nil
}
