package lint

import (
	"strings"

	pganalyze "github.com/pganalyze/pg_query_go/v6"
)

// statement judges one statement against what is there, and folds it in.
func (l *linter) statement(node *pganalyze.Node) {
	switch n := node.GetNode().(type) {
	case *pganalyze.Node_CreateSchemaStmt:
		for _, element := range n.CreateSchemaStmt.SchemaElts {
			before := l.path
			l.path = n.CreateSchemaStmt.Schemaname
			l.statement(element)
			l.path = before
		}
	case *pganalyze.Node_CreateStmt:
		l.createTable(n.CreateStmt, table)
	case *pganalyze.Node_CreateForeignTableStmt:
		l.createTable(n.CreateForeignTableStmt.BaseStmt, foreign)
	case *pganalyze.Node_CreateTableAsStmt:
		s := n.CreateTableAsStmt
		k := table
		if s.Objtype == pganalyze.ObjectType_OBJECT_MATVIEW {
			k = materialized
		}
		l.create(l.relation(s.Into.GetRel()), &relation{kind: k, at: l.here, reads: l.reads(s.Query)}, s.IfNotExists)
	case *pganalyze.Node_SelectStmt:
		if into := n.SelectStmt.IntoClause; into != nil {
			l.create(l.relation(into.Rel), &relation{kind: table, at: l.here}, false)
		}
		l.settings(n.SelectStmt)
	case *pganalyze.Node_ViewStmt:
		s := n.ViewStmt
		l.create(l.relation(s.View), &relation{kind: view, at: l.here, reads: l.reads(s.Query), invoker: on(s.Options, "security_invoker")}, false)
	case *pganalyze.Node_AlterTableStmt:
		l.alterTable(n.AlterTableStmt)
	case *pganalyze.Node_RenameStmt:
		l.rename(n.RenameStmt)
	case *pganalyze.Node_AlterObjectSchemaStmt:
		l.move(n.AlterObjectSchemaStmt)
	case *pganalyze.Node_DropStmt:
		l.drop(n.DropStmt)
	case *pganalyze.Node_IndexStmt:
		l.index(n.IndexStmt)
	case *pganalyze.Node_ReindexStmt:
		l.reindex(n.ReindexStmt)
	case *pganalyze.Node_ClusterStmt:
		l.rewritten(n.ClusterStmt.Relation, "CLUSTER")
	case *pganalyze.Node_VacuumStmt:
		if on(n.VacuumStmt.Options, "full") {
			for _, r := range n.VacuumStmt.Rels {
				l.rewritten(r.GetVacuumRelation().GetRelation(), "VACUUM FULL")
			}
		}
	case *pganalyze.Node_RefreshMatViewStmt:
		l.refresh(n.RefreshMatViewStmt)
	case *pganalyze.Node_LockStmt:
		l.lock(n.LockStmt)
	case *pganalyze.Node_TruncateStmt:
		l.truncate(n.TruncateStmt)
	case *pganalyze.Node_UpdateStmt:
		l.written(n.UpdateStmt.Relation, "UPDATE")
		l.everyRow(n.UpdateStmt.Relation, n.UpdateStmt.WhereClause, len(n.UpdateStmt.FromClause) > 0, "update")
	case *pganalyze.Node_DeleteStmt:
		l.written(n.DeleteStmt.Relation, "DELETE")
		l.everyRow(n.DeleteStmt.Relation, n.DeleteStmt.WhereClause, len(n.DeleteStmt.UsingClause) > 0, "delete")
	case *pganalyze.Node_InsertStmt:
		l.written(n.InsertStmt.Relation, "INSERT")
	case *pganalyze.Node_MergeStmt:
		l.written(n.MergeStmt.Relation, "MERGE")
	case *pganalyze.Node_CreateTrigStmt:
		l.waits(l.relation(n.CreateTrigStmt.Relation))
	case *pganalyze.Node_RuleStmt:
		l.waits(l.relation(n.RuleStmt.Relation))
	case *pganalyze.Node_CreatePolicyStmt:
		l.createPolicy(n.CreatePolicyStmt)
	case *pganalyze.Node_AlterPolicyStmt:
		l.alterPolicy(n.AlterPolicyStmt)
	case *pganalyze.Node_GrantStmt:
		l.grant(n.GrantStmt)
	case *pganalyze.Node_GrantRoleStmt:
		l.grantRole(n.GrantRoleStmt)
	case *pganalyze.Node_AlterDefaultPrivilegesStmt:
		l.defaultPrivileges(n.AlterDefaultPrivilegesStmt)
	case *pganalyze.Node_CreateFunctionStmt:
		l.createFunction(n.CreateFunctionStmt)
	case *pganalyze.Node_AlterFunctionStmt:
		l.alterFunction(n.AlterFunctionStmt)
	case *pganalyze.Node_CreateRoleStmt:
		l.roleOptions(n.CreateRoleStmt.Role, n.CreateRoleStmt.Options)
	case *pganalyze.Node_AlterRoleStmt:
		l.roleOptions(n.AlterRoleStmt.Role.GetRolename(), n.AlterRoleStmt.Options)
	case *pganalyze.Node_CreateExtensionStmt:
		l.extension(n.CreateExtensionStmt)
	case *pganalyze.Node_CreatePublicationStmt:
		if n.CreatePublicationStmt.ForAllTables {
			p := quote(n.CreatePublicationStmt.Pubname)
			l.report(l.here, "publication.all-tables", "the publication "+p+" sends the changes of every table, those to come as well", "create publication "+p+" for table <the ones that are meant>;")
		}
	case *pganalyze.Node_CreateUserMappingStmt:
		l.passwordOption(n.CreateUserMappingStmt.Options)
	case *pganalyze.Node_AlterUserMappingStmt:
		l.passwordOption(n.AlterUserMappingStmt.Options)
	case *pganalyze.Node_VariableSetStmt:
		l.set(n.VariableSetStmt)
	case *pganalyze.Node_DoStmt:
		l.block(n.DoStmt)
	}
}

