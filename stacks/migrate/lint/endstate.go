package lint

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	pganalyze "github.com/pganalyze/pg_query_go/v6"
)

// endState judges what all files together leave behind.
func (l *linter) endState() {
	names := slices.SortedFunc(maps.Keys(l.schema.relations), func(a, b name) int { return strings.Compare(a.String(), b.String()) })
	for _, n := range names {
		r := l.schema.relations[n]
		switch r.kind {
		case table:
			l.rowSecurity(n, r)
		case view:
			l.viewRights(n, r)
		case materialized:
			if l.options.exposed(n.schema) && !r.closed {
				l.report(r.at, "view.materialized", "the API serves "+n.schema+", and row level security does not exist for the materialized view "+n.String(),
					"revoke all on "+n.String()+" from anon, authenticated; -- or keep it in a schema of its own, and serve a function that filters")
			}
		case foreign:
			if l.options.exposed(n.schema) && !r.closed {
				l.report(r.at, "table.foreign", "the API serves "+n.schema+", and row level security does not exist for the foreign table "+n.String(),
					"revoke all on "+n.String()+" from anon, authenticated; -- or keep it in a schema of its own, and serve a function that filters")
			}
		}
		for _, policy := range slices.Sorted(maps.Keys(r.policies)) {
			l.judgePolicy(r.policies[policy])
		}
	}
	for _, list := range l.schema.functions {
		for _, f := range list {
			if f.definer {
				l.judgeDefiner(f)
			}
		}
	}
	for _, g := range together(l.schema.grants) {
		l.judgeGrant(g)
	}
}

// rowSecurity judges a table that the files create.
func (l *linter) rowSecurity(n name, t *relation) {
	enable := "alter table " + n.String() + " enable row level security;"
	switch {
	case n.schema == "pg_temp", t.at.file < 0 && !t.wasOff:
		return // nobody else sees the one, and no file says how the other began
	case t.rls && t.at.file >= 0 && t.rlsFile > t.at.file && l.options.exposed(n.schema) && !t.wasOff:
		l.report(t.at, "rls.late", "row level security comes on for "+n.String()+" only in "+l.sources[t.rlsFile].file.Path+": a tool that commits each file lets everything be read until then", enable)
	case t.rls:
	case t.wasOff:
		l.report(t.off, "rls.disabled", "row level security goes off on "+n.String()+", and no later statement switches it on again", enable)
	case l.options.exposed(n.schema):
		l.report(t.at, "rls.off", "the API serves "+n.schema+", and nothing switches row level security on for "+n.String(), enable)
	}
	if !t.rls && !(l.options.exposed(n.schema) || t.wasOff) {
		for _, policy := range slices.Sorted(maps.Keys(t.policies)) {
			p := t.policies[policy]
			l.report(p.at, "policy.inert", "the policy "+quote(p.name)+" has no effect: row level security is off on "+n.String(), enable)
		}
	}
}

// judgePolicy judges one policy as it is in the end.
func (l *linter) judgePolicy(p *policy) {
	on := quote(p.name) + " on " + p.table.String()
	for _, condition := range []*pganalyze.Node{p.using, p.check} {
		if what := l.trusts(condition); what != "" {
			l.report(p.at, "policy.user-metadata", "the policy "+on+" decides by "+what+", which comes from what each user may write about themselves",
				"alter policy "+on+" using ((select auth.jwt()) -> 'app_metadata' ->> '<key>' = '<value>');")
			break
		}
	}
	open := slices.IndexFunc(p.roles, func(r string) bool { return slices.Contains(bound, r) })
	if !p.permissive || open < 0 {
		return
	}
	who := publicKey(p.roles[open])
	mine := l.ownerOf(p) + " = (select auth.uid())"
	writes := p.command != "select"
	reads := p.command == "select" || p.command == "all"
	switch {
	case noIdentity(p.using), noIdentity(p.check):
		l.report(p.at, "policy.no-identity", "the policy "+on+" holds when auth.uid() is null, so for everyone who has not signed in",
			fmt.Sprintf("alter policy %s to authenticated using (%s);", on, mine))
	case writes && p.command != "insert" && always(p.using):
		l.report(p.at, "policy.open-write", "the policy "+on+" lets "+who+" "+verbs(p.command)+" every row", "alter policy "+on+" to authenticated using ("+mine+");")
	case writes && p.command != "delete" && always(p.check):
		l.report(p.at, "policy.open-write", "the policy "+on+" lets "+who+" write rows as anybody: its WITH CHECK is always true", "alter policy "+on+" to authenticated with check ("+mine+");")
	case writes && p.table == (name{"storage", "objects"}) && p.roles[open] != "authenticated" && !l.asksAnyone(p.using) && !l.asksAnyone(p.check):
		l.report(p.at, "policy.storage-open", "the policy "+on+" lets "+who+" write files: it does not ask who is calling",
			"alter policy "+on+" to authenticated;")
	case reads && always(p.using) && p.roles[open] != "authenticated":
		l.report(p.at, "policy.open-read", "the policy "+on+" lets "+who+" read every row",
			"-- holdfast:ignore policy.open-read <why everybody may see these rows>\n-- or: alter policy "+on+" to authenticated using ("+mine+");")
	}
	if p.command != "update" && p.command != "all" || p.check == nil || always(p.check) {
		return
	}
	for _, column := range ownedBy(p.using) {
		if !mentions(p.check, column) {
			l.report(p.at, "policy.check-weaker", "the policy "+on+" compares "+quote(column)+" with the caller for the old row and not for the new one: a row can be given away, or made somebody else's",
				"alter policy "+on+" with check ("+quote(column)+" = (select auth.uid()) and <what it checks now>);")
			return
		}
	}
}

