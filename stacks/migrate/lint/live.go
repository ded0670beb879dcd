package lint

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	pganalyze "github.com/pganalyze/pg_query_go/v6"
)

// existing reports whether a relation may have rows and traffic while the file
// being read runs: it was committed by an earlier migration, or by none at all.
func (l *linter) existing(n name) bool {
	if n.schema == "pg_temp" {
		return false
	}
	r := l.schema.relations[n]
	if r == nil || r.at.file < 0 {
		return true
	}
	if l.options.Pending != nil {
		// All pending files are one transaction: nobody sees the table before its end.
		return !l.counts(l.sources[r.at.file].file.Version)
	}
	return r.at.file < l.here.file
}

// waits notes that the statement takes a lock that queues all queries on an
// existing table behind it, and reports the SET that lets it wait for ever.
func (l *linter) waits(n name) {
	if l.limits == nil || l.limitHit || !l.existing(n) {
		return
	}
	l.limitHit = true
	l.report(*l.limits, "session.lock-timeout", "with lock_timeout at "+l.limitsAs+" a statement below waits for its lock on "+n.String()+" without an end, and every query on that table waits behind it",
		"-- take the line out; holdfast sets a limit. For other tools:\nset lock_timeout = '4s';")
}

// alterTable judges each part of an ALTER TABLE, and of its kin for views.
func (l *linter) alterTable(s *pganalyze.AlterTableStmt) {
	n := l.relation(s.Relation)
	if s.Objtype == pganalyze.ObjectType_OBJECT_INDEX || s.Objtype == pganalyze.ObjectType_OBJECT_SEQUENCE {
		return
	}
	if slices.Contains(services, n.schema) && onlySwitchesOn(s) {
		l.report(l.here, "schema.service-owned", n.String()+" belongs to a service, so PostgreSQL refuses to alter it", "-- take the line out: row level security is on there already")
	} else {
		l.owned(n.schema, l.here, "it alters "+n.String())
	}
	live := s.Objtype == pganalyze.ObjectType_OBJECT_TABLE && l.existing(n)
	l.waits(n)
	t := l.schema.relations[n]
	for _, node := range s.Cmds {
		cmd := node.GetAlterTableCmd()
		if live {
			l.liveCommand(n, cmd)
		}
		switch cmd.Subtype {
		case pganalyze.AlterTableType_AT_EnableRowSecurity, pganalyze.AlterTableType_AT_DisableRowSecurity:
			if t == nil {
				t = l.schema.outside(n, l.here)
			}
			if cmd.Subtype == pganalyze.AlterTableType_AT_DisableRowSecurity {
				t.rls, t.off, t.wasOff = false, l.here, true
			}
		}
		if t != nil {
			l.foldCommand(t, cmd)
		}
	}
}

// onlySwitchesOn reports whether an ALTER TABLE does nothing but switch row level
// security on: what many guides say to do with storage.objects.
func onlySwitchesOn(s *pganalyze.AlterTableStmt) bool {
	return !slices.ContainsFunc(s.Cmds, func(c *pganalyze.Node) bool {
		return c.GetAlterTableCmd().GetSubtype() != pganalyze.AlterTableType_AT_EnableRowSecurity
	})
}