// on reports whether an option of WITH or of a list in parentheses is switched on.
func on(options []*pganalyze.Node, wanted string) bool {
	for _, o := range options {
		d := o.GetDefElem()
		if !strings.EqualFold(d.GetDefname(), wanted) {
			continue
		}
		if d.Arg == nil {
			return true
		}
		value, _ := constant(d.Arg)
		switch strings.ToLower(value) {
		case "true", "on", "1", "yes", "t", "y":
			return true
		}
		return false
	}
	return false
}

// create adds a relation, unless it is there and only wanted if it is not.
func (l *linter) create(n name, r *relation, ifNotExists bool) {
	if _, there := l.schema.relations[n]; there && ifNotExists {
		return
	}
	l.owned(n.schema, r.at, "it creates "+n.String())
	if r.columns == nil {
		r.columns = map[string]string{}
	}
	r.checks, r.policies = map[string]check{}, map[string]*policy{}
	r.off = r.at
	if old := l.schema.relations[n]; old != nil && old.kind == view && r.kind == view {
		r.closed = old.closed // CREATE OR REPLACE keeps the grants
	}
	l.schema.relations[n] = r
}

func (l *linter) createTable(s *pganalyze.CreateStmt, k kind) {
	r := &relation{kind: k, at: l.here, columns: map[string]string{}}
	n := l.relation(s.GetRelation())
	l.create(n, r, s.GetIfNotExists())
	for _, element := range s.GetTableElts() {
		if c := element.GetColumnDef(); c != nil {
			r.columns[c.Colname] = typeText(c.TypeName)
		}
		if c := element.GetConstraint(); c.GetContype() == pganalyze.ConstrType_CONSTR_CHECK {
			r.checks[c.Conname] = check{column: notNullColumn(c.RawExpr), valid: true}
		}
	}
}

func (l *linter) rename(s *pganalyze.RenameStmt) {
	switch s.RenameType {
	case pganalyze.ObjectType_OBJECT_TABLE, pganalyze.ObjectType_OBJECT_VIEW, pganalyze.ObjectType_OBJECT_MATVIEW, pganalyze.ObjectType_OBJECT_FOREIGN_TABLE:
		from := l.relation(s.Relation)
		to := name{from.schema, s.Newname}
		l.owned(from.schema, l.here, "it renames "+from.String())
		l.waits(from)
		if l.existing(from) {
			l.report(l.here, "change.rename", "code that runs now asks for "+from.String()+", which is gone with this commit",
				"-- until no code uses the old name:\ncreate view "+from.String()+" with (security_invoker = true) as select * from "+to.String()+";")
		}
		l.schema.rename(from, to)
	case pganalyze.ObjectType_OBJECT_COLUMN:
		r := l.relation(s.Relation)
		l.owned(r.schema, l.here, "it renames a column of "+r.String())
		l.waits(r)
		if l.existing(r) {
			l.report(l.here, "change.rename", "code that runs now asks for "+r.String()+"."+quote(s.Subname)+", which is gone with this commit",
				"alter table "+r.String()+" add column "+quote(s.Newname)+" "+l.columnType(r, s.Subname)+";\n-- write both, copy the rows in batches, change the code, and drop "+quote(s.Subname)+" after it")
		}
		if t := l.schema.relations[r]; t != nil {
			t.columns[s.Newname] = t.columns[s.Subname]
			delete(t.columns, s.Subname)
		}
	case pganalyze.ObjectType_OBJECT_SCHEMA:
		l.schema.renameSchema(s.Subname, s.Newname)
	case pganalyze.ObjectType_OBJECT_POLICY:
		if t := l.schema.relations[l.relation(s.Relation)]; t != nil {
			if p := t.policies[s.Subname]; p != nil {
				delete(t.policies, s.Subname)
				p.name = s.Newname
				t.policies[s.Newname] = p
			}
		}
	}
}

