package migrate

import pganalyze "github.com/pganalyze/pg_query_go/v6"

// A Statement is one statement of a file as PostgreSQL's grammar reads it.
type Statement struct {
	SQL    string // from its first word to its last
	Offset int    // of its first word in the file, in bytes
	Node   *pganalyze.Node
}

// Statements cuts a file into statements. What the grammar does not take is an
// *Error with its place.
func (f File) Statements() ([]Statement, error) {
	statements, err := f.split()
	if err != nil {
		return nil, err
	}
	list := make([]Statement, len(statements))
	for i, s := range statements {
		list[i] = Statement{SQL: s.sql, Offset: s.offset, Node: s.node}
	}
	return list, nil
}

// Refused says why Up would not run the statement, and what to do; "" when it would.
func (s Statement) Refused() (message, hint string) { return refusal(s.Node) }

// Alone names what PostgreSQL refuses to run inside a transaction, such as
// "CREATE INDEX CONCURRENTLY"; "" for all others.
func (s Statement) Alone() string { return standsAlone(s.Node) }