// owners are what the column that says whose a row is tends to be called.
var owners = []string{"owner", "owner_id", "user_id", "author", "author_id", "created_by", "profile_id", "account_id"}

// ownerOf is the column that a policy should compare with the caller: the one it
// does compare, or the table's by its name.
func (l *linter) ownerOf(p *policy) string {
	for _, condition := range []*pganalyze.Node{p.using, p.check} {
		if columns := ownedBy(condition); len(columns) > 0 {
			return quote(columns[0])
		}
	}
	columns := l.schema.relations[p.table].columns
	for _, column := range owners {
		if columns[column] != "" {
			return quote(column)
		}
	}
	if len(columns) == 0 && p.table == (name{"storage", "objects"}) {
		return "owner"
	}
	return "<the owner's column>"
}

// asksAnyone reports whether a condition may depend on who is calling: it asks so,
// or calls a function that might.
func (l *linter) asksAnyone(condition *pganalyze.Node) bool {
	found := aboutCaller(condition)
	walk(condition, func(n *pganalyze.Node) bool {
		if parts := texts(n.GetFuncCall().GetFuncname()); len(parts) == 2 && parts[0] != "storage" && parts[0] != "pg_catalog" || len(parts) > 0 && len(l.schema.called(parts)) > 0 {
			found = true
		}
		return !found
	})
	return found
}

func verbs(command string) string {
	if command == "all" {
		return "read, change and delete"
	}
	return map[string]string{"update": "change", "delete": "delete"}[command]
}

// viewRights judges a view in an exposed schema: what it shows of tables whose
// row level security the caller would be bound by.
func (l *linter) viewRights(n name, v *relation) {
	if !l.options.exposed(n.schema) || v.closed {
		return
	}
	fix := "alter view " + n.String() + " set (security_invoker = true);"
	seen := map[name]bool{}
	var past func(reader name, r *relation) (view, table name, found bool)
	past = func(reader name, r *relation) (name, name, bool) {
		seen[reader] = true
		for _, read := range r.reads {
			t := l.schema.relations[read]
			switch {
			case !r.invoker && read == (name{"auth", "users"}):
				return reader, read, true
			case t == nil || seen[read]:
			case t.kind == view:
				if v, table, found := past(read, t); found {
					return v, table, true
				}
			case !r.invoker && t.kind == table && t.rls:
				return reader, read, true
			}
		}
		return name{}, name{}, false
	}
	by, table, found := past(n, v)
	switch {
	case !found:
	case table == (name{"auth", "users"}):
		l.report(v.at, "view.auth-users", n.String()+" shows the API what auth.users holds: addresses, phone numbers, password hashes",
			"-- a table of your own with what the app needs, filled by a trigger, instead of\ndrop view "+n.String()+";")
	case by == n:
		l.report(v.at, "view.security-invoker", n.String()+" reads "+table.String()+" with the rights of its owner, so past its row level security", fix)
	default:
		l.report(v.at, "view.security-invoker", n.String()+" reads "+by.String()+", which reads "+table.String()+" with the rights of its owner, so past its row level security",
			"alter view "+by.String()+" set (security_invoker = true);\n"+fix)
	}
}

