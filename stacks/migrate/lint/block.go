package lint

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	pganalyze "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"
)

// A piece is one statement of a PL/pgSQL block.
type piece struct {
	kind pieceKind
	sql  string // as written, or the expression that EXECUTE builds it with
}

type pieceKind int

const (
	static pieceKind = iota
	performs
	dynamic
	commits
)

// queries returns the statements of a PL/pgSQL block in the order they are
// written in, those of all branches.
func queries(code string) ([]piece, error) {
	tag := "$holdfast$"
	if strings.Contains(code, tag) {
		return nil, errors.New("it contains " + tag)
	}
	text, err := guarded(pgquery.ParsePlPgSqlToJSON, "do "+tag+code+tag)
	if err != nil {
		return nil, err
	}
	var tree any
	if err := json.Unmarshal([]byte(text), &tree); err != nil {
		return nil, err
	}
	var pieces []placed
	collect(tree, &pieces)
	slices.SortStableFunc(pieces, func(a, b placed) int { return a.line - b.line })
	list := make([]piece, len(pieces))
	for i, p := range pieces {
		list[i] = p.piece
	}
	return list, nil
}

type placed struct {
	piece
	line int
}

// collect finds the statements in PL/pgSQL's tree, whose nodes are objects with
// one key, their type.
func collect(tree any, pieces *[]placed) {
	switch t := tree.(type) {
	case []any:
		for _, item := range t {
			collect(item, pieces)
		}
	case map[string]any:
		for _, kind := range slices.Sorted(maps.Keys(t)) {
			value := t[kind]
			node, ok := value.(map[string]any)
			if !ok {
				collect(value, pieces)
				continue
			}
			line, _ := node["lineno"].(float64)
			add := func(k pieceKind, field string) {
				*pieces = append(*pieces, placed{piece{k, expression(node[field])}, int(line)})
			}
			switch kind {
			case "PLpgSQL_stmt_execsql":
				add(static, "sqlstmt")
			case "PLpgSQL_stmt_perform":
				add(performs, "expr")
			case "PLpgSQL_stmt_dynexecute", "PLpgSQL_stmt_dynfors":
				add(dynamic, "query")
			case "PLpgSQL_stmt_commit", "PLpgSQL_stmt_rollback":
				*pieces = append(*pieces, placed{piece{kind: commits}, int(line)})
			}
			collect(value, pieces)
		}
	}
}

func expression(node any) string {
	outer, _ := node.(map[string]any)
	inner, _ := outer["PLpgSQL_expr"].(map[string]any)
	text, _ := inner["query"].(string)
	return text
}

// parse reads SQL that stands inside something else.
func parse(sql string) ([]*pganalyze.Node, error) {
	tree, err := guarded(pgquery.Parse, sql)
	if err != nil {
		return nil, err
	}
	var list []*pganalyze.Node
	for _, raw := range tree.Stmts {
		list = append(list, raw.Stmt)
	}
	if len(list) == 0 {
		return nil, errors.New("no statement")
	}
	return list, nil
}

// grammar is held by who calls the parser. It would load a second time, which
// takes a second, for a call beside another.
var grammar sync.Mutex

// guarded turns a trap of the parser, which runs as WebAssembly, into an error.
func guarded[T any](read func(string) (T, error), sql string) (result T, err error) {
	grammar.Lock()
	defer grammar.Unlock()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the grammar gave up: %v", r)
		}
	}()
	return read(sql)
}
