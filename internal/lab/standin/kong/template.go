package kong

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// A template is a value of request-transformer: text with $(…) parts, each a
// Lua expression over headers and query_params. The stand-in evaluates the
// part of Lua that such values are made of: and, or, not, ==, ~=, "..",
// strings, nil, true, false, parentheses, and the string methods sub, lower
// and upper. Anything else stops the start, so that no rule is silently lost.
type template []func(*variables) string

// Variables are what a template can refer to.
type variables struct {
	headers func(name string) (string, bool)
	query   func(name string) (string, bool)
}

func (t template) render(v *variables) string {
	var b strings.Builder
	for _, part := range t {
		b.WriteString(part(v))
	}
	return b.String()
}

func compileTemplate(source string) (template, error) {
	var t template
	for {
		text, rest, found := strings.Cut(source, "$(")
		if text != "" {
			t = append(t, func(*variables) string { return text })
		}
		if !found {
			return t, nil
		}
		end := closing(rest)
		if end < 0 {
			return nil, fmt.Errorf("template %q has no closing parenthesis", "$("+rest)
		}
		e, err := compileLua(rest[:end])
		if err != nil {
			return nil, fmt.Errorf("template %q: %w", "$("+rest[:end+1], err)
		}
		t = append(t, func(v *variables) string {
			if s, ok := e(v).(string); ok {
				return s
			}
			return ""
		})
		source = rest[end+1:]
	}
}