func (l *linter) columnType(r name, column string) string {
	if t := l.schema.relations[r]; t != nil && t.columns[column] != "" {
		return t.columns[column]
	}
	return "<its type>"
}

func (l *linter) move(s *pganalyze.AlterObjectSchemaStmt) {
	if s.Relation != nil {
		from := l.relation(s.Relation)
		to := name{s.Newschema, from.rel}
		l.owned(from.schema, l.here, "it moves "+from.String())
		l.owned(to.schema, l.here, "it moves "+from.String()+" there")
		l.waits(from)
		if l.existing(from) {
			l.report(l.here, "change.rename", "code that runs now asks for "+from.String()+", which is gone with this commit",
				"-- until no code uses the old name:\ncreate view "+from.String()+" with (security_invoker = true) as select * from "+to.String()+";")
		}
		l.schema.rename(from, to)
		if r := l.schema.relations[to]; r != nil && l.options.exposed(to.schema) {
			r.at = l.here // from here on it is served
		}
		return
	}
	if o := s.Object.GetObjectWithArgs(); o != nil {
		for _, f := range l.schema.find(l.qualified(texts(o.Objname)), argumentTypes(o.Objargs), !o.ArgsUnspecified) {
			f.name.schema = s.Newschema
		}
	}
}

func (l *linter) drop(s *pganalyze.DropStmt) {
	for _, object := range s.Objects {
		switch s.RemoveType {
		case pganalyze.ObjectType_OBJECT_TABLE, pganalyze.ObjectType_OBJECT_VIEW, pganalyze.ObjectType_OBJECT_MATVIEW, pganalyze.ObjectType_OBJECT_FOREIGN_TABLE:
			n := l.object(object)
			l.owned(n.schema, l.here, "it drops "+n.String())
			l.waits(n)
			// The view that stood in for an old name is meant to go.
			if l.existing(n) && (s.RemoveType == pganalyze.ObjectType_OBJECT_TABLE || s.RemoveType == pganalyze.ObjectType_OBJECT_FOREIGN_TABLE) {
				l.report(l.here, "change.drop", "code that runs now and uses "+n.String()+" fails from this commit on, and its rows are gone",
					"-- in a migration before the one that drops it, when no code uses it any more:\nrevoke all on "+n.String()+" from anon, authenticated, service_role;")
			}
			l.schema.drop(n)
		case pganalyze.ObjectType_OBJECT_SCHEMA:
			schema, _ := constant(object)
			l.owned(schema, l.here, "it drops the schema")
			l.schema.dropSchema(schema)
		case pganalyze.ObjectType_OBJECT_FUNCTION, pganalyze.ObjectType_OBJECT_PROCEDURE, pganalyze.ObjectType_OBJECT_ROUTINE:
			o := object.GetObjectWithArgs()
			n := l.qualified(texts(o.GetObjname()))
			l.owned(n.schema, l.here, "it drops "+n.String())
			for _, f := range l.schema.find(n, argumentTypes(o.GetObjargs()), !o.GetArgsUnspecified()) {
				l.schema.undefine(f)
			}
		case pganalyze.ObjectType_OBJECT_POLICY:
			parts := texts(object.GetList().GetItems())
			if len(parts) > 1 {
				n := l.qualified(parts[:len(parts)-1])
				l.waits(n)
				if t := l.schema.relations[n]; t != nil {
					delete(t.policies, parts[len(parts)-1])
				}
			}
		case pganalyze.ObjectType_OBJECT_INDEX:
			n := l.object(object)
			on, known := l.schema.indexes[n]
			if !s.Concurrent && (!known || l.existing(on)) {
				l.report(l.here, "index.drop", "dropping "+n.String()+" waits for all queries on its table, and makes all later ones wait behind it",
					"-- in a migration of its own:\ndrop index concurrently "+n.String()+";")
			}
			delete(l.schema.indexes, n)
		}
	}
}
