package environment

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"holdfast/internal/nearest"
)

// rules is what the tags of one field say; see Config.
type rules struct {
	key       string // in holdfast.yml
	required  bool
	format    string
	keys      string // format of a map's keys
	oneOf     []string
	min, max  int
	bounded   bool // min and max hold
	fallback  string
	defaulted bool // fallback holds
}

func rulesOf(field reflect.StructField) rules {
	r := rules{}
	r.key, _, _ = strings.Cut(field.Tag.Get("yaml"), ",")
	r.fallback, r.defaulted = field.Tag.Lookup("default")
	for _, word := range strings.FieldsFunc(field.Tag.Get("check"), func(c rune) bool { return c == ',' }) {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "required":
			r.required = true
		case "format":
			r.format = value
		case "keys":
			r.keys = value
		case "oneof":
			r.oneOf = strings.Split(value, "|")
		case "min":
			r.min, _ = strconv.Atoi(value)
			r.bounded = true
		case "max":
			r.max, _ = strconv.Atoi(value)
		}
	}
	return r
}

// position is where a value stands in holdfast.yml; both count from 1.
type position struct{ line, column int }

// decoder fills a Config from parsed YAML and notes everything that is wrong.
// A value that is wrong stays zero.
type decoder struct {
	file      string
	errors    Errors
	positions map[string]position
}

func (d *decoder) fail(at position, path, hint, message string, args ...any) {
	d.errors = append(d.errors, Error{
		File: d.file, Line: at.line, Column: at.column, Path: path,
		Message: fmt.Sprintf(message, args...), Hint: hint,
	})
}

func at(n *node) position { return position{n.Line, n.Column} }

// value decodes n into v, which has the path and the rules given.
func (d *decoder) value(n *node, v reflect.Value, path string, r rules) {
	if _, known := d.positions[path]; !known {
		d.positions[path] = at(n)
	}
	if n.Kind == alias || n.Anchor != "" {
		d.fail(at(n), path, "write the value out", "%s: anchors and aliases are not read here", path)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), path, r)
	case reflect.Struct:
		d.structure(n, v, path)
	case reflect.Slice:
		d.list(n, v, path, r)
	case reflect.Map:
		d.table(n, v, path, r)
	case reflect.String:
		if text, ok := d.text(n, path, r); ok {
			v.SetString(text)
		}
	case reflect.Int:
		d.number(n, v, path, r)
	case reflect.Bool:
		if n.Kind != scalar || n.ShortTag() != "!!bool" || n.Decode(v.Addr().Interface()) != nil {
			d.fail(at(n), path, "write true or false", "%s must be true or false, not %s", path, describe(n))
		}
	}
}

// pair is one entry of a YAML mapping.
type pair struct {
	name       string
	key, value *node
}

// pairs returns the entries of a mapping, without those whose key is no text or
// was there before. Null counts as an empty mapping: that is what is left when
// someone turns all its lines into comments.
func (d *decoder) pairs(n *node, path string) ([]pair, bool) {
	if n.Kind == scalar && n.ShortTag() == "!!null" {
		return nil, true
	}
	if n.Kind != mapping {
		d.fail(at(n), path, "", "%s must be a map of keys and values, not %s", orFile(path), describe(n))
		return nil, false
	}
	first := map[string]int{}
	var all []pair
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != scalar || key.Anchor != "" || key.ShortTag() == "!!merge" {
			d.fail(at(key), path, "", "a key of %s must be plain text, not %s", orFile(path), describe(key))
			continue
		}
		if line, twice := first[key.Value]; twice {
			d.fail(at(key), join(path, key.Value), fmt.Sprintf("the first is on line %d", line), "%s is there twice", join(path, key.Value))
			continue
		}
		first[key.Value] = key.Line
		all = append(all, pair{key.Value, key, value})
	}
	return all, true
}

func (d *decoder) structure(n *node, v reflect.Value, path string) {
	pairs, ok := d.pairs(n, path)
	fields := map[string]int{}
	for i := range v.NumField() {
		fields[rulesOf(v.Type().Field(i)).key] = i
	}
	present := map[string]bool{}
	for _, p := range pairs {
		i, known := fields[p.name]
		if !known {
			d.fail(at(p.key), join(path, p.name), suggest(p.name, slices.Sorted(maps.Keys(fields))),
				"unknown key %s in %s", quote(p.name), orFile(path))
			continue
		}
		present[p.name] = true
		inner := join(path, p.name)
		d.positions[inner] = at(p.value)
		if p.value.Kind == mapping || p.value.Kind == sequence || p.value.ShortTag() == "!!null" {
			// What is missing inside is best shown at the key.
			d.positions[inner] = at(p.key)
		}
		d.value(p.value, v.Field(i), inner, rulesOf(v.Type().Field(i)))
	}
	where := at(n)
	if p, known := d.positions[path]; known {
		where = p
	}
	for i := range v.NumField() {
		r := rulesOf(v.Type().Field(i))
		if present[r.key] {
			continue
		}
		if r.required && ok {
			d.fail(where, join(path, r.key), "", "%s is missing%s", join(path, r.key), wanted(r, v.Field(i)))
		}
		fill(v.Field(i), r)
	}
}

// fill sets v, whose key is absent, to what that means.
func fill(v reflect.Value, r rules) {
	switch {
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), rulesOf(v.Type().Field(i)))
		}
	case !r.defaulted:
	case v.Kind() == reflect.String:
		v.SetString(r.fallback)
	case v.Kind() == reflect.Int:
		number, _ := strconv.ParseInt(r.fallback, 10, 64)
		v.SetInt(number)
	case v.Kind() == reflect.Slice:
		v.Set(reflect.ValueOf(strings.Split(r.fallback, ",")))
	}
}

