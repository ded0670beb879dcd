package lint

import (
	"fmt"
	"slices"
	"strings"

	pganalyze "github.com/pganalyze/pg_query_go/v6"
)

// services are the schemas that Supabase's services and tools, and Holdfast,
// keep for themselves: each migrates its own, and fails when it finds it changed.
var services = []string{"auth", "storage", "realtime", "_realtime", "_analytics", "_supavisor", "supabase_functions", "supabase_migrations",
	"vault", "pgsodium", "graphql", "graphql_public", "net", "cron", "pgbouncer", "holdfast"}

// owned reports a statement that changes a schema of a service.
func (l *linter) owned(schema string, at place, what string) {
	if slices.Contains(services, schema) {
		l.report(at, "schema.service-owned", what+", and "+schema+" belongs to a service that keeps it for itself",
			"-- in a schema of your own:\ncreate schema if not exists app;")
	}
}

// bound are the roles that the policies of row level security are for.
var bound = []string{"public", "anon", "authenticated"}

func (l *linter) createPolicy(s *pganalyze.CreatePolicyStmt) {
	n := l.relation(s.Table)
	l.waits(n)
	p := &policy{at: l.here, name: s.PolicyName, table: n, command: strings.ToLower(s.CmdName), permissive: s.Permissive, using: s.Qual, check: s.WithCheck}
	for _, r := range s.Roles {
		p.roles = append(p.roles, roleName(r))
	}
	t := l.schema.relations[n]
	if t == nil {
		t = l.schema.outside(n, l.here)
	}
	t.policies[p.name] = p
}

func (l *linter) alterPolicy(s *pganalyze.AlterPolicyStmt) {
	n := l.relation(s.Table)
	l.waits(n)
	t := l.schema.relations[n]
	if t == nil || t.policies[s.PolicyName] == nil {
		return
	}
	p := t.policies[s.PolicyName]
	p.at = l.here
	if s.Qual != nil {
		p.using = s.Qual
	}
	if s.WithCheck != nil {
		p.check = s.WithCheck
	}
	if len(s.Roles) > 0 {
		p.roles = nil
		for _, r := range s.Roles {
			p.roles = append(p.roles, roleName(r))
		}
	}
}

// privileges are what ALL means.
var privileges = map[pganalyze.ObjectType][]string{
	pganalyze.ObjectType_OBJECT_TABLE:    {"select", "insert", "update", "delete", "truncate", "references", "trigger"},
	pganalyze.ObjectType_OBJECT_SEQUENCE: {"usage", "select", "update"},
	pganalyze.ObjectType_OBJECT_SCHEMA:   {"usage", "create"},
	pganalyze.ObjectType_OBJECT_FUNCTION: {"execute"},
}

// grant folds GRANT and REVOKE; what is left at the end is judged.
func (l *linter) grant(s *pganalyze.GrantStmt) {
	kind := s.Objtype
	if kind == pganalyze.ObjectType_OBJECT_PROCEDURE || kind == pganalyze.ObjectType_OBJECT_ROUTINE {
		kind = pganalyze.ObjectType_OBJECT_FUNCTION
	}
	if privileges[kind] == nil {
		return
	}
	var what []string
	for _, p := range s.Privileges {
		what = append(what, strings.ToLower(p.GetAccessPriv().GetPrivName()))
	}
	all := len(what) == 0
	if all {
		what = privileges[kind]
	}
	var roles []string
	for _, r := range s.Grantees {
		roles = append(roles, roleName(r))
	}
	for _, o := range s.Objects {
		object, arguments := l.grantee(s, kind, o)
		if s.IsGrant {
			l.granted(s, grant{kind: kind, object: object, arguments: arguments, all: all}, what, roles)
		} else {
			l.revoked(kind, object, what, roles)
		}
	}
}

// grantee is the object that one entry of a GRANT names.
func (l *linter) grantee(s *pganalyze.GrantStmt, kind pganalyze.ObjectType, o *pganalyze.Node) (object name, arguments string) {
	switch {
	case s.Targtype == pganalyze.GrantTargetType_ACL_TARGET_ALL_IN_SCHEMA:
		schema, _ := constant(o)
		return name{schema, "*"}, ""
	case kind == pganalyze.ObjectType_OBJECT_SCHEMA:
		schema, _ := constant(o)
		return name{schema, ""}, ""
	case o.GetObjectWithArgs() != nil:
		f := o.GetObjectWithArgs()
		return l.qualified(texts(f.Objname)), argumentTypes(f.Objargs)
	}
	return l.relation(o.GetRangeVar()), ""
}