// judgeDefiner judges a function that runs as its owner.
func (l *linter) judgeDefiner(f *function) {
	if !f.pinned {
		l.report(f.at, "function.search-path", f.signature()+" runs with its owner's rights and finds tables and functions by the caller's search_path: the caller chooses which",
			"alter "+f.word()+" "+f.signature()+" set search_path = '';")
	}
	if f.trigger || !l.options.exposed(f.name.schema) {
		return
	}
	for _, g := range l.schema.grants {
		if g.kind == pganalyze.ObjectType_OBJECT_FUNCTION && slices.Contains(bound, g.role) && g.object.schema == f.name.schema &&
			(g.object.rel == "*" || g.object == f.name && (g.arguments == "" || g.arguments == f.arguments)) {
			l.report(g.at, "function.definer-granted", publicKey(g.role)+" can call "+f.signature()+" through the API, and it runs with its owner's rights, past row level security",
				"revoke execute on "+f.word()+" "+f.signature()+" from public, anon, authenticated;")
		}
	}
}

// together joins what one statement grants on one object to one role: the
// privileges that anybody misses when they are gone, in one; TRUNCATE and CREATE
// by themselves, because they have rules of their own.
func together(grants []grant) []grant {
	var list []grant
	for _, g := range grants {
		// Those of one statement stand together.
		first := len(list)
		for first > 0 && list[first-1].at == g.at {
			first--
		}
		same := func(o grant) bool {
			return o.kind == g.kind && o.object == g.object && o.arguments == g.arguments && o.role == g.role &&
				o.privilege != "truncate" && o.privilege != "create"
		}
		switch i := slices.IndexFunc(list[first:], same); {
		case g.privilege == "references" || g.privilege == "trigger": // of no use through the API
		case i < 0 || g.privilege == "truncate" || g.privilege == "create":
			list = append(list, g)
		default:
			list[first+i].privilege += ", " + g.privilege
		}
	}
	return list
}

// judgeGrant judges privileges that are still granted in the end.
func (l *linter) judgeGrant(g grant) {
	if !slices.Contains(bound, g.role) {
		return
	}
	on := map[pganalyze.ObjectType]string{pganalyze.ObjectType_OBJECT_TABLE: g.object.String(), pganalyze.ObjectType_OBJECT_SEQUENCE: "sequence " + g.object.String(),
		pganalyze.ObjectType_OBJECT_SCHEMA: "schema " + quote(g.object.schema), pganalyze.ObjectType_OBJECT_FUNCTION: "function " + g.object.String() + "(" + g.arguments + ")"}[g.kind]
	if g.object.rel == "*" {
		on = "all " + map[pganalyze.ObjectType]string{pganalyze.ObjectType_OBJECT_TABLE: "tables", pganalyze.ObjectType_OBJECT_SEQUENCE: "sequences",
			pganalyze.ObjectType_OBJECT_FUNCTION: "functions"}[g.kind] + " in schema " + quote(g.object.schema)
	}
	from := " from " + quote(g.role) + ";"
	// Usage alone shows nothing, and three of these schemas are served.
	if slices.Contains(services, g.object.schema) && g.privilege != "usage" && !slices.Contains([]string{"storage", "realtime", "graphql_public"}, g.object.schema) {
		l.report(g.at, "grant.service-schema", publicKey(g.role)+" gets "+strings.ToUpper(g.privilege)+" on "+on+", where a service keeps accounts, keys or queues", "revoke all on "+on+from)
		return
	}
	switch {
	case g.privilege == "create":
		l.report(g.at, "grant.create", publicKey(g.role)+" can create objects in "+quote(g.object.schema)+", and plant functions that others call", "revoke create on "+on+from)
	case g.privilege == "truncate":
		l.report(g.at, "grant.truncate", publicKey(g.role)+" can empty "+on+": row level security does not apply to TRUNCATE",
			"revoke truncate, references, trigger on "+on+from+" -- grant the verbs it needs by name")
	case g.role == "authenticated":
	case g.kind == pganalyze.ObjectType_OBJECT_SCHEMA && l.options.exposed(g.object.schema):
	case g.kind == pganalyze.ObjectType_OBJECT_FUNCTION && g.role == "public" && !l.options.exposed(g.object.schema):
	default:
		l.report(g.at, "grant.anon", publicKey(g.role)+" gets "+strings.ToUpper(g.privilege)+" on "+on, "revoke "+g.privilege+" on "+on+from+" -- or say why it is public: -- holdfast:ignore grant.anon <reason>")
	}
}
