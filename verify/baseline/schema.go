package baseline

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"

	"holdfast/verify"
)

// The variables of every expression, besides those a rule's own keys bind.
var globals = map[string]reflect.Type{
	"environment": reflect.TypeFor[string](),
	"servers":     reflect.TypeFor[map[string]*verify.Server](),
	"compose":     reflect.TypeFor[*verify.Compose](),
	"gateway":     reflect.TypeFor[*verify.Gateway](),
	"database":    reflect.TypeFor[*verify.Database](),
	"network":     reflect.TypeFor[*verify.Network](),
}

// notCollected is the error of reading facts that could not be observed.
type notCollected struct{ path string }

func (e notCollected) Error() string { return e.path + " was not collected" }

// schema describes the facts to CEL. It is the native type provider of cel-go
// with one difference: that one reads a nil pointer as the zero value of its
// type, which would let a rule pass on facts that nobody observed.
type schema struct {
	types.Provider
	pointers map[string]map[string]bool // type → fields that may be nil
	words    []string                   // every field name, for suggestions
}

// newEnv returns the environment all expressions are checked in.
func newEnv() (*cel.Env, *schema, error) {
	s := &schema{pointers: map[string]map[string]bool{}}
	s.walk(reflect.TypeFor[verify.Facts]())
	slices.Sort(s.words)
	s.words = slices.Compact(s.words)

	options := []cel.EnvOption{
		ext.Strings(), ext.Sets(), ext.Lists(),
		ext.NativeTypes(reflect.TypeFor[verify.Facts](), ext.ParseStructTag("json")),
		func(env *cel.Env) (*cel.Env, error) {
			s.Provider = env.CELTypeProvider()
			return cel.CustomTypeProvider(s)(env)
		},
	}
	for name, t := range globals {
		options = append(options, cel.Variable(name, celType(t)))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, nil, fmt.Errorf("describe the facts to the rules: %w", err)
	}
	return env, s, nil
}

// walk notes the pointer fields and names of t and of all types below it.
func (s *schema) walk(t reflect.Type) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		s.walk(t.Elem())
		return
	case reflect.Struct:
	default:
		return
	}
	name := typeName(t)
	if t.PkgPath() != reflect.TypeFor[verify.Facts]().PkgPath() || s.pointers[name] != nil {
		return
	}
	s.pointers[name] = map[string]bool{}
	for i := range t.NumField() {
		field, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		s.words = append(s.words, field)
		if t.Field(i).Type.Kind() == reflect.Pointer {
			s.pointers[name][field] = true
		}
		s.walk(t.Field(i).Type)
	}
}

// FindStructFieldType implements types.Provider.
func (s *schema) FindStructFieldType(structType, field string) (*types.FieldType, bool) {
	found, ok := s.Provider.FindStructFieldType(structType, field)
	if !ok || !s.pointers[structType][field] {
		return found, ok
	}
	path := strings.ToLower(strings.TrimPrefix(structType, "verify.")) + "." + field
	return &types.FieldType{
		Type:  found.Type,
		IsSet: found.IsSet,
		GetFrom: func(target any) (any, error) {
			if !found.IsSet(target) {
				return nil, notCollected{path}
			}
			return found.GetFrom(target)
		},
	}, true
}

// typeName is the name cel-go gives a Go type.
func typeName(t reflect.Type) string { return "verify." + t.Name() }

// celType translates a type of the facts or of a parameter.
func celType(t reflect.Type) *cel.Type {
	switch t.Kind() {
	case reflect.Pointer:
		return celType(t.Elem())
	case reflect.Struct:
		return cel.ObjectType(typeName(t))
	case reflect.Slice:
		return cel.ListType(celType(t.Elem()))
	case reflect.Map:
		return cel.MapType(celType(t.Key()), celType(t.Elem()))
	case reflect.String:
		return cel.StringType
	case reflect.Bool:
		return cel.BoolType
	case reflect.Int, reflect.Int64:
		return cel.IntType
	case reflect.Float64:
		return cel.DoubleType
	}
	return cel.DynType
}