func (l *linter) granted(s *pganalyze.GrantStmt, g grant, what, roles []string) {
	for i, role := range roles {
		g.at = l.at(s.Grantees[i].GetRoleSpec().GetLocation())
		g.role = role
		for _, p := range what {
			g.privilege = p
			l.schema.grants = append(l.schema.grants, g)
		}
	}
}

func (l *linter) revoked(kind pganalyze.ObjectType, object name, what, roles []string) {
	l.schema.grants = slices.DeleteFunc(l.schema.grants, func(g grant) bool {
		return g.kind == kind && g.object.schema == object.schema && (g.object == object || object.rel == "*") &&
			slices.Contains(what, g.privilege) && slices.Contains(roles, g.role)
	})
	if kind != pganalyze.ObjectType_OBJECT_TABLE || !slices.Contains(what, "select") || !slices.Contains(roles, "anon") || !slices.Contains(roles, "authenticated") {
		return
	}
	for n, r := range l.schema.relations {
		if n == object || object.rel == "*" && n.schema == object.schema {
			r.closed = true
		}
	}
}

// powerful are roles that see or change everything.
var powerful = []string{"service_role", "postgres", "supabase_admin", "supabase_auth_admin", "supabase_storage_admin", "supabase_read_only_user",
	"pg_read_all_data", "pg_write_all_data", "pg_execute_server_program", "pg_read_server_files", "pg_write_server_files"}

func (l *linter) grantRole(s *pganalyze.GrantRoleStmt) {
	if !s.IsGrant {
		return
	}
	for _, granted := range s.GrantedRoles {
		what := granted.GetAccessPriv().GetPrivName()
		if !slices.Contains(powerful, what) {
			continue
		}
		for _, grantee := range s.GranteeRoles {
			if who := roleName(grantee); slices.Contains(bound, who) {
				l.report(l.at(grantee.GetRoleSpec().GetLocation()), "grant.membership", who+" can become "+what+", which no policy binds", "revoke "+quote(what)+" from "+quote(who)+";")
			}
		}
	}
}

func (l *linter) defaultPrivileges(s *pganalyze.AlterDefaultPrivilegesStmt) {
	if !s.Action.GetIsGrant() {
		return
	}
	schema := ""
	for _, o := range s.Options {
		if d := o.GetDefElem(); d.GetDefname() == "schemas" {
			schema = strings.Join(texts(d.Arg.GetList().GetItems()), ", ")
		}
	}
	objects := map[pganalyze.ObjectType]string{pganalyze.ObjectType_OBJECT_TABLE: "tables", pganalyze.ObjectType_OBJECT_SEQUENCE: "sequences",
		pganalyze.ObjectType_OBJECT_FUNCTION: "functions", pganalyze.ObjectType_OBJECT_SCHEMA: "schemas", pganalyze.ObjectType_OBJECT_TYPE: "types"}[s.Action.Objtype]
	for _, g := range s.Action.Grantees {
		who := roleName(g)
		if !slices.Contains(bound, who) || objects == "types" {
			continue
		}
		in := ""
		if schema != "" {
			in = "in schema " + schema + " "
		}
		l.report(l.at(g.GetRoleSpec().GetLocation()), "grant.defaults", "whatever "+objects+" are created from now on are granted to "+who+" at once, before anybody has decided that they should be",
			"alter default privileges "+in+"revoke all on "+objects+" from "+quote(who)+";")
	}
}

func (l *linter) createFunction(s *pganalyze.CreateFunctionStmt) {
	f := &function{at: l.here, name: l.qualified(texts(s.Funcname)), arguments: argumentTypes(s.Parameters), procedure: s.IsProcedure, volatility: "volatile"}
	l.owned(f.name.schema, l.here, "it creates "+f.name.String())
	if result := texts(s.ReturnType.GetNames()); len(result) > 0 {
		f.trigger = strings.HasSuffix(result[len(result)-1], "trigger")
	}
	l.functionOptions(f, s.Options)
	l.schema.define(f)
}

