package environment

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// An Error is one thing wrong with an environment folder.
type Error struct {
	File    string `json:"file"`             // as the user named it, such as "production/holdfast.yml"
	Line    int    `json:"line,omitempty"`   // from 1; 0 when the whole file is meant
	Column  int    `json:"column,omitempty"` // from 1, in characters
	Path    string `json:"path,omitempty"`   // the value, such as "servers.audit.port" or "access.operators[0]"
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // what to do, or what was meant; may be empty
}

// Error returns "file:line:column: message (hint)".
func (e Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
		if e.Column > 0 {
			fmt.Fprintf(&b, ":%d", e.Column)
		}
	}
	b.WriteString(": " + e.Message)
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	return b.String()
}

// Errors is everything that is wrong, in the order of the file, so that it can
// be mended in one go. It holds at least one Error.
type Errors []Error

// Error returns one line an error.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// sort puts the errors in the order of the file.
func (e Errors) sort() {
	slices.SortStableFunc(e, func(a, b Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// orNil is e as an error, or nil when nothing is wrong.
func (e Errors) orNil() error {
	if len(e) == 0 {
		return nil
	}
	return e
}