// foldCommand keeps what later statements and the end state need.
func (l *linter) foldCommand(t *relation, cmd *pganalyze.AlterTableCmd) {
	switch cmd.Subtype {
	case pganalyze.AlterTableType_AT_EnableRowSecurity:
		if !t.rls {
			t.rls, t.rlsFile = true, l.here.file
		}
	case pganalyze.AlterTableType_AT_AddColumn:
		c := cmd.Def.GetColumnDef()
		t.columns[c.GetColname()] = typeText(c.GetTypeName())
	case pganalyze.AlterTableType_AT_AlterColumnType:
		t.columns[cmd.Name] = typeText(cmd.Def.GetColumnDef().GetTypeName())
	case pganalyze.AlterTableType_AT_DropColumn:
		delete(t.columns, cmd.Name)
	case pganalyze.AlterTableType_AT_AddConstraint:
		if c := cmd.Def.GetConstraint(); c.GetContype() == pganalyze.ConstrType_CONSTR_CHECK || c.GetContype() == pganalyze.ConstrType_CONSTR_FOREIGN {
			t.checks[c.Conname] = check{column: notNullColumn(c.RawExpr), valid: !c.SkipValidation, file: l.here.file}
		}
	case pganalyze.AlterTableType_AT_ValidateConstraint:
		if c, ok := t.checks[cmd.Name]; ok {
			c.valid = true
			t.checks[cmd.Name] = c
		}
	case pganalyze.AlterTableType_AT_DropConstraint:
		delete(t.checks, cmd.Name)
	case pganalyze.AlterTableType_AT_SetRelOptions:
		for _, o := range cmd.Def.GetList().GetItems() {
			if o.GetDefElem().GetDefname() == "security_invoker" {
				l.invoker(t, on([]*pganalyze.Node{o}, "security_invoker"))
			}
		}
	case pganalyze.AlterTableType_AT_ResetRelOptions:
		for _, o := range cmd.Def.GetList().GetItems() {
			if o.GetDefElem().GetDefname() == "security_invoker" {
				l.invoker(t, false)
			}
		}
	}
}

// invoker notes whose rights a view runs with; the statement that makes them its
// owner's is the one to blame.
func (l *linter) invoker(v *relation, on bool) {
	if v.invoker && !on {
		v.at = l.here
	}
	v.invoker = on
}

// liveCommand judges one part of an ALTER TABLE on a table with traffic.
func (l *linter) liveCommand(n name, cmd *pganalyze.AlterTableCmd) {
	alter := "alter table " + n.String() + " "
	switch cmd.Subtype {
	case pganalyze.AlterTableType_AT_AddColumn:
		l.addColumn(n, cmd.Def.GetColumnDef())
	case pganalyze.AlterTableType_AT_AlterColumnType:
		l.changeType(n, cmd.Name, cmd.Def.GetColumnDef())
	case pganalyze.AlterTableType_AT_SetNotNull:
		l.setNotNull(n, cmd.Name)
	case pganalyze.AlterTableType_AT_AddConstraint:
		l.addConstraint(n, cmd.Def.GetConstraint())
	case pganalyze.AlterTableType_AT_ValidateConstraint:
		l.validate(n, cmd.Name)
	case pganalyze.AlterTableType_AT_DropColumn:
		l.report(l.here, "change.drop", "code that runs now and uses "+n.String()+"."+quote(cmd.Name)+" fails from this commit on, and its values are gone",
			"-- first, in an earlier release: change the code so that nothing uses the column; then\n"+alter+"drop column "+quote(cmd.Name)+";")
	case pganalyze.AlterTableType_AT_SetLogged:
		l.rewrites(n, "SET LOGGED")
	case pganalyze.AlterTableType_AT_SetUnLogged:
		l.rewrites(n, "SET UNLOGGED")
	case pganalyze.AlterTableType_AT_SetTableSpace:
		l.rewrites(n, "SET TABLESPACE")
	case pganalyze.AlterTableType_AT_SetAccessMethod:
		l.rewrites(n, "SET ACCESS METHOD")
	}
}

// rewritten judges a statement that writes a table anew.
func (l *linter) rewritten(r *pganalyze.RangeVar, what string) {
	if r == nil {
		return
	}
	if n := l.relation(r); l.existing(n) {
		l.waits(n)
		l.rewrites(n, what)
	}
}

func (l *linter) rewrites(n name, what string) {
	l.report(l.here, "table.rewrite", what+" writes "+n.String()+" anew; until it is done nobody can read or write it",
		"-- not in a migration: in a maintenance window, or with pg_repack, which locks it only at the end\n-- "+what+" on "+n.String())
}