func (l *linter) alterFunction(s *pganalyze.AlterFunctionStmt) {
	for _, f := range l.schema.find(l.qualified(texts(s.Func.GetObjname())), argumentTypes(s.Func.GetObjargs()), !s.Func.GetArgsUnspecified()) {
		was := *f
		l.functionOptions(f, s.Actions)
		if f.definer && !was.definer || !f.pinned && was.pinned {
			f.at = l.here
		}
	}
}

func (l *linter) functionOptions(f *function, options []*pganalyze.Node) {
	for _, o := range options {
		d := o.GetDefElem()
		switch d.GetDefname() {
		case "security":
			value, _ := constant(d.Arg)
			f.definer = value == "true"
		case "volatility":
			f.volatility, _ = constant(d.Arg)
		case "as":
			if items := d.Arg.GetList().GetItems(); len(items) > 0 {
				f.body, _ = constant(items[0])
			}
		case "set":
			v := d.Arg.GetVariableSetStmt()
			switch {
			case v.GetKind() == pganalyze.VariableSetKind_VAR_RESET_ALL:
				f.pinned = false
			case v.GetName() == "search_path":
				f.pinned = v.GetKind() == pganalyze.VariableSetKind_VAR_SET_VALUE || v.GetKind() == pganalyze.VariableSetKind_VAR_SET_CURRENT
			}
		}
	}
}

func (l *linter) roleOptions(role string, options []*pganalyze.Node) {
	for _, o := range options {
		d := o.GetDefElem()
		value, _ := constant(d.GetArg())
		switch d.GetDefname() {
		case "bypassrls", "superuser":
			if value == "true" {
				l.report(l.at(d.Location), "role.bypass", quote(role)+" is bound by no policy of any table", "alter role "+quote(role)+" no"+d.Defname+";")
			}
		case "password":
			// A verifier (SCRAM-SHA-256$…) is no password, but whoever has it can guess at leisure.
			if value != "" {
				l.report(l.at(d.Location), "secret.password", "the password of "+quote(role)+" is in the file, in git and in the migration history of every database", "-- set it outside of migrations:\n-- psql: \\password "+role)
			}
		}
	}
}

// passwordOption reports a password among the options of a user mapping.
func (l *linter) passwordOption(options []*pganalyze.Node) {
	for _, o := range options {
		d := o.GetDefElem()
		if value, _ := constant(d.GetArg()); strings.EqualFold(d.GetDefname(), "password") && value != "" {
			l.report(l.at(d.Location), "secret.password", "the password of a foreign server is in the file, in git and in the migration history of every database", "-- set it outside of migrations, or keep it in vault and name the secret")
		}
	}
}

// homes are the schemas that extensions choose themselves, whatever CREATE
// EXTENSION says.
var homes = []string{"pg_cron", "pg_net", "pgsodium", "supabase_vault", "pg_graphql", "plpgsql", "pgmq", "pg_tle", "postgis_tiger_geocoder", "postgis_topology", "plv8", "plpython3u", "wrappers", "hypopg", "timescaledb", "pg_partman"}

func (l *linter) extension(s *pganalyze.CreateExtensionStmt) {
	schema := l.path
	for _, o := range s.Options {
		if d := o.GetDefElem(); d.GetDefname() == "schema" {
			schema, _ = constant(d.Arg)
		}
	}
	if l.options.exposed(schema) && !slices.Contains(homes, s.Extname) {
		l.report(l.here, "extension.exposed", "the functions of "+s.Extname+" go to "+schema+", where they can be called through the API",
			"create extension if not exists "+quote(s.Extname)+" with schema extensions;")
	}
}

// outside adds a table that no file creates, to keep what files say about it.
func (s *schema) outside(n name, at place) *relation {
	r := &relation{kind: table, at: place{file: -1, statement: none}, off: at, columns: map[string]string{}, checks: map[string]check{}, policies: map[string]*policy{}}
	s.relations[n] = r
	return r
}

// publicKey names the roles as people know them.
func publicKey(role string) string {
	switch role {
	case "anon":
		return "anyone with the public API key (anon)"
	case "public":
		return "everyone (PUBLIC), so anyone with the public API key,"
	}
	return fmt.Sprintf("everyone who has signed in (%s)", role)
}
