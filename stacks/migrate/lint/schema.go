package lint

import (
	"maps"
	"slices"
	"strings"

	pganalyze "github.com/pganalyze/pg_query_go/v6"
)

// A place is where a finding is shown.
type place struct {
	file      int // index among all files
	statement int // index in the file
	offset    int // in bytes
}

// A schema is what the statements so far leave behind, as far as rules ask.
type schema struct {
	relations map[name]*relation
	functions map[string][]*function // by name without schema
	indexes   map[name]name          // index → its table
	grants    []grant
}

func newSchema() *schema {
	return &schema{relations: map[name]*relation{}, functions: map[string][]*function{}, indexes: map[name]name{}}
}

type kind int

const (
	table kind = iota
	view
	materialized
	foreign
)

// A relation is a table, view, materialized or foreign table that a file creates.
type relation struct {
	kind     kind
	at       place // of the statement that creates it
	columns  map[string]string
	checks   map[string]check
	policies map[string]*policy

	rls     bool
	rlsFile int   // in which it came on
	off     place // of the statement that switched it off again
	wasOff  bool

	reads   []name // of views
	invoker bool
	closed  bool // everything was revoked from the API's roles
}

// A check is a constraint; column is the one it says is not null, if it says just that.
type check struct {
	column string
	valid  bool
}

// A policy is one of row level security's, as the last statement about it left it.
type policy struct {
	at         place
	name       string
	table      name
	command    string // "all", "select", "insert", "update" or "delete"
	permissive bool
	roles      []string // "public" for everyone
	using      *pganalyze.Node
	check      *pganalyze.Node
}

// A function is one that a file creates.
type function struct {
	at         place
	name       name
	arguments  string
	definer    bool
	pinned     bool // has its own search_path
	trigger    bool
	procedure  bool
	volatility string
	body       string
}

// signature is the function as ALTER FUNCTION names it.
func (f *function) signature() string { return f.name.String() + "(" + f.arguments + ")" }

func (f *function) word() string {
	if f.procedure {
		return "procedure"
	}
	return "function"
}

// A grant is one privilege on one object, or on all of a schema (object "*"), to one role.
type grant struct {
	at        place
	kind      pganalyze.ObjectType
	object    name
	arguments string // of a function
	privilege string
	role      string
	all       bool // it was written as ALL
}

// rename moves a relation and what hangs on it.
func (s *schema) rename(from, to name) {
	r, ok := s.relations[from]
	if !ok {
		return
	}
	delete(s.relations, from)
	s.relations[to] = r
	for _, p := range r.policies {
		p.table = to
	}
	for index, on := range s.indexes {
		if on == from {
			s.indexes[index] = to
		}
	}
	for _, other := range s.relations {
		for i, read := range other.reads {
			if read == from {
				other.reads[i] = to
			}
		}
	}
	for i := range s.grants {
		if s.grants[i].object == from {
			s.grants[i].object = to
		}
	}
}

func (s *schema) drop(n name) {
	delete(s.relations, n)
	s.grants = slices.DeleteFunc(s.grants, func(g grant) bool { return g.object == n && g.kind != pganalyze.ObjectType_OBJECT_FUNCTION })
	maps.DeleteFunc(s.indexes, func(_, on name) bool { return on == n })
}

func (s *schema) dropSchema(schema string) {
	for n := range s.relations {
		if n.schema == schema {
			s.drop(n)
		}
	}
	for rel, list := range s.functions {
		s.functions[rel] = slices.DeleteFunc(list, func(f *function) bool { return f.name.schema == schema })
	}
	s.grants = slices.DeleteFunc(s.grants, func(g grant) bool { return g.object.schema == schema })
}

func (s *schema) renameSchema(from, to string) {
	for _, n := range slices.Collect(maps.Keys(s.relations)) {
		if n.schema == from {
			s.rename(n, name{to, n.rel})
		}
	}
	for _, list := range s.functions {
		for _, f := range list {
			if f.name.schema == from {
				f.name.schema = to
			}
		}
	}
}

// find returns the functions that a name with arguments means; with no
// arguments given (known false) all of that name.
func (s *schema) find(n name, arguments string, known bool) []*function {
	var list []*function
	for _, f := range s.functions[n.rel] {
		if f.name == n && (!known || f.arguments == arguments) {
			list = append(list, f)
		}
	}
	return list
}

// called returns the functions that an unqualified or qualified call may mean.
func (s *schema) called(parts []string) []*function {
	var list []*function
	for _, f := range s.functions[parts[len(parts)-1]] {
		if len(parts) == 1 || f.name.schema == parts[len(parts)-2] {
			list = append(list, f)
		}
	}
	return list
}

// define adds a function, in the place of the one it replaces.
func (s *schema) define(f *function) {
	s.undefine(f)
	s.functions[f.name.rel] = append(s.functions[f.name.rel], f)
}

func (s *schema) undefine(f *function) {
	s.functions[f.name.rel] = slices.DeleteFunc(s.functions[f.name.rel], func(o *function) bool {
		return o.name == f.name && o.arguments == f.arguments
	})
}

// argumentTypes are the types by which a function is told from its namesakes.
func argumentTypes(parameters []*pganalyze.Node) string {
	var list []string
	for _, p := range parameters {
		if f := p.GetFunctionParameter(); f != nil {
			switch f.Mode {
			case pganalyze.FunctionParameterMode_FUNC_PARAM_OUT, pganalyze.FunctionParameterMode_FUNC_PARAM_TABLE:
				continue
			}
			list = append(list, typeText(f.ArgType))
		}
		if t := p.GetTypeName(); t != nil {
			list = append(list, typeText(t))
		}
	}
	return strings.Join(list, ", ")
}