// volatile are PostgreSQL's own functions, and those of extensions that Supabase
// has, whose value differs from row to row: pg_proc.provolatile = 'v'.
var volatile = []string{"random", "gen_random_uuid", "clock_timestamp", "timeofday", "nextval", "setval", "currval", "lastval", "random_normal",
	"uuid_generate_v1", "uuid_generate_v1mc", "uuid_generate_v4", "uuidv4", "uuidv7", "gen_random_bytes", "gen_salt", "pg_sleep", "current_query"}

// varies returns the function that makes an expression volatile; "" when there is none.
func (l *linter) varies(expression *pganalyze.Node) string {
	found := ""
	walk(expression, func(n *pganalyze.Node) bool {
		call := n.GetFuncCall()
		if call == nil {
			return true
		}
		parts := texts(call.Funcname)
		own := l.schema.called(parts)
		switch last := parts[len(parts)-1]; {
		case len(own) > 0 && own[0].volatility == "volatile", len(own) == 0 && slices.Contains(volatile, last):
			found = last
		}
		return found == ""
	})
	return found
}

func (l *linter) addColumn(n name, c *pganalyze.ColumnDef) {
	at := l.at(c.GetLocation())
	column, kind := quote(c.GetColname()), typeText(c.GetTypeName())
	rewrite := ""
	notNull, hasDefault := false, false
	value := "<its value>"
	if slices.Contains([]string{"serial", "serial4", "bigserial", "serial8", "smallserial", "serial2"}, kind) {
		rewrite, hasDefault = kind, true
		kind = map[string]string{"bigserial": "bigint", "serial8": "bigint", "smallserial": "smallint", "serial2": "smallint"}[kind]
		if kind == "" {
			kind = "integer"
		}
		value = "nextval(<its sequence>)"
	}
	if parts := texts(c.GetTypeName().GetNames()); len(parts) > 0 && l.schema.checked[parts[len(parts)-1]] {
		rewrite = "a domain that checks its values (" + kind + ")"
	}
	for _, node := range c.GetConstraints() {
		k := node.GetConstraint()
		switch k.GetContype() {
		case pganalyze.ConstrType_CONSTR_NOTNULL:
			notNull = true
		case pganalyze.ConstrType_CONSTR_PRIMARY, pganalyze.ConstrType_CONSTR_UNIQUE:
			notNull = notNull || k.Contype == pganalyze.ConstrType_CONSTR_PRIMARY
			l.uniqueIndex(n, l.at(k.Location), k, []string{c.GetColname()})
		case pganalyze.ConstrType_CONSTR_DEFAULT:
			if !k.RawExpr.GetAConst().GetIsnull() {
				hasDefault = true
			}
			if f := l.varies(k.RawExpr); f != "" {
				rewrite, value = "a default that differs from row to row ("+f+")", f+"()"
			}
		case pganalyze.ConstrType_CONSTR_IDENTITY:
			rewrite, hasDefault, value = "an identity", true, "nextval(<its sequence>)"
		case pganalyze.ConstrType_CONSTR_GENERATED:
			rewrite, hasDefault = "a generated column", true
		case pganalyze.ConstrType_CONSTR_CHECK:
			l.checkScan(n, l.at(k.Location), k)
		case pganalyze.ConstrType_CONSTR_FOREIGN:
			// Without a default every row is null: PostgreSQL leaves the check out.
			if hasDefault {
				l.foreignKey(n, l.at(k.Location), k, []string{c.GetColname()})
			}
		}
	}
	switch {
	case rewrite != "":
		l.report(at, "column.rewrite", "adding "+n.String()+"."+column+" with "+rewrite+" writes the table anew; until it is done nobody can read or write it",
			fmt.Sprintf("alter table %[1]s add column %[2]s %[3]s;\nalter table %[1]s alter column %[2]s set default %[4]s;\n-- then, in batches outside the migration:\nupdate %[1]s set %[2]s = %[4]s where %[2]s is null and <a range of its key>;", n, column, kind, value))
	case notNull && !hasDefault:
		l.report(at, "column.required", n.String()+" may have rows, and they have no value for "+column+": the statement fails as soon as there is one",
			fmt.Sprintf("alter table %s add column %s %s not null default <a constant>;", n, column, kind))
	}
}

