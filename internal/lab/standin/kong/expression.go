package kong

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

// An expression is a compiled condition of the expressions router. Known are
// http.path, http.method, http.host, http.headers.NAME, http.queries.NAME and
// net.protocol; the operators ==, !=, ^=, =^, ~ and contains; &&, ||, ! and
// parentheses. See "Expressions language" in Kong's reference.
type expression func(*asked) bool

// An asked is one request that an expression is asked about. An expression
// that takes the request by its path says by which part of it.
type asked struct {
	request *http.Request
	path    string
	matched string
}

func (c *asked) value(field string) string {
	switch {
	case field == "http.path":
		return c.path
	case field == "http.method":
		return c.request.Method
	case field == "http.host":
		host, _, _ := strings.Cut(c.request.Host, ":")
		return strings.ToLower(host)
	case field == "net.protocol":
		return "http"
	case strings.HasPrefix(field, "http.headers."):
		return c.request.Header.Get(strings.ReplaceAll(strings.TrimPrefix(field, "http.headers."), "_", "-"))
	default:
		return c.request.URL.Query().Get(strings.TrimPrefix(field, "http.queries."))
	}
}

// MaxDepth bounds the nesting of foreign expressions.
const maxDepth = 50

var expressionToken = regexp.MustCompile(`^(?:\s+|(&&|\|\||==|!=|\^=|=\^|~|!|\(|\))|("(?:[^"\\]|\\.)*")|(r#"[^"]*"#)|([A-Za-z_][A-Za-z0-9_.*-]*))`)

func compileExpression(source string) (expression, error) {
	p := &expressionParser{}
	for rest := source; rest != ""; {
		m := expressionToken.FindStringSubmatch(rest)
		if m == nil {
			return nil, fmt.Errorf("unexpected %q", rest)
		}
		rest = rest[len(m[0]):]
		if strings.TrimSpace(m[0]) != "" {
			p.tokens = append(p.tokens, m[0])
		}
	}
	e, err := p.or(0)
	if err != nil {
		return nil, err
	}
	if p.at < len(p.tokens) {
		return nil, fmt.Errorf("unexpected %q", p.tokens[p.at])
	}
	return e, nil
}

type expressionParser struct {
	tokens []string
	at     int
}

func (p *expressionParser) next() string {
	if p.at == len(p.tokens) {
		return ""
	}
	p.at++
	return p.tokens[p.at-1]
}

func (p *expressionParser) accept(token string) bool {
	if p.at < len(p.tokens) && p.tokens[p.at] == token {
		p.at++
		return true
	}
	return false
}

func (p *expressionParser) or(depth int) (expression, error) {
	left, err := p.and(depth)
	for err == nil && p.accept("||") {
		var right expression
		if right, err = p.and(depth); err == nil {
			l := left
			left = func(c *asked) bool { return l(c) || right(c) }
		}
	}
	return left, err
}

func (p *expressionParser) and(depth int) (expression, error) {
	left, err := p.unary(depth)
	for err == nil && p.accept("&&") {
		var right expression
		if right, err = p.unary(depth); err == nil {
			l := left
			left = func(c *asked) bool { return l(c) && right(c) }
		}
	}
	return left, err
}

func (p *expressionParser) unary(depth int) (expression, error) {
	if depth > maxDepth {
		return nil, errors.New("nested too deeply")
	}
	if p.accept("!") {
		inner, err := p.unary(depth + 1)
		return func(c *asked) bool { return !inner(c) }, err
	}
	if p.accept("(") {
		inner, err := p.or(depth + 1)
		if err == nil && !p.accept(")") {
			err = errors.New("a closing parenthesis is missing")
		}
		return inner, err
	}
	return p.comparison()
}

func (p *expressionParser) comparison() (expression, error) {
	field, operator, literal := p.next(), p.next(), p.next()
	switch {
	case field == "http.path", field == "http.method", field == "http.host", field == "net.protocol",
		strings.HasPrefix(field, "http.headers."), strings.HasPrefix(field, "http.queries."):
	default:
		return nil, fmt.Errorf("the stand-in does not know the field %q", field)
	}
	var want string
	switch {
	case strings.HasPrefix(literal, `r#"`):
		want = strings.TrimSuffix(strings.TrimPrefix(literal, `r#"`), `"#`)
	case strings.HasPrefix(literal, `"`):
		want = regexp.MustCompile(`\\(.)`).ReplaceAllString(literal[1:len(literal)-1], "$1")
	default:
		return nil, fmt.Errorf("%s %s needs a string, not %q", field, operator, literal)
	}
	// Only what a path starts with can be stripped off it.
	matched := func(c *asked, ok bool) bool {
		if ok && field == "http.path" && strings.HasPrefix(c.path, want) {
			c.matched = want
		}
		return ok
	}
	switch operator {
	case "==":
		return func(c *asked) bool { return matched(c, c.value(field) == want) }, nil
	case "!=":
		return func(c *asked) bool { return c.value(field) != want }, nil
	case "^=":
		return func(c *asked) bool { return matched(c, strings.HasPrefix(c.value(field), want)) }, nil
	case "=^":
		return func(c *asked) bool { return strings.HasSuffix(c.value(field), want) }, nil
	case "contains":
		return func(c *asked) bool { return strings.Contains(c.value(field), want) }, nil
	case "~":
		regex, err := regexp.Compile(want)
		if err != nil {
			return nil, err
		}
		return func(c *asked) bool { return regex.MatchString(c.value(field)) }, nil
	}
	return nil, fmt.Errorf("the stand-in does not know the operator %q", operator)
}
