package lint

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"holdfast/internal/lab/pgtest"
)

// told is a connection as the superuser that keeps what PostgreSQL says about
// its own work at DEBUG1: "rewriting table", "verifying table", "building index".
func told(t *testing.T, db *pgtest.Database) (*pgx.Conn, func() string) {
	t.Helper()
	config, err := pgx.ParseConfig(db.URL("supabase_admin", pgtest.Password))
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { said = append(said, n.Message) }
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.PgConn().Conn().Close() })
	run(t, conn, "set client_min_messages = debug1")
	return conn, func() string {
		text := strings.Join(said, "\n")
		said = nil
		return text
	}
}

func run(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func ask(t *testing.T, conn *pgx.Conn, sql string) string {
	t.Helper()
	var answer *string
	if err := conn.QueryRow(t.Context(), sql).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	if answer == nil {
		return ""
	}
	return *answer
}

// claims are what the rules about live databases say that their wrong example
// does: the lock PostgreSQL takes on a relation, whether it writes the table
// anew, and what it says while it works. Of the right example the same is not
// true, but for the lock where its name stands.
var claims = map[string]struct {
	on      string // relation, default private.a
	lock    string // of the wrong example
	right   string // that the right example takes at most; "" not looked at
	rewrite bool
	says    string
}{
	"index.blocking":         {lock: "ShareLock", says: "building index"},
	"index.drop":             {lock: "AccessExclusiveLock"},
	"index.rebuild":          {lock: "ShareLock", says: "building index"},
	"column.rewrite":         {lock: "AccessExclusiveLock", rewrite: true, says: "rewriting table"},
	"column.type":            {lock: "AccessExclusiveLock", rewrite: true, says: "rewriting table"},
	"column.not-null":        {lock: "AccessExclusiveLock", says: "verifying table"},
	"constraint.check":       {lock: "AccessExclusiveLock", says: "verifying table"},
	"constraint.foreign-key": {on: "private.b", lock: "ShareRowExclusiveLock", says: "validating foreign key constraint"},
	"constraint.unique":      {lock: "AccessExclusiveLock", says: "building index"},
	"table.rewrite":          {lock: "AccessExclusiveLock", rewrite: true, says: "rewriting table"},
	"table.lock":             {lock: "AccessExclusiveLock", right: "RowShareLock"},
	"matview.refresh":        {on: "private.m", lock: "AccessExclusiveLock", right: "ExclusiveLock"},
	"change.rename":          {lock: "AccessExclusiveLock"},
	"change.drop":            {lock: "AccessExclusiveLock"},
}

// A rule that warns of a lock PostgreSQL does not take is worth nothing.
func TestPostgreSQLLocksAndRewritesAsTheRulesSay(t *testing.T) {
	db := pgtest.New(t)
	conn, said := told(t, db)
	for _, rule := range Rules() {
		claim, ok := claims[rule.ID]
		if !ok {
			continue
		}
		if claim.on == "" {
			claim.on = "private.a"
		}
		for _, word := range []string{"wrong", "right"} {
			t.Run(rule.ID+"/"+word, func(t *testing.T) {
				sql := rule.Wrong
				if word == "right" {
					sql = rule.Right
				}
				files := folder("", sql)
				statements, err := files[0].Statements()
				if err != nil {
					t.Fatal(err)
				}
				run(t, conn, "begin")
				defer conn.Exec(t.Context(), "rollback")
				run(t, conn, rule.Given)
				if strings.Contains(rule.Given, "private.b ") {
					run(t, conn, "insert into private.b (id) values (1)")
					run(t, conn, "insert into private.a (id, b) values (1, 1)")
				} else {
					run(t, conn, "insert into private.a (id, b) values (1, 'x')")
				}
				if claim.on == "private.m" {
					run(t, conn, "refresh materialized view private.m")
				}
				// A transaction sees its own new tables without a lock that others
				// could notice, so the example gets one of its own.
				run(t, conn, "commit")
				defer run(t, conn, "drop schema private cascade")
				run(t, conn, "begin")
				defer conn.Exec(t.Context(), "rollback")
				before := ask(t, conn, "select pg_relation_filenode('private.a')::text")
				said()
				last := ""
				for _, s := range statements {
					if s.Alone() != "" {
						return // it can't be looked at from inside a transaction
					}
					said()
					run(t, conn, s.SQL)
					last = said()
				}
				locks := ask(t, conn, fmt.Sprintf("select string_agg(mode, ' ') from pg_locks where pid = pg_backend_pid() and relation = to_regclass('%s')", claim.on))
				rewritten := rule.ID != "change.rename" && ask(t, conn, "select pg_relation_filenode('private.a')::text") != before
				if word == "wrong" {
					if !slices.Contains(strings.Fields(locks), claim.lock) || rewritten != claim.rewrite || !strings.Contains(last, claim.says) {
						t.Errorf("locks %s, rewritten %t, says %q; want %s, %t, %q", locks, rewritten, last, claim.lock, claim.rewrite, claim.says)
					}
					return
				}
				if rewritten || claim.says != "" && strings.Contains(last, claim.says) {
					t.Errorf("the right example does it as well: rewritten %t, says %q", rewritten, last)
				}
				if claim.right != "" && (!strings.Contains(locks, claim.right) || slices.Contains(strings.Fields(locks), claim.lock)) {
					t.Errorf("the right example locks %s, want %s at most", locks, claim.right)
				}
			})
		}
	}
}

func TestAColumnThatIsRequiredFailsOnTheFirstRow(t *testing.T) {
	rule, _ := Lookup("column.required")
	conn := pgtest.New(t).Connect(t, "supabase_admin")
	run(t, conn, rule.Given)
	run(t, conn, "insert into private.a (id) values (1)")
	var pg *pgconn.PgError
	if _, err := conn.Exec(t.Context(), rule.Wrong); !errors.As(err, &pg) || pg.Code != "23502" {
		t.Errorf("got %v, want a not-null violation", err)
	}
	run(t, conn, rule.Right)
}

// What the linter lets pass must not rewrite; what it reports must, or the
// report is a false alarm.
func TestTypeChangesRewriteAsTheLinterSays(t *testing.T) {
	types := []string{"varchar", "varchar(10)", "varchar(20)", "text", "char(5)", "char(9)", "smallint", "integer", "bigint", "real", "double precision",
		"numeric", "numeric(10,2)", "numeric(12,2)", "numeric(12,4)", "timestamp", "timestamp(3)", "timestamptz", "timestamptz(3)", "date",
		"time", "time(3)", "interval", "inet", "cidr", "bit(4)", "varbit", "varbit(4)", "varbit(8)", "json", "jsonb", "uuid", "boolean", "text[]", "varchar(10)[]"}
	conn, said := told(t, pgtest.New(t))
	run(t, conn, "set timezone = 'Europe/Berlin'") // in UTC timestamptz and timestamp are stored alike
	kept, reported, careful := 0, 0, []string{}
	for _, from := range types {
		for _, to := range types {
			run(t, conn, "begin")
			run(t, conn, "create temporary table a (c "+from+")")
			said()
			_, err := conn.Exec(t.Context(), "alter table a alter column c type "+to)
			works := strings.Contains(said(), "ing table") // rewriting or verifying
			run(t, conn, "rollback")
			said()
			if err != nil {
				continue // there is no such cast
			}
			a, b := typeOf(t, from), typeOf(t, to)
			switch keeps := keepsRows(a, b); {
			case keeps && works:
				t.Errorf("from %s to %s rewrites the table, and the linter is silent", from, to)
			case keeps:
				kept++
			case works:
				reported++
			default:
				careful = append(careful, from+" → "+to)
			}
		}
	}
	t.Logf("%d changes keep the rows, %d don't; reported all the same: %s", kept, reported, strings.Join(careful, ", "))
	if kept < 20 || reported < 100 || len(careful) > 0 {
		t.Errorf("kept %d, reported %d, false alarms %q", kept, reported, careful)
	}
}

// typeOf writes a type as the linter does.
func typeOf(t *testing.T, sql string) string {
	t.Helper()
	nodes, err := parse("create table a (c " + sql + ")")
	if err != nil {
		t.Fatal(err)
	}
	return typeText(nodes[0].GetCreateStmt().TableElts[0].GetColumnDef().TypeName)
}

func TestVolatileFunctionsAreThoseThatPostgreSQLCallsVolatile(t *testing.T) {
	conn := pgtest.New(t).Connect(t, "supabase_admin")
	rows, err := conn.Query(t.Context(), `
		select proname::text, bool_and(provolatile = 'v') from pg_proc where pronamespace = 'pg_catalog'::regnamespace and proname = any ($1) group by 1`, volatile)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	var function string
	var is bool
	_, err = pgx.ForEachRow(rows, []any{&function, &is}, func() error {
		found++
		if !is {
			t.Errorf("%s is not volatile", function)
		}
		return nil
	})
	if err != nil || found < 8 {
		t.Fatal(found, err)
	}
	// And the other way round: what somebody might write as a default.
	missing := ask(t, conn, `
		select string_agg(distinct proname, ' ') from pg_proc
		where pronamespace = 'pg_catalog'::regnamespace and provolatile = 'v' and pronargs = 0 and not proretset
			and prorettype::regtype::text in ('uuid', 'double precision', 'timestamp with time zone', 'text', 'bigint', 'bytea')
			and not proname like 'pg\_%' and not proname = any (array['`+strings.Join(volatile, "','")+`'])`)
	if missing != "" {
		t.Errorf("volatile, and not in the list: %s", missing)
	}
}