func (l *linter) setNotNull(n name, column string) {
	if t := l.schema.relations[n]; t != nil {
		for _, c := range t.checks {
			if c.column == column && c.valid {
				return
			}
		}
	}
	q := quote(column)
	constraint := quote(n.rel + "_" + column + "_not_null")
	l.report(l.here, "column.not-null", "PostgreSQL reads all of "+n.String()+" to see that "+q+" is never null; until it is done nobody can read or write it",
		fmt.Sprintf("alter table %[1]s add constraint %[3]s check (%[2]s is not null) not valid;\n-- in a migration that is deployed later:\nalter table %[1]s validate constraint %[3]s;\nalter table %[1]s alter column %[2]s set not null;\nalter table %[1]s drop constraint %[3]s;", n, q, constraint))
}

func (l *linter) addConstraint(n name, c *pganalyze.Constraint) {
	at := l.at(c.GetLocation())
	switch c.GetContype() {
	case pganalyze.ConstrType_CONSTR_CHECK:
		if !c.SkipValidation {
			l.checkScan(n, at, c)
		}
	case pganalyze.ConstrType_CONSTR_FOREIGN:
		if !c.SkipValidation {
			l.foreignKey(n, at, c, texts(c.FkAttrs))
		}
	case pganalyze.ConstrType_CONSTR_PRIMARY, pganalyze.ConstrType_CONSTR_UNIQUE:
		if c.Indexname == "" {
			l.uniqueIndex(n, at, c, texts(c.Keys))
		}
	case pganalyze.ConstrType_CONSTR_EXCLUSION:
		l.report(at, "constraint.unique", "an exclusion constraint builds its index on "+n.String()+" at once; until it is done nobody can read or write the table",
			"-- there is no way to build it beside the traffic: add it in a maintenance window, or when the table is small")
	}
}

// validate reports a validation that runs under the lock that adding the
// constraint took in the same transaction.
func (l *linter) validate(n name, constraint string) {
	t := l.schema.relations[n]
	if t == nil {
		return
	}
	c, ok := t.checks[constraint]
	if !ok || c.valid || c.file < 0 || !l.together(c.file) {
		return
	}
	l.report(l.here, "constraint.validated-at-once", quote(constraint)+" is added in the same transaction, whose lock on "+n.String()+" is kept while all rows are read",
		"-- in a migration that is deployed later:\nalter table "+n.String()+" validate constraint "+quote(constraint)+";")
}

// together reports whether an earlier file is one transaction with the one being
// read: Holdfast joins all that are pending; of others it is not known.
func (l *linter) together(file int) bool {
	if l.options.Pending == nil {
		return file == l.here.file
	}
	return l.counts(l.sources[file].file.Version)
}

// constraintName is the name given, or the one PostgreSQL would choose.
func constraintName(c *pganalyze.Constraint, n name, columns []string, suffix string) string {
	if c.Conname != "" {
		return quote(c.Conname)
	}
	return quote(strings.Join(append(append([]string{n.rel}, columns...), suffix), "_"))
}

func (l *linter) checkScan(n name, at place, c *pganalyze.Constraint) {
	name := constraintName(c, n, nil, "check")
	l.report(at, "constraint.check", "PostgreSQL reads all of "+n.String()+" to see that the check holds; until it is done nobody can read or write it",
		fmt.Sprintf("alter table %[1]s add constraint %[2]s check (%[3]s) not valid;\n-- in a migration that is deployed later:\nalter table %[1]s validate constraint %[2]s;", n, name, l.condition(c)))
}