// Closing returns the index of the parenthesis that closes one opened before
// s, leaving out those in strings, or -1.
func closing(s string) int {
	depth, quote := 1, byte(0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quote != 0:
			if c == '\\' {
				i++
			} else if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// A lua is a compiled expression; its value is nil, a bool, an int or a string.
type lua func(*variables) any

func truthy(v any) bool { return v != nil && v != false }

var luaToken = regexp.MustCompile(`^(?:\s+|(==|~=|\.\.|[().,:\[\]])|('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|(-?[0-9]+)|([A-Za-z_][A-Za-z0-9_]*))`)

func compileLua(source string) (lua, error) {
	p := &luaParser{}
	for rest := source; rest != ""; {
		m := luaToken.FindString(rest)
		if m == "" {
			return nil, fmt.Errorf("the stand-in does not understand %q", rest)
		}
		rest = rest[len(m):]
		if strings.TrimSpace(m) != "" {
			p.tokens = append(p.tokens, m)
		}
	}
	e, err := p.or(0)
	if err != nil {
		return nil, err
	}
	if p.at < len(p.tokens) {
		return nil, fmt.Errorf("the stand-in does not understand %q", p.tokens[p.at])
	}
	return e, nil
}

type luaParser struct {
	tokens []string
	at     int
}

func (p *luaParser) peek() string {
	if p.at == len(p.tokens) {
		return ""
	}
	return p.tokens[p.at]
}

func (p *luaParser) next() string {
	t := p.peek()
	if t != "" {
		p.at++
	}
	return t
}

func (p *luaParser) accept(token string) bool {
	if p.peek() == token {
		p.at++
		return true
	}
	return false
}

func (p *luaParser) or(depth int) (lua, error) {
	left, err := p.and(depth)
	for err == nil && p.accept("or") {
		var right lua
		if right, err = p.and(depth); err == nil {
			l := left
			left = func(v *variables) any {
				if x := l(v); truthy(x) {
					return x
				}
				return right(v)
			}
		}
	}
	return left, err
}

func (p *luaParser) and(depth int) (lua, error) {
	left, err := p.compare(depth)
	for err == nil && p.accept("and") {
		var right lua
		if right, err = p.compare(depth); err == nil {
			l := left
			left = func(v *variables) any {
				if x := l(v); !truthy(x) {
					return x
				}
				return right(v)
			}
		}
	}
	return left, err
}

func (p *luaParser) compare(depth int) (lua, error) {
	left, err := p.concat(depth)
	for err == nil && (p.peek() == "==" || p.peek() == "~=") {
		equal := p.next() == "=="
		var right lua
		if right, err = p.concat(depth); err == nil {
			l := left
			left = func(v *variables) any { return (l(v) == right(v)) == equal }
		}
	}
	return left, err
}

func (p *luaParser) concat(depth int) (lua, error) {
	left, err := p.unary(depth)
	for err == nil && p.accept("..") {
		var right lua
		if right, err = p.unary(depth); err == nil {
			l := left
			left = func(v *variables) any {
				a, _ := l(v).(string)
				b, _ := right(v).(string)
				return a + b
			}
		}
	}
	return left, err
}

func (p *luaParser) unary(depth int) (lua, error) {
	if depth > maxDepth {
		return nil, errors.New("nested too deeply")
	}
	if p.accept("not") {
		inner, err := p.unary(depth + 1)
		return func(v *variables) any { return !truthy(inner(v)) }, err
	}
	value, err := p.primary(depth)
	for err == nil && p.accept(":") {
		value, err = p.method(value)
	}
	return value, err
}

func (p *luaParser) primary(depth int) (lua, error) {
	t := p.next()
	switch {
	case t == "(":
		inner, err := p.or(depth + 1)
		if err == nil && !p.accept(")") {
			err = errors.New("a closing parenthesis is missing")
		}
		return inner, err
	case t == "nil":
		return func(*variables) any { return nil }, nil
	case t == "true", t == "false":
		return func(*variables) any { return t == "true" }, nil
	case t == "headers", t == "query_params":
		name, err := p.index()
		if err != nil {
			return nil, err
		}
		return func(v *variables) any {
			get := v.headers
			if t == "query_params" {
				get = v.query
			}
			if s, ok := get(name); ok {
				return s
			}
			return nil
		}, nil
	case t != "" && (t[0] == '\'' || t[0] == '"'):
		s := unquoteLua(t)
		return func(*variables) any { return s }, nil
	}
	return nil, fmt.Errorf("the stand-in does not understand %q", t)
}

// Index reads ".name" or "['name']".
func (p *luaParser) index() (string, error) {
	if p.accept(".") {
		return p.next(), nil
	}
	if p.accept("[") {
		t := p.next()
		if t != "" && (t[0] == '\'' || t[0] == '"') && p.accept("]") {
			return unquoteLua(t), nil
		}
	}
	return "", errors.New("a name is missing after headers or query_params")
}

func (p *luaParser) method(on lua) (lua, error) {
	name := p.next()
	if !p.accept("(") {
		return nil, fmt.Errorf("%s: an opening parenthesis is missing", name)
	}
	var args []int
	for !p.accept(")") {
		n := 0
		if _, err := fmt.Sscanf(p.next(), "%d", &n); err != nil {
			return nil, fmt.Errorf("%s: the stand-in takes whole numbers only", name)
		}
		args = append(args, n)
		p.accept(",")
	}
	apply, known := map[string]func(string) string{
		"lower": strings.ToLower,
		"upper": strings.ToUpper,
		"sub":   func(s string) string { return luaSub(s, args) },
	}[name]
	if !known || name == "sub" && (len(args) == 0 || len(args) > 2) || name != "sub" && len(args) > 0 {
		return nil, fmt.Errorf("the stand-in does not know the method %s with %d arguments", name, len(args))
	}
	return func(v *variables) any {
		if s, ok := on(v).(string); ok {
			return apply(s)
		}
		return nil
	}, nil
}

// LuaSub is string.sub: positions count from 1, negative ones from the end.
func luaSub(s string, args []int) string {
	from, to := args[0], len(s)
	if len(args) == 2 {
		to = args[1]
	}
	if from < 0 {
		from = len(s) + from + 1
	}
	if to < 0 {
		to = len(s) + to + 1
	}
	from, to = max(from, 1), min(to, len(s))
	if from > to {
		return ""
	}
	return s[from-1 : to]
}

func unquoteLua(t string) string {
	return regexp.MustCompile(`\\(.)`).ReplaceAllString(t[1:len(t)-1], "$1")
}
