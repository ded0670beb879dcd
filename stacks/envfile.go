package stacks

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/compose-spec/compose-go/v2/dotenv"
)

// envFile is the secret environment of one service.
type envFile struct {
	names  []string // in the order they were declared
	values map[string]string
}

func (f *envFile) set(name, value string) {
	if f.values == nil {
		f.values = map[string]string{}
	}
	if _, ok := f.values[name]; !ok {
		f.names = append(f.names, name)
	}
	f.values[name] = value
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// encode writes the file as Compose reads it back. Compose's format is not the
// shell's: quoting decides whether "$" and "\" mean something, so what was
// written is read again with Compose's own parser and compared.
func (f *envFile) encode() ([]byte, error) {
	var b strings.Builder
	for _, name := range f.names {
		if !envName.MatchString(name) {
			return nil, fmt.Errorf("%q is not the name of a variable", name)
		}
		if strings.ContainsAny(f.values[name], "\x00\r") {
			return nil, fmt.Errorf("the value of %s has a NUL or a carriage return, which an environment file can't hold", name)
		}
		b.WriteString(name + "=" + envValue(f.values[name]) + "\n")
	}
	back, err := dotenv.ParseWithLookup(strings.NewReader(b.String()), func(string) (string, bool) { return "", false })
	if err != nil {
		// Not wrapped: the parser's errors quote the line.
		return nil, fmt.Errorf("a value can't be written so that Compose reads it back")
	}
	for _, name := range f.names {
		if back[name] != f.values[name] {
			return nil, fmt.Errorf("the value of %s can't be written so that Compose reads it back", name)
		}
	}
	return []byte(b.String()), nil
}

// envValue quotes a value. Between single quotes nothing has a meaning but the
// quote itself and, for Compose alone, the backslash; a value with either, or with
// a line break, goes between double quotes with escapes. A backslash is written
// as its octal number: older Compose takes `\\"` for an escaped quote.
func envValue(value string) string {
	if !strings.ContainsAny(value, "'\\\n") {
		return "'" + value + "'"
	}
	return `"` + strings.NewReplacer(`\`, `\0134`, `"`, `\"`, `$`, `\$`, "\n", `\n`).Replace(value) + `"`
}

// urlPart escapes a value for the user information of a URL.
func urlPart(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}
