package provision

import (
	"fmt"
	"regexp"
	"strings"
)

// Directives are settings in a file that belongs to others, such as
// login.defs(5): the lines of these keys are ours, all others stay as they are.
// A file that is not there is left so.
type Directives struct {
	About
	Path string // absolute, without blanks
	// Separator stands between key and value where a line is written. Lines are
	// found whatever blanks and "=" they have there.
	Separator string
	Values    []Directive
	// Check, Expect and Actions are as in [File].
	Check, Expect string
	Actions       []string
}

// A Directive is one setting.
type Directive struct{ Key, Value string }

// ID is "directives:" and the path.
func (d Directives) ID() string { return "directives:" + d.Path }

func (d Directives) file() File {
	return File{About: d.About, Path: d.Path, Check: d.Check, Expect: d.Expect, Actions: d.Actions}
}

func (d Directives) observe(w *wanted) { d.file().observe(w) }

// Change compares the keys' lines.
func (d Directives) Change(facts Facts) (Change, bool) {
	now, exists := facts.Files[d.Path]
	if !exists || now.Kind != "file" || !d.appliesTo(facts) {
		return Change{}, false
	}
	file := d.file()
	file.Content, file.Owner, file.Group = d.in(string(now.Content)), now.Owner, now.Group
	if _, err := fmt.Sscanf(now.Mode, "%o", &file.Mode); err != nil {
		return Change{}, false
	}
	c, differs := file.Change(facts)
	if !differs {
		return Change{}, false
	}
	var keys []string
	for _, v := range d.Values {
		if (Directives{Separator: d.Separator, Values: []Directive{v}}).in(string(now.Content)) != string(now.Content) {
			keys = append(keys, v.Key)
		}
	}
	c.ID, c.Summary = d.ID(), fmt.Sprintf("set %s in %s", strings.Join(keys, ", "), d.Path)
	// The file is somebody else's, who may have changed it since.
	c.how.script = fmt.Sprintf("unchanged %s %s\n", now.SHA256, d.Path) + c.how.script
	return c, true
}

// in returns text with the values set: a key's first line is replaced, further
// ones go, and what is missing comes last.
func (d Directives) in(text string) string {
	lines := strings.SplitAfter(text, "\n")
	for _, v := range d.Values {
		own := regexp.MustCompile(`^[ \t]*` + regexp.QuoteMeta(v.Key) + `([ \t=]|\r?\n?$)`)
		line, done := v.Key+d.Separator+v.Value+"\n", false
		var kept []string
		for _, l := range lines {
			switch {
			case !own.MatchString(l):
				kept = append(kept, l)
			case !done && sameDirective(l, line):
				kept, done = append(kept, l), true
			case !done:
				kept, done = append(kept, line), true
			}
		}
		if !done {
			if last := len(kept) - 1; last >= 0 && kept[last] != "" && !strings.HasSuffix(kept[last], "\n") {
				kept[last] += "\n"
			}
			kept = append(kept, line)
		}
		lines = kept
	}
	return strings.Join(lines, "")
}

// sameDirective reports whether two lines say the same, whatever the blanks.
func sameDirective(a, b string) bool {
	words := func(s string) []string {
		return strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(" \t=\r\n", r) })
	}
	return strings.Join(words(a), " ") == strings.Join(words(b), " ")
}
