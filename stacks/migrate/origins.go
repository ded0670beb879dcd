package migrate

import (
	"fmt"
	"strings"

	pganalyze "github.com/pganalyze/pg_query_go/v6"
)

// An Origin is the statement that made a relation what it is.
type Origin struct {
	Path   string
	Line   int // from 1
	Column int // from 1, in characters
}

// String is "file:line:column".
func (o Origin) String() string { return fmt.Sprintf("%s:%d:%d", o.Path, o.Line, o.Column) }

// TableOrigins says where each table, view, materialized view and foreign table
// that the files leave behind comes from, by "schema.name". It follows renames,
// moves and drops. For a table whose row level security was switched off
// later, that statement is the origin; otherwise the one that created it.
//
// It reads statements, not the database: what a DO block or a function creates
// is not found.
func TableOrigins(files []File) (map[string]Origin, error) {
	fold := origins{}
	for _, file := range files {
		if len(file.SQL) > largest {
			continue // applied by another tool, long ago
		}
		statements, err := file.split()
		if err != nil {
			return nil, err
		}
		path := "public" // each file starts with the session's settings
		for _, s := range statements {
			line, column := position(file.SQL, s.offset)
			path = fold.statement(s.node, path, Origin{file.Path, line, column})
		}
	}
	return fold, nil
}

type origins map[string]Origin

// statement folds one statement in and returns the schema that unqualified
// names of the next one go to.
func (o origins) statement(node *pganalyze.Node, path string, at Origin) string {
	name := func(r *pganalyze.RangeVar) string {
		if r.GetSchemaname() != "" {
			return r.GetSchemaname() + "." + r.GetRelname()
		}
		return path + "." + r.GetRelname()
	}
	switch n := node.Node.(type) {
	case *pganalyze.Node_CreateStmt:
		o.add(name(n.CreateStmt.Relation), at, n.CreateStmt.IfNotExists)
	case *pganalyze.Node_CreateForeignTableStmt:
		o.add(name(n.CreateForeignTableStmt.BaseStmt.GetRelation()), at, n.CreateForeignTableStmt.BaseStmt.GetIfNotExists())
	case *pganalyze.Node_CreateTableAsStmt:
		o.add(name(n.CreateTableAsStmt.Into.GetRel()), at, n.CreateTableAsStmt.IfNotExists)
	case *pganalyze.Node_SelectStmt:
		if into := n.SelectStmt.GetIntoClause(); into != nil {
			o.add(name(into.Rel), at, false)
		}
	case *pganalyze.Node_ViewStmt:
		o.add(name(n.ViewStmt.View), at, false)
	case *pganalyze.Node_AlterTableStmt:
		for _, cmd := range n.AlterTableStmt.Cmds {
			if cmd.GetAlterTableCmd().GetSubtype() == pganalyze.AlterTableType_AT_DisableRowSecurity {
				o.add(name(n.AlterTableStmt.Relation), at, false)
			}
		}
	case *pganalyze.Node_RenameStmt:
		r := n.RenameStmt
		switch r.RenameType {
		case pganalyze.ObjectType_OBJECT_TABLE, pganalyze.ObjectType_OBJECT_VIEW, pganalyze.ObjectType_OBJECT_MATVIEW, pganalyze.ObjectType_OBJECT_FOREIGN_TABLE:
			from := name(r.Relation)
			o.move(from, schemaOf(from)+"."+r.Newname)
		case pganalyze.ObjectType_OBJECT_SCHEMA:
			for relation := range o.in(r.Subname) {
				o.move(relation, r.Newname+strings.TrimPrefix(relation, r.Subname))
			}
		}
	case *pganalyze.Node_AlterObjectSchemaStmt:
		if r := n.AlterObjectSchemaStmt; r.Relation != nil {
			o.move(name(r.Relation), r.Newschema+"."+r.Relation.Relname)
		}
	case *pganalyze.Node_DropStmt:
		o.drop(n.DropStmt, path)
	case *pganalyze.Node_VariableSetStmt:
		if v := n.VariableSetStmt; strings.EqualFold(v.Name, "search_path") {
			if len(v.Args) == 0 { // RESET, or SET … TO DEFAULT
				return "public"
			}
			return constant(v.Args[0])
		}
	}
	return path
}

func (o origins) add(relation string, at Origin, unlessThere bool) {
	if _, there := o[relation]; there && unlessThere {
		return
	}
	o[relation] = at
}

func (o origins) move(from, to string) {
	if at, ok := o[from]; ok {
		delete(o, from)
		o[to] = at
	}
}

// in returns a copy of what a schema holds, so that o can change meanwhile.
func (o origins) in(schema string) origins {
	found := origins{}
	for relation, at := range o {
		if schemaOf(relation) == schema {
			found[relation] = at
		}
	}
	return found
}

func (o origins) drop(d *pganalyze.DropStmt, path string) {
	for _, object := range d.Objects {
		switch d.RemoveType {
		case pganalyze.ObjectType_OBJECT_SCHEMA:
			for relation := range o.in(constant(object)) {
				delete(o, relation)
			}
		case pganalyze.ObjectType_OBJECT_TABLE, pganalyze.ObjectType_OBJECT_VIEW, pganalyze.ObjectType_OBJECT_MATVIEW, pganalyze.ObjectType_OBJECT_FOREIGN_TABLE:
			var parts []string
			for _, item := range object.GetList().GetItems() {
				parts = append(parts, constant(item))
			}
			if len(parts) == 1 {
				parts = []string{path, parts[0]}
			}
			delete(o, strings.Join(parts[max(len(parts)-2, 0):], "."))
		}
	}
}

func schemaOf(relation string) string {
	schema, _, _ := strings.Cut(relation, ".")
	return schema
}
