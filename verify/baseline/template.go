package baseline

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// A template is text with {CEL} placeholders.
type template struct {
	parts []part
}

// A part is literal text, or a program when it is a placeholder.
type part struct {
	text    string
	program cel.Program
}

// template compiles text. "{{" and "}}" stand for single braces.
func (c *compiler) template(env *cel.Env, text string) (*template, error) {
	t := &template{}
	var literal strings.Builder
	for i := 0; i < len(text); i++ {
		ch := text[i]
		switch {
		case (ch == '{' || ch == '}') && i+1 < len(text) && text[i+1] == ch:
			literal.WriteByte(ch)
			i++
		case ch == '}':
			return nil, errors.New(`has a "}" that closes nothing; write "}}" for a brace`)
		case ch != '{':
			literal.WriteByte(ch)
		default:
			end := placeholderEnd(text[i+1:])
			if end < 0 {
				return nil, errors.New(`has a "{" that is not closed; write "{{" for a brace`)
			}
			source := text[i+1 : i+1+end]
			program, _, err := c.program(env, source, nil)
			if err != nil {
				return nil, err
			}
			t.parts = append(t.parts, part{text: literal.String()}, part{text: source, program: program})
			literal.Reset()
			i += end + 1
		}
	}
	t.parts = append(t.parts, part{text: literal.String()})
	return t, nil
}

// placeholderEnd finds the brace that closes a placeholder, past braces and
// quotes inside its expression, or returns -1.
func placeholderEnd(s string) int {
	depth, quote := 0, byte(0)
	for i := 0; i < len(s); i++ {
		switch ch := s[i]; {
		case quote != 0:
			if ch == '\\' {
				i++
			} else if ch == quote {
				quote = 0
			}
		case ch == '"' || ch == '\'':
			quote = ch
		case ch == '{':
			depth++
		case ch == '}' && depth == 0:
			return i
		case ch == '}':
			depth--
		}
	}
	return -1
}

// render fills the placeholders in. One that fails shows its error in place:
// a finding must not get lost over its wording.
func (t *template) render(ctx context.Context, vars any) string {
	var b strings.Builder
	for _, p := range t.parts {
		if p.program == nil {
			b.WriteString(p.text)
			continue
		}
		value, _, err := p.program.ContextEval(ctx, vars)
		if err != nil {
			fmt.Fprintf(&b, "(%s: %v)", p.text, err)
			continue
		}
		b.WriteString(text(value))
	}
	return b.String()
}

// text shows a value to people.
func text(value ref.Val) string {
	switch v := value.(type) {
	case types.String:
		return string(v)
	case types.Null:
		return "nothing"
	case traits.Lister:
		var items []string
		for it := v.Iterator(); it.HasNext() == types.True; {
			items = append(items, text(it.Next()))
		}
		if len(items) == 0 {
			return "none"
		}
		return strings.Join(items, ", ")
	}
	return fmt.Sprint(value.Value())
}
