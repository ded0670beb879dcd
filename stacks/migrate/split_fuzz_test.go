package migrate

import (
	"strings"
	"testing"
	"unicode/utf8"

	pganalyze "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Whatever the text, the file is cut where PostgreSQL's parser cuts it: each
// piece alone is the one statement that it was in the file, nothing but white
// space, comments and semicolons is between pieces, and the history's record of
// the file is taken for the file again.
func FuzzSplit(f *testing.F) {
	Warm() // instrumented for fuzzing it takes longer than one input may
	for _, seed := range []string{
		"", ";", "-- c", "select 1", "select 1;;select 2;", "/* a /* b */ */ select 1 -- x\n; select ';' || $$;$$ || $a$ ; $a$",
		"create function f() returns int language sql begin atomic select 1; select 2; end; select 3",
		"create rule r as on insert to t do also (select 1; select 2); select 3", "select E'\\';'; select U&'\\0441'", "select \"a;b\";\r\nselect 1\r\n",
		"-- é\nselect 'é' as \"ö\"; select 1", "do $$ begin; end $$; select 1", "select 1 /* ; */ ; -- ;\n select 2 ;;; /* end */",
		"copy t from stdin;\n1\n\\.\n", "\\d t", "\ufeffselect 1", "create schema s create table a (b int) create view v as select 1; select 2", "select 'a'\n'b;c'; select 1",
		"select 1; select $1$; select 2", "select b'1'; select x'f'", "begin; commit", "select 1 where a ~ ';' and b @> '{}'; select -- x;\n 2",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		if badText([]byte(sql)) >= 0 {
			t.Skip() // Read refuses it
		}
		file := File{Path: "f.sql", SQL: sql}
		statements, err := file.split()
		tree, real := guarded(pgquery.Parse, sql)
		if (err == nil) != (real == nil) {
			t.Fatalf("split says %v, the parser %v", err, real)
		}
		if err != nil {
			e, ok := err.(*Error)
			if !ok || e.Line < 1 || e.Column < 1 || e.Line > strings.Count(sql, "\n")+1 || !utf8.ValidString(err.Error()) {
				t.Fatalf("no place in the file: %#v", err)
			}
			return
		}
		if len(statements) != len(tree.Stmts) {
			t.Fatalf("%d statements, the parser has %d", len(statements), len(tree.Stmts))
		}
		end := 0
		for i, s := range statements {
			if s.offset < end || s.sql == "" || sql[s.offset:s.offset+len(s.sql)] != s.sql {
				t.Fatalf("statement %d is %q at %d, the one before ends at %d", i, s.sql, s.offset, end)
			}
			blank(t, sql[end:s.offset])
			end = s.offset + len(s.sql)
			alone, err := guarded(pgquery.Parse, s.sql)
			if err != nil || len(alone.Stmts) != 1 {
				t.Fatalf("%q alone is %d statements, %v", s.sql, len(alone.GetStmts()), err)
			}
			if !proto.Equal(unplaced(alone.Stmts[0].Stmt), unplaced(tree.Stmts[i].Stmt)) {
				t.Fatalf("%q alone is another statement than in the file", s.sql)
			}
		}
		blank(t, sql[end:])
		_, _ = file.parse()
		if _, err := TableOrigins([]File{file}); err != nil {
			t.Fatal(err)
		}
		if recorded := file.record(statements); !sameText(recorded, sql) {
			t.Fatalf("the history would hold %q", recorded)
		}
	})
}

// blank fails unless a text between statements is one without statements.
func blank(t *testing.T, text string) {
	t.Helper()
	if tree, err := guarded(pgquery.Parse, text); err != nil || len(tree.Stmts) > 0 {
		t.Fatalf("%q is between two statements: %v, %v", text, tree, err)
	}
}

// unplaced is a statement without the offsets of its nodes.
func unplaced(node *pganalyze.Node) *pganalyze.Node {
	node = proto.Clone(node).(*pganalyze.Node)
	var clear func(protoreflect.Message)
	clear = func(m protoreflect.Message) {
		m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
			switch {
			case strings.HasSuffix(string(field.Name()), "location"), field.Name() == "stmt_len":
				m.Clear(field)
			case field.Kind() != protoreflect.MessageKind:
			case field.IsList():
				for i := range value.List().Len() {
					clear(value.List().Get(i).Message())
				}
			default:
				clear(value.Message())
			}
			return true
		})
	}
	clear(node.ProtoReflect())
	return node
}
