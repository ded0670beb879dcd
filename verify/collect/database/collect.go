// Package database observes a PostgreSQL database with Supabase's roles: its
// catalog, and the access matrix, what the planner itself says each API role can
// do with each exposed relation. It changes nothing and runs nothing: queries
// are planned (EXPLAIN), never executed, in a transaction that is rolled back.
//
// Everything is one pipeline, so one round trip, whatever the database's size.
// The same collector serves the gate inside a migration's transaction.
package database

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"holdfast/verify"
)

// Options say how to collect.
type Options struct {
	// Schemas are those PostgREST serves: PGRST_DB_SCHEMAS of the running rest
	// container. They can't be told from the database, and without them every
	// rule about the API would hold of nothing, so none is an error.
	Schemas []string
}

// apiRoles are what PostgREST becomes for a request.
var apiRoles = []string{"anon", "authenticated", "service_role"}

//go:embed facts.sql
var factsSQL string

//go:embed matrix.sql
var matrixSQL string

// A Querier is a *pgx.Conn, or a pgx.Tx whose changes are to be seen.
type Querier interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

// Collect observes the database that q is connected to, as a superuser, as a
// role that may become the API roles, or as holdfast_auditor. A transaction that
// is open, q itself or on the connection q, is left as it was.
func Collect(ctx context.Context, q Querier, options Options) (*verify.Database, error) {
	var conn *pgx.Conn
	switch q := q.(type) {
	case *pgx.Conn:
		conn = q
	case pgx.Tx:
		conn = q.Conn()
	default:
		return nil, fmt.Errorf("observe the database: a %T is neither a connection nor a transaction", q)
	}
	schemas := slices.DeleteFunc(slices.Clone(options.Schemas), func(s string) bool { return strings.TrimSpace(s) == "" })
	if len(schemas) == 0 {
		return nil, errors.New("observe the database: the schemas exposed through the API are not known (PGRST_DB_SCHEMAS of the rest container)")
	}
	for i := range schemas {
		schemas[i] = strings.TrimSpace(schemas[i])
	}
	answers, err := ask(ctx, conn, schemas)
	if err != nil {
		return nil, fmt.Errorf("observe the database: %w", err)
	}
	facts, err := understand(answers, schemas)
	if err != nil {
		return nil, fmt.Errorf("observe the database: %w", err)
	}
	return facts, nil
}

// answers are the documents that the queries return.
type answers struct {
	catalog, matrix, services []byte
}

// ask runs all queries in one round trip.
func ask(ctx context.Context, conn *pgx.Conn, schemas []string) (answers, error) {
	begin, end := "begin isolation level repeatable read read only", "rollback"
	if conn.PgConn().TxStatus() != 'I' {
		begin, end = "savepoint holdfast_collect", "rollback to savepoint holdfast_collect"
	}
	list, err := conn.TypeMap().Encode(pgtype.TextArrayOID, pgtype.TextFormatCode, schemas, nil)
	if err != nil {
		return answers{}, err
	}
	param, oid := [][]byte{list}, []uint32{pgtype.TextArrayOID}
	batch := &pgconn.Batch{}
	batch.ExecParams(begin, nil, nil, nil, nil)
	// Names in expressions are printed with their schema when it is not in the path.
	batch.ExecParams(`select set_config('search_path', '', true), set_config('statement_timeout', '60s', true),
		set_config('lock_timeout', '5s', true), set_config('holdfast.schemas', $1::text, true)`, param, oid, nil, nil)
	batch.ExecParams(factsSQL, param, oid, nil, nil)
	batch.ExecParams(matrixSQL, nil, nil, nil, nil)
	batch.ExecParams("select current_setting('holdfast.matrix'), current_setting('holdfast.services')", nil, nil, nil, nil)
	batch.ExecParams(end, nil, nil, nil, nil)

	results := conn.PgConn().ExecBatch(ctx, batch)
	var rows [][][]byte // the last row of each statement
	for results.NextResult() {
		result := results.ResultReader().Read()
		if result.Err != nil {
			break // Close below returns the same error
		}
		var last [][]byte
		if n := len(result.Rows); n > 0 {
			last = result.Rows[n-1]
		}
		rows = append(rows, last)
	}
	if err := results.Close(); err != nil {
		if !conn.IsClosed() {
			// The pipeline stopped before its last statement.
			undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			_, _ = conn.PgConn().Exec(undo, end).ReadAll()
		}
		return answers{}, err
	}
	if len(rows) != 6 || len(rows[2]) != 1 || len(rows[4]) != 2 {
		return answers{}, fmt.Errorf("unexpected answer: %d results", len(rows))
	}
	return answers{catalog: rows[2][0], matrix: rows[4][0], services: rows[4][1]}, nil
}

// A catalog is the answer of facts.sql: facts as they are, and what the rest is
// worked out from.
type catalog struct {
	verify.Database
	Edges []edge `json:"edges"`
}

// understand turns the answers into facts.
func understand(a answers, schemas []string) (*verify.Database, error) {
	var c catalog
	if err := json.Unmarshal(a.catalog, &c); err != nil {
		return nil, fmt.Errorf("read the catalog: %w", err)
	}
	for _, role := range apiRoles {
		if !slices.ContainsFunc(c.Roles, func(r verify.Role) bool { return r.Name == role }) {
			return nil, fmt.Errorf("there is no role %s: this is not a Supabase database", role)
		}
	}
	var services struct {
		Storage    *verify.Storage           `json:"storage"`
		Migrations *verify.AppliedMigrations `json:"migrations"`
	}
	if err := json.Unmarshal(a.services, &services); err != nil {
		return nil, fmt.Errorf("read the services' tables: %w", err)
	}
	facts := &c.Database
	facts.ExposedSchemas, facts.AccessChanges = schemas, []verify.AccessChange{}
	facts.Storage, facts.Migrations = services.Storage, services.Migrations
	exempt := exemptions(facts)
	reach(facts, c.Edges, exempt)
	for i := range facts.Policies {
		judge(&facts.Policies[i], facts.Tables)
	}
	var cells []cell
	if err := json.Unmarshal(a.matrix, &cells); err != nil {
		return nil, fmt.Errorf("read the access matrix: %w", err)
	}
	access, err := matrix(facts, cells, exempt)
	if err != nil {
		return nil, fmt.Errorf("read the access matrix: %w", err)
	}
	facts.Access = access
	return facts, nil
}
