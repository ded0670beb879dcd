package environment

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

var update = flag.Bool("update", false, "write the generated schema, here and into the examples")

// TestSchemaIsGeneratedFromTheTypes regenerates the schema and compares: a
// field, a tag or a comment that changes changes it too.
func TestSchemaIsGeneratedFromTheTypes(t *testing.T) {
	want := generateSchema(t)
	if *update {
		files := []string{"holdfast.schema.json"}
		for _, dir := range exampleDirs(t) {
			files = append(files, filepath.Join(dir, schemaFile))
		}
		for _, file := range files {
			if err := os.WriteFile(file, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		schema = want
	}
	if !bytes.Equal(Schema(), want) {
		t.Error("holdfast.schema.json is older than config.go: go test ./internal/environment -update")
	}
}

func TestEveryKeyIsExplained(t *testing.T) {
	var walk func(path string, value any)
	walk = func(path string, value any) {
		object, _ := value.(map[string]any)
		properties, _ := object["properties"].(map[string]any)
		for name, property := range properties {
			inner := join(path, name)
			if text, _ := property.(map[string]any)["description"].(string); text == "" {
				t.Errorf("%s has no comment in config.go", inner)
			}
			walk(inner, property)
		}
	}
	var document any
	if err := json.Unmarshal(Schema(), &document); err != nil {
		t.Fatal(err)
	}
	walk("", document)
}

// TestSchemaAgreesWithLoad holds the two to each other: what Load accepts the
// schema accepts, and what is wrong with a single key or value the schema sees.
func TestSchemaAgreesWithLoad(t *testing.T) {
	for _, name := range exampleDirs(t) {
		data, err := os.ReadFile(filepath.Join(name, FileName))
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(t, data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, c := range loadCases {
		err := validate(t, []byte(c.yaml(t)))
		if c.onlyLoad {
			if err != nil {
				t.Errorf("%s: the schema was not expected to see this, but did: %v", c.name, err)
			}
			continue
		}
		if wrong := len(c.want) > 0; wrong != (err != nil) {
			t.Errorf("%s: Load refuses: %v, the schema says: %v", c.name, wrong, err)
		}
	}
}

// validate checks a holdfast.yml by the schema.
func validate(t *testing.T, data []byte) error {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("holdfast.schema.json", document); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("holdfast.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	root, err := parse(data)
	if err != nil {
		return err
	}
	var value any
	if err := root.Decode(&value); err != nil {
		return err
	}
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return compiled.Validate(instance)
}

func generateSchema(t *testing.T) []byte {
	t.Helper()
	g := generator{comments: fieldComments(t)}
	root := g.object(reflect.TypeFor[Config]())
	// Draft 7 is what editors' YAML support speaks best.
	root["$schema"] = "http://json-schema.org/draft-07/schema#"
	root["title"] = FileName
	root["description"] = "One environment of Holdfast: a pair of servers and what runs on them."
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(root); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// fieldComments returns the comments of the fields of config.go and
// hardening.go, by "Type.Field".
func fieldComments(t *testing.T) map[string]string {
	t.Helper()
	comments := map[string]string{}
	collect := func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if structure, ok := spec.Type.(*ast.StructType); ok {
			for _, field := range structure.Fields.List {
				for _, name := range field.Names {
					comments[spec.Name.Name+"."+name.Name] = strings.Join(strings.Fields(field.Doc.Text()), " ")
				}
			}
		}
		return true
	}
	for _, name := range []string{"config.go", "hardening.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, collect)
	}
	return comments
}

type generator struct{ comments map[string]string }

func (g generator) object(t reflect.Type) map[string]any {
	properties, required := map[string]any{}, []string{}
	for i := range t.NumField() {
		field := t.Field(i)
		r := rulesOf(field)
		property := g.value(field.Type, r)
		if comment := g.comments[t.Name()+"."+field.Name]; comment != "" {
			if rest, ok := strings.CutPrefix(comment, field.Name+" "); ok {
				comment = r.key + " " + rest // as it is called in the file
			}
			property["description"] = comment
		}
		properties[r.key] = property
		if r.required {
			required = append(required, r.key)
		}
	}
	object := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		object["required"] = required
	} else {
		object["type"] = []string{"object", "null"}
	}
	return object
}

func (g generator) value(t reflect.Type, r rules) map[string]any {
	switch t.Kind() {
	case reflect.Pointer:
		return g.value(t.Elem(), r)
	case reflect.Struct:
		return g.object(t)
	case reflect.Slice:
		items := text(r)
		items["description"] = capital(formats[r.format].want)
		list := map[string]any{"type": []string{"array", "null"}, "items": items, "uniqueItems": true}
		if r.required {
			list["type"], list["minItems"] = "array", 1
		}
		if r.defaulted {
			list["default"] = strings.Split(r.fallback, ",")
		}
		return list
	case reflect.Map:
		values := text(r)
		values["description"] = capital(formats[r.format].want)
		return map[string]any{
			"type":                 []string{"object", "null"},
			"propertyNames":        map[string]any{"pattern": formats[r.keys].pattern},
			"additionalProperties": values,
		}
	case reflect.Int:
		number := map[string]any{"type": "integer", "minimum": r.min, "maximum": r.max}
		if r.defaulted {
			number["default"], _ = strconv.Atoi(r.fallback)
		}
		return number
	case reflect.Bool:
		return map[string]any{"type": "boolean", "default": r.fallback == "true"}
	default:
		s := text(r)
		if r.defaulted {
			s["default"] = r.fallback
		}
		return s
	}
}

func text(r rules) map[string]any {
	s := map[string]any{"type": "string"}
	if r.format == "plain" {
		s["type"] = []string{"string", "number", "boolean"}
	}
	if p := formats[r.format].pattern; p != "" {
		s["pattern"] = p
	}
	if len(r.oneOf) > 0 {
		s["enum"] = r.oneOf
	}
	return s
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}
