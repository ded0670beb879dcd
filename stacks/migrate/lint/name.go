package lint

import (
	"regexp"
	"slices"
	"strings"

	pganalyze "github.com/pganalyze/pg_query_go/v6"
)

// A name is that of a relation or function, with its schema.
type name struct{ schema, rel string }

// String is the name as SQL writes it.
func (n name) String() string { return quote(n.schema) + "." + quote(n.rel) }

var plain = regexp.MustCompile(`^[a-z_][a-z0-9_$]*$`)

// reserved are PostgreSQL's reserved key words (appendix C of its documentation)
// that somebody might name a table or column by.
var reserved = []string{"all", "analyse", "analyze", "and", "any", "array", "as", "asc", "authorization", "both", "case", "cast", "check",
	"collate", "column", "constraint", "create", "default", "desc", "distinct", "do", "else", "end", "except", "fetch", "for", "foreign",
	"freeze", "from", "full", "grant", "group", "having", "in", "initially", "inner", "into", "is", "join", "leading", "left", "like",
	"limit", "natural", "not", "null", "offset", "on", "only", "or", "order", "outer", "overlaps", "placing", "primary", "references",
	"returning", "right", "select", "similar", "some", "symmetric", "table", "tablesample", "then", "to", "trailing", "true", "false",
	"union", "unique", "user", "using", "variadic", "verbose", "when", "where", "window", "with"}

// quote writes an identifier, in quotes where SQL needs them.
func quote(identifier string) string {
	if plain.MatchString(identifier) && !slices.Contains(reserved, identifier) {
		return identifier
	}
	return `"` + strings.ReplaceAll(identifier, `"`, `""`) + `"`
}

// texts returns the strings of a list of String nodes.
func texts(nodes []*pganalyze.Node) []string {
	var list []string
	for _, n := range nodes {
		if s := n.GetString_(); s != nil {
			list = append(list, s.Sval)
		}
	}
	return list
}

// relation is the name in a RangeVar, completed by the search_path's schema.
func (l *linter) relation(r *pganalyze.RangeVar) name {
	if r.GetSchemaname() != "" {
		return name{r.GetSchemaname(), r.GetRelname()}
	}
	if _, temp := l.schema.relations[name{"pg_temp", r.GetRelname()}]; temp || r.GetRelpersistence() == "t" {
		return name{"pg_temp", r.GetRelname()}
	}
	return name{l.path, r.GetRelname()}
}

// qualified is the name in a list of strings.
func (l *linter) qualified(parts []string) name {
	switch len(parts) {
	case 0:
		return name{}
	case 1:
		return name{l.path, parts[0]}
	}
	return name{parts[len(parts)-2], parts[len(parts)-1]}
}

// object is the name in a List of Strings, as DROP has it.
func (l *linter) object(node *pganalyze.Node) name {
	parts := texts(node.GetList().GetItems())
	if len(parts) == 1 {
		return l.relation(&pganalyze.RangeVar{Relname: parts[0]})
	}
	return l.qualified(parts)
}

// constant returns the text of a constant; ok is false for anything else.
func constant(node *pganalyze.Node) (text string, ok bool) {
	switch n := node.GetNode().(type) {
	case *pganalyze.Node_String_:
		return n.String_.Sval, true
	case *pganalyze.Node_Integer:
		return itoa(n.Integer.Ival), true
	case *pganalyze.Node_Float:
		return n.Float.Fval, true
	case *pganalyze.Node_Boolean:
		return boolean(n.Boolean.Boolval), true
	case *pganalyze.Node_TypeCast:
		return constant(n.TypeCast.Arg)
	case *pganalyze.Node_AConst:
		switch v := n.AConst.Val.(type) {
		case *pganalyze.A_Const_Sval:
			return v.Sval.Sval, true
		case *pganalyze.A_Const_Ival:
			return itoa(v.Ival.Ival), true
		case *pganalyze.A_Const_Fval:
			return v.Fval.Fval, true
		case *pganalyze.A_Const_Boolval:
			return boolean(v.Boolval.Boolval), true
		}
	}
	return "", false
}

// typeText writes a type as SQL does, without pg_catalog.
func typeText(t *pganalyze.TypeName) string {
	parts := texts(t.GetNames())
	if len(parts) == 2 && parts[0] == "pg_catalog" {
		parts = parts[1:]
	}
	text := strings.Join(parts, ".")
	if short, ok := map[string]string{"int4": "integer", "int8": "bigint", "int2": "smallint", "bool": "boolean", "float8": "double precision", "float4": "real", "bpchar": "char"}[text]; ok {
		text = short
	}
	var mods []string
	for _, m := range t.GetTypmods() {
		if v, ok := constant(m); ok {
			mods = append(mods, v)
		}
	}
	if len(mods) > 0 && text != "interval" {
		text += "(" + strings.Join(mods, ",") + ")"
	}
	return text + strings.Repeat("[]", len(t.GetArrayBounds()))
}