func (l *linter) foreignKey(n name, at place, c *pganalyze.Constraint, columns []string) {
	name := constraintName(c, n, columns, "fkey")
	target := l.relation(c.Pktable)
	to := target.String()
	if len(c.PkAttrs) > 0 {
		to += " (" + list(texts(c.PkAttrs)) + ")"
	}
	l.report(at, "constraint.foreign-key", "PostgreSQL looks up every row of "+n.String()+" in "+target.String()+"; until it is done nobody can write either of them",
		fmt.Sprintf("alter table %[1]s add constraint %[2]s foreign key (%[3]s) references %[4]s not valid;\n-- in a migration that is deployed later:\nalter table %[1]s validate constraint %[2]s;", n, name, list(columns), to))
}

func (l *linter) uniqueIndex(n name, at place, c *pganalyze.Constraint, columns []string) {
	word, suffix := "unique", "key"
	name := constraintName(c, n, columns, suffix)
	if c.Contype == pganalyze.ConstrType_CONSTR_PRIMARY {
		word = "primary key"
		name = constraintName(c, n, nil, "pkey")
	}
	l.report(at, "constraint.unique", "the index of this "+word+" constraint is built at once; until it is done nobody can read or write "+n.String(),
		fmt.Sprintf("-- in a migration of its own:\ncreate unique index concurrently %[2]s on %[1]s (%[3]s);\n-- in the next:\nalter table %[1]s add constraint %[2]s %[4]s using index %[2]s;", n, name, list(columns), word))
}

func list(columns []string) string {
	quoted := make([]string, len(columns))
	for i, c := range columns {
		quoted[i] = quote(c)
	}
	return strings.Join(quoted, ", ")
}

// changeType reports a change of type for which PostgreSQL writes the table anew.
func (l *linter) changeType(n name, column string, c *pganalyze.ColumnDef) {
	to := typeText(c.GetTypeName())
	from := ""
	if t := l.schema.relations[n]; t != nil {
		from = t.columns[column]
	}
	// USING with anything but the column itself computes each row anew.
	computed := c.GetRawDefault() != nil && c.RawDefault.GetColumnRef() == nil && !(c.RawDefault.GetTypeCast() != nil && typeText(c.RawDefault.GetTypeCast().TypeName) == to && c.RawDefault.GetTypeCast().Arg.GetColumnRef() != nil)
	if !computed && from != "" && c.GetCollClause() == nil && keepsRows(from, to) {
		return
	}
	was := "from " + from
	if from == "" {
		was = "from a type that no migration tells"
	}
	q, next := quote(column), quote(column+"_new")
	l.report(l.at(c.GetLocation()), "column.type", fmt.Sprintf("changing %s.%s %s to %s writes the table and its indexes anew, or reads all of it; until it is done nobody can read or write it", n, q, was, to),
		fmt.Sprintf("alter table %[1]s add column %[2]s %[3]s;\n-- write both columns (a trigger, or the code) and fill the old rows in batches outside the migration:\nupdate %[1]s set %[2]s = %[4]s where %[2]s is null and <a range of its key>;\n-- when it is done:\nalter table %[1]s drop column %[4]s;\nalter table %[1]s rename column %[2]s to %[4]s;", n, next, to, q))
}

// keepsRows reports whether a change of type leaves the rows as they are: the
// types are stored alike and no value can become too long. It knows what ALTER
// TABLE's documentation and the types' own "transform" functions promise.
func keepsRows(from, to string) bool {
	fromBase, fromMods := modifiers(from)
	toBase, toMods := modifiers(to)
	unlimited := func(base string, mods []int) bool {
		return base == "text" || base == "varchar" && len(mods) == 0
	}
	switch {
	case from == to:
		return true
	case (fromBase == "varchar" || fromBase == "text") && unlimited(toBase, toMods):
		return true
	case fromBase == "varchar" && toBase == "varchar" && len(fromMods) == 1 && len(toMods) == 1:
		return toMods[0] >= fromMods[0]
	case fromBase == "bit" && to == "varbit":
		return true
	case fromBase == "varbit" && toBase == "varbit":
		return len(toMods) == 0 || len(fromMods) == 1 && toMods[0] >= fromMods[0]
	case fromBase == "numeric" && toBase == "numeric":
		if len(toMods) == 0 {
			return true
		}
		return len(fromMods) == 2 && len(toMods) == 2 && fromMods[1] == toMods[1] && toMods[0] >= fromMods[0]
	case fromBase == toBase && slices.Contains([]string{"timestamp", "timestamptz", "time", "timetz"}, fromBase):
		return len(toMods) == 0 || len(fromMods) == 1 && toMods[0] >= fromMods[0] || toMods[0] == 6
	case from == "cidr" && to == "inet":
		return true
	}
	return false
}

