package baseline

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"

	"holdfast/verify"
)

// A compiler turns the texts of rules into programs. Environments are kept by
// what they declare, because making one costs as much as compiling with it.
type compiler struct {
	base   *cel.Env
	schema *schema

	mu   sync.Mutex
	envs map[string]*cel.Env
}

func newCompiler() (*compiler, error) {
	base, schema, err := newEnv()
	if err != nil {
		return nil, err
	}
	return &compiler{base: base, schema: schema, envs: map[string]*cel.Env{}}, nil
}

// A compiled is a rule ready to be evaluated.
type compiled struct {
	when, each, holds cel.Program // nil when the rule has none
	subject, message  *template
	fix               *template
}

// compile type-checks all of a rule's expressions against the facts. at gives
// the place of one of the rule's keys for errors.
func (c *compiler) compile(r Rule, at func(key string) string) (*compiled, error) {
	scope := map[string]*cel.Type{}
	if len(r.On) > 0 {
		scope["server"] = celType(reflect.TypeFor[verify.Server]())
		scope["role"] = cel.StringType
	}
	for name, value := range r.Params {
		t, err := paramType(value)
		if err == nil && !validParam.MatchString(name) {
			err = errors.New("has a name that no expression can say: use letters, digits and \"_\"")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: parameter %q of rule %s %w", at("params"), name, r.ID, err)
		}
		scope["params."+name] = t
	}
	env, err := c.env(scope)
	if err != nil {
		return nil, fmt.Errorf("%s: rule %s: %w", at("id"), r.ID, err)
	}
	out := &compiled{}
	fail := func(key string, err error) error {
		return fmt.Errorf("%s: %q of rule %s: %w", at(key), key, r.ID, err)
	}
	if r.When != "" {
		if out.when, _, err = c.program(env, r.When, cel.BoolType); err != nil {
			return nil, fail("when", err)
		}
	}
	var it *cel.Type
	if r.Each != "" {
		var list *cel.Type
		if out.each, list, err = c.program(env, r.Each, nil); err != nil {
			return nil, fail("each", err)
		}
		if list.Kind() != cel.ListKind && list.Kind() != cel.MapKind {
			return nil, fail("each", fmt.Errorf("is %s, not a list", list))
		}
		it = list.Parameters()[0]
		scope["it"] = it
		if env, err = c.env(scope); err != nil {
			return nil, fail("each", err)
		}
	}
	if out.holds, _, err = c.program(env, r.Holds, cel.BoolType); err != nil {
		return nil, fail("holds", err)
	}
	if out.message, err = c.template(env, r.Message); err != nil {
		return nil, fail("message", err)
	}
	if out.fix, err = c.template(env, r.Fix); err != nil {
		return nil, fail("fix", err)
	}
	subject := r.Subject
	if subject == "" && it != nil {
		if subject = c.defaultSubject(it); subject == "" {
			return nil, fail("each", errors.New(`gives things without a name: say with "subject" what a finding is about`))
		}
	}
	if out.subject, err = c.template(env, subject); err != nil {
		return nil, fail("subject", err)
	}
	return out, nil
}

// defaultSubject names an element of type it, or returns "" when the type does
// not say how.
func (c *compiler) defaultSubject(it *cel.Type) string {
	if it.Kind() == cel.StringKind || it.Kind() == cel.IntKind {
		return "{it}"
	}
	has := func(field string) bool {
		_, ok := c.schema.Provider.FindStructFieldType(it.TypeName(), field)
		return ok
	}
	switch {
	case has("schema") && has("name"):
		return "{it.schema}.{it.name}"
	case has("name"):
		return "{it.name}"
	case has("path"):
		return "{it.path}"
	}
	return ""
}

// env returns an environment that declares the given variables besides the
// global ones.
func (c *compiler) env(scope map[string]*cel.Type) (*cel.Env, error) {
	names := slices.Sorted(maps.Keys(scope))
	var key strings.Builder
	options := make([]cel.EnvOption, 0, len(names))
	for _, name := range names {
		fmt.Fprintf(&key, "%s %s;", name, scope[name])
		options = append(options, cel.Variable(name, scope[name]))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if env, ok := c.envs[key.String()]; ok {
		return env, nil
	}
	env, err := c.base.Extend(options...)
	if err != nil {
		return nil, err
	}
	c.envs[key.String()] = env
	return env, nil
}

// program compiles one expression, which must be of type want unless that is
// nil, and returns its type.
func (c *compiler) program(env *cel.Env, source string, want *cel.Type) (cel.Program, *cel.Type, error) {
	ast, issues := env.Compile(source)
	if err := issues.Err(); err != nil {
		return nil, nil, c.explain(issues, source)
	}
	if want != nil && !ast.OutputType().IsExactType(want) {
		return nil, nil, fmt.Errorf("is of type %s, not %s", ast.OutputType(), want)
	}
	// The interrupt makes an expression obey the time limit of Evaluate.
	program, err := env.Program(ast, cel.InterruptCheckFrequency(256))
	if err != nil {
		return nil, nil, err
	}
	return program, ast.OutputType(), nil
}

var validParam = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// misspelt finds the word that cel-go complains of.
var misspelt = regexp.MustCompile(`undefined field '([^']+)'|undeclared reference to '([^']+)'`)

// explain makes one sentence of cel-go's issues, which come with a drawing of
// the expression, and adds the word that was likely meant.
func (c *compiler) explain(issues *cel.Issues, source string) error {
	first := issues.Errors()[0]
	message := strings.TrimSuffix(first.Message, " (in container '')")
	if m := misspelt.FindStringSubmatch(message); m != nil && !strings.Contains(message, "did you mean") {
		if m[1] != "" {
			message += suggest(m[1], c.schema.words)
		} else {
			word, _, _ := strings.Cut(m[2], ".")
			message += suggest(word, append(slices.Collect(maps.Keys(globals)), "server", "role", "it", "params"))
		}
	}
	if at := first.Location; at.Line() > 1 {
		return fmt.Errorf("line %d, character %d: %s", at.Line(), at.Column()+1, message)
	} else if at.Line() == 1 {
		return fmt.Errorf("character %d of %q: %s", at.Column()+1, clip(source), message)
	}
	return errors.New(message)
}

// clip shortens an expression for a message.
func clip(source string) string {
	line, _, more := strings.Cut(strings.TrimSpace(source), "\n")
	if len(line) > 80 {
		line, more = line[:80], true
	}
	if more {
		line += "…"
	}
	return line
}

// paramType is the CEL type of a parameter's YAML value.
func paramType(value any) (*cel.Type, error) {
	switch v := value.(type) {
	case string, bool, int, float64:
		return celType(reflect.TypeOf(v)), nil
	case []any:
		if len(v) == 0 { // of whatever type an override gives it
			return cel.ListType(cel.DynType), nil
		}
		first, err := paramType(v[0])
		if err != nil {
			return nil, err
		}
		for _, item := range v {
			if reflect.TypeOf(item) != reflect.TypeOf(v[0]) {
				return nil, errors.New("mixes types in one list")
			}
		}
		return cel.ListType(first), nil
	}
	return nil, fmt.Errorf("is neither text, a number, true or false, nor a list of these, but %T", value)
}