func (d *decoder) list(n *node, v reflect.Value, path string, r rules) {
	if n.Kind == scalar && n.ShortTag() == "!!null" {
		if r.required {
			d.fail(d.positions[path], path, "", "%s is empty%s", path, wanted(r, v))
		} else {
			fill(v, r)
		}
		return
	}
	if n.Kind != sequence {
		d.fail(at(n), path, "write it as a list, [like, this]", "%s must be a list, not %s", path, describe(n))
		return
	}
	if r.required && len(n.Content) == 0 {
		d.fail(at(n), path, "", "%s is empty%s", path, wanted(r, v))
	}
	seen := map[string]bool{}
	list := make([]string, 0, len(n.Content))
	for i, element := range n.Content {
		inner := fmt.Sprintf("%s[%d]", path, i)
		d.positions[inner] = at(element)
		if element.Kind == alias || element.Anchor != "" {
			d.fail(at(element), inner, "write the value out", "%s: anchors and aliases are not read here", inner)
			continue
		}
		text, ok := d.text(element, inner, r)
		if ok && seen[text] {
			d.fail(at(element), inner, "", "%s: %s is listed twice", inner, quote(text))
		} else if ok {
			list = append(list, text)
		}
		seen[text] = true
	}
	v.Set(reflect.ValueOf(list))
}

func (d *decoder) table(n *node, v reflect.Value, path string, r rules) {
	pairs, _ := d.pairs(n, path)
	v.Set(reflect.MakeMap(v.Type()))
	for _, p := range pairs {
		inner := join(path, p.name)
		d.positions[inner] = at(p.value)
		if ok, hint := check(r.keys, p.name); !ok {
			d.fail(at(p.key), inner, hint, "%s: %s is not %s", path, quote(p.name), formats[r.keys].want)
			continue
		}
		if p.value.Kind == alias || p.value.Anchor != "" {
			d.fail(at(p.value), inner, "write the value out", "%s: anchors and aliases are not read here", inner)
			continue
		}
		if text, ok := d.text(p.value, inner, r); ok {
			v.SetMapIndex(reflect.ValueOf(p.name), reflect.ValueOf(text))
		}
	}
}

func (d *decoder) text(n *node, path string, r rules) (string, bool) {
	// Environment values are text whatever they look like: `PORT: 8080` means
	// the four characters, as in a Compose file.
	verbatim := r.format == "plain" && n.Kind == scalar && n.ShortTag() != "!!null"
	if !verbatim && (n.Kind != scalar || n.ShortTag() != "!!str") {
		hint := ""
		if n.Kind == scalar && n.ShortTag() != "!!null" {
			hint = "put it into quotes"
		}
		d.fail(at(n), path, hint, "%s must be text, not %s", path, describe(n))
		return "", false
	}
	if len(r.oneOf) > 0 {
		if slices.Contains(r.oneOf, n.Value) {
			return n.Value, true
		}
		d.fail(at(n), path, didYouMean(n.Value, r.oneOf), "%s: %s is not one of %s", path, quote(n.Value), strings.Join(r.oneOf, ", "))
		return "", false
	}
	ok, hint := check(r.format, n.Value)
	if !ok {
		shown := quote(n.Value)
		if formats[r.format].private {
			shown = "the value" // it may be a password in the wrong place
		}
		d.fail(at(n), path, hint, "%s: %s is not %s", path, shown, formats[r.format].want)
	}
	return n.Value, ok
}

func (d *decoder) number(n *node, v reflect.Value, path string, r rules) {
	var number int
	switch {
	case n.Kind != scalar || n.ShortTag() != "!!int":
		hint := ""
		if _, err := strconv.Atoi(n.Value); err == nil {
			hint = "leave out the quotes"
		}
		d.fail(at(n), path, hint, "%s must be a number, not %s", path, describe(n))
	case n.Decode(&number) != nil || number < r.min || number > r.max:
		d.fail(at(n), path, "", "%s: %s is not a number from %d to %d", path, n.Value, r.min, r.max)
	default:
		v.SetInt(int64(number))
	}
}

// wanted says what belongs where nothing is.
func wanted(r rules, v reflect.Value) string {
	if r.format == "" {
		return ""
	}
	if v.Kind() == reflect.Slice {
		return ": it lists at least one " + strings.TrimPrefix(formats[r.format].want, "a ")
	}
	return ": it is " + formats[r.format].want
}

// suggest names the nearest of the candidates, or all when none is near.
func suggest(word string, candidates []string) string {
	return cmp.Or(didYouMean(word, candidates), "valid here: "+strings.Join(candidates, ", "))
}

// didYouMean names the nearest of the candidates, or none.
func didYouMean(word string, candidates []string) string {
	if near := nearest.Word(word, candidates); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return ""
}

// describe names the kind of value n is, without repeating it.
func describe(n *node) string {
	switch n.Kind {
	case mapping:
		return "a map"
	case sequence:
		return "a list"
	case alias:
		return "an alias"
	}
	switch n.ShortTag() {
	case "!!str":
		return "text"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!null":
		return "nothing"
	case "!!timestamp":
		return "a date"
	case "!!merge":
		return "a merge key"
	}
	return "a value with a tag"
}

// quote shows foreign text in an error: quoted, on one line, not too long.
func quote(s string) string {
	if runes := []rune(s); len(runes) > 60 {
		s = string(runes[:60]) + "…"
	}
	return strconv.Quote(s)
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// orFile names the top of the file where there is no path.
func orFile(path string) string {
	if path == "" {
		return FileName
	}
	return path
}