// modifiers cuts varchar(10) into varchar and 10.
func modifiers(t string) (base string, mods []int) {
	base, rest, ok := strings.Cut(t, "(")
	if !ok {
		return t, nil
	}
	if !strings.HasSuffix(rest, ")") {
		return t, nil // an array of it
	}
	for _, m := range strings.Split(strings.TrimSuffix(rest, ")"), ",") {
		n, err := strconv.Atoi(strings.TrimSpace(m))
		if err != nil {
			return t, nil
		}
		mods = append(mods, n)
	}
	return base, mods
}

func (l *linter) index(s *pganalyze.IndexStmt) {
	n := l.relation(s.Relation)
	if s.Idxname != "" {
		l.schema.indexes[name{n.schema, s.Idxname}] = n
	}
	l.owned(n.schema, l.here, "it indexes "+n.String())
	if s.Concurrent || !l.existing(n) {
		return
	}
	l.waits(n)
	index := s.Idxname
	if index == "" {
		// One that is built concurrently needs a name.
		parts := []string{n.rel}
		for _, p := range s.IndexParams {
			parts = append(parts, cmp.Or(p.GetIndexElem().GetName(), "expr"))
		}
		index = strings.Join(append(parts, "idx"), "_")
	}
	unique := ""
	if s.Unique {
		unique = "unique "
	}
	columns := l.between(s.Relation, "(")
	l.report(l.here, "index.blocking", "nobody can write "+n.String()+" until the index is built",
		"-- in a migration of its own:\ncreate "+unique+"index concurrently "+quote(index)+" on "+n.String()+" "+columns+";")
}

func (l *linter) reindex(s *pganalyze.ReindexStmt) {
	if on(s.Params, "concurrently") {
		return
	}
	what := "schema " + quote(s.Name)
	if s.Relation != nil {
		n := l.relation(s.Relation)
		table := n
		if t, ok := l.schema.indexes[n]; ok {
			table = t
		}
		if !l.existing(table) {
			return
		}
		l.waits(table)
		what = "index " + n.String()
		if s.Kind == pganalyze.ReindexObjectType_REINDEX_OBJECT_TABLE {
			what = "table " + n.String()
		}
	}
	l.report(l.here, "index.rebuild", "nobody can write the table, or read it by this index, until it is rebuilt", "-- in a migration of its own:\nreindex "+strings.Replace(what, " ", " concurrently ", 1)+";")
}

func (l *linter) refresh(s *pganalyze.RefreshMatViewStmt) {
	n := l.relation(s.Relation)
	if s.Concurrent || !l.existing(n) {
		return
	}
	l.waits(n)
	l.report(l.here, "matview.refresh", "nobody can read "+n.String()+" until it is computed anew", "refresh materialized view concurrently "+n.String()+"; -- needs a unique index on it")
}

// accessExclusive is the number of that lock mode (storage/lockdefs.h).
const accessExclusive = 8

func (l *linter) lock(s *pganalyze.LockStmt) {
	for _, r := range s.Relations {
		n := l.relation(r.GetRangeVar())
		l.waits(n)
		if s.Mode >= 5 && l.existing(n) { // SHARE and up keep writers out
			keeps := "nobody can write"
			if s.Mode == accessExclusive {
				keeps = "nobody can read or write"
			}
			l.report(l.at(r.GetRangeVar().GetLocation()), "table.lock", keeps+" "+n.String()+" until all pending migrations and the gate are through",
				"-- take the line out: each statement takes the lock it needs, when it needs it")
		}
	}
}

func (l *linter) truncate(s *pganalyze.TruncateStmt) {
	for _, r := range s.Relations {
		n := l.relation(r.GetRangeVar())
		l.owned(n.schema, l.here, "it empties "+n.String())
		l.waits(n)
		if l.existing(n) {
			l.report(l.at(r.GetRangeVar().GetLocation()), "data.every-row", "all rows of "+n.String()+" go, whatever they are by then", "delete from "+n.String()+" where <which ones>;")
		}
	}
}

// everyRow reports an UPDATE or DELETE of all rows of an existing table.
func (l *linter) everyRow(r *pganalyze.RangeVar, where *pganalyze.Node, joined bool, verb string) {
	n := l.relation(r)
	if joined || where != nil && !always(where) || !l.existing(n) {
		return
	}
	does := map[string]string{"update": "changes", "delete": "deletes"}[verb]
	fix := "delete from " + n.String() + " where <which ones>;"
	if verb == "update" {
		fix = "-- in batches outside the migration:\nupdate " + n.String() + " set <column> = <value> where <what is not done yet> and <a range of its key>;"
	}
	l.report(l.here, "data.every-row", "it "+does+" every row of "+n.String()+" and keeps all of them locked until all pending migrations and the gate are through", fix)
}

// written reports data written into a table of a service.
func (l *linter) written(r *pganalyze.RangeVar, verb string) {
	n := l.relation(r)
	if n == (name{"storage", "buckets"}) || n.schema == "cron" {
		return // buckets are made that way, in Supabase's own documentation; so are jobs
	}
	l.owned(n.schema, l.at(r.GetLocation()), verb+" writes "+n.String())
}

// condition is the condition of a check as the file has it.
func (l *linter) condition(c *pganalyze.Constraint) string {
	const unknown = "<the condition>"
	text := l.source.file.SQL
	start := l.base + int(c.Location)
	if l.quoted || c.Location <= 0 || start >= len(text) {
		return unknown
	}
	if end := l.statementEnd(); end > start {
		text = text[:end]
	}
	depth, in, from := 0, byte(0), -1
	for i := start; i < len(text); i++ {
		switch ch := text[i]; {
		case in != 0:
			if ch == in {
				in = 0
			}
		case ch == '\\' || ch == '$' || strings.HasPrefix(text[i:], "--") || strings.HasPrefix(text[i:], "/*"):
			return unknown // quoting that this does not follow
		case ch == '\'' || ch == '"':
			in = ch
		case ch == '(':
			if depth++; depth == 1 {
				from = i + 1
			}
		case ch == ')':
			if depth--; depth == 0 {
				return strings.Join(strings.Fields(text[from:i]), " ")
			}
		}
		if in == '\'' && text[i] == '\\' {
			return unknown
		}
	}
	return unknown
}

// statementEnd is the offset behind the statement being read.
func (l *linter) statementEnd() int {
	s := l.source.statements[l.here.statement]
	return s.Offset + len(s.SQL)
}

// between is what a statement says in parentheses behind a relation's name,
// such as an index's columns, with its USING before it and the rest behind.
func (l *linter) between(r *pganalyze.RangeVar, open string) string {
	text, end := l.source.file.SQL, l.statementEnd()
	from := l.base + int(r.GetLocation())
	if l.quoted || from >= end {
		return "(<its columns>)"
	}
	rest := text[from:end]
	i := strings.Index(rest, open)
	if i < 0 || strings.ContainsAny(rest, ";$") || strings.Contains(rest, "--") {
		return "(<its columns>)"
	}
	if u := strings.Index(strings.ToLower(rest[:i]), " using "); u >= 0 {
		i = u + 1
	}
	return strings.Join(strings.Fields(rest[i:]), " ")
}
