// Package database observes a PostgreSQL database with Supabase's roles: its
// catalog, and the access matrix, what the planner itself says each API role can
// do with each exposed relation. It changes nothing and runs nothing: queries
// are planned (EXPLAIN), never executed, in a transaction that is rolled back.
//
// The catalog is one round trip, the matrix another, whatever the database's
// size: what is planned goes out as one pipeline and is read as it comes in. The
// same collector serves the gate inside a migration's transaction.
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

// apiRoles are what PostgREST becomes for a request in every Supabase project.
var apiRoles = []string{"anon", "authenticated", "service_role"}

//go:embed facts.sql
var factsSQL string

//go:embed matrix.sql
var matrixSQL string

//go:embed services.sql
var servicesSQL string

// relationsSQL lists what the matrix is about: what the API exposes, in order,
// and the tables whose policies decide over Storage's files and Realtime's
// private channels. $1: the exposed schemas, text[].
const relationsSQL = `
	select coalesce(array_agg(c.oid order by n.nspname, c.relname), '{}')
	from pg_class c join pg_namespace n on n.oid = c.relnamespace
	where c.relkind in ('r', 'p', 'v', 'm', 'f')
		and (n.nspname = any ($1::text[]) or (n.nspname, c.relname) in (('storage', 'objects'), ('storage', 'buckets'), ('realtime', 'messages')))`

// rolesSQL lists whom the matrix is about: what PostgREST becomes for a request,
// which besides Supabase's three is every role that authenticator may become.
const rolesSQL = `(select array['anon', 'authenticated', 'service_role'] || array(
	select r.rolname::text from pg_roles r, pg_roles a
	where a.rolname = 'authenticator' and r.oid <> a.oid and pg_has_role(a.oid, r.oid, 'member')
		and not r.rolsuper and r.rolname not in ('anon', 'authenticated', 'service_role') and r.rolname !~ '^(pg|supabase)_'
	order by r.rolname))`

// chunk is how many relations are planned by one statement: enough that the
// statement itself does not matter, and few enough for what it returns, some
// 10 kB a relation, to be small.
const chunk = 100

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
	facts, err := observe(ctx, conn, schemas)
	if err != nil {
		return nil, fmt.Errorf("observe the database: %w", err)
	}
	return facts, nil
}

// observe asks everything in one transaction, or in a savepoint of the open one.
func observe(ctx context.Context, conn *pgx.Conn, schemas []string) (facts *verify.Database, err error) {
	begin, end := "begin isolation level repeatable read read only", "rollback"
	if conn.PgConn().TxStatus() != 'I' {
		begin, end = "savepoint holdfast_collect", "rollback to savepoint holdfast_collect; release savepoint holdfast_collect"
	}
	defer func() {
		if conn.IsClosed() {
			return
		}
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if _, failed := conn.PgConn().Exec(undo, end).ReadAll(); err == nil && failed != nil {
			facts, err = nil, failed
		}
	}()
	list, err := conn.TypeMap().Encode(pgtype.TextArrayOID, pgtype.TextFormatCode, schemas, nil)
	if err != nil {
		return nil, err
	}
	one, oid := [][]byte{list}, []uint32{pgtype.TextArrayOID}
	batch := &pgconn.Batch{}
	batch.ExecParams(begin, nil, nil, nil, nil)
	// Names in expressions are printed with their schema when it is not in the path.
	batch.ExecParams(`select set_config('search_path', '', true), set_config('statement_timeout', '60s', true),
		set_config('lock_timeout', '5s', true), set_config('holdfast.schemas', $1::text, true), set_config('holdfast.roles', `+rolesSQL+`::text, true)`, one, oid, nil, nil)
	batch.ExecParams(factsSQL, one, oid, nil, nil)
	batch.ExecParams(servicesSQL, nil, nil, nil, nil)
	batch.ExecParams("select current_setting('holdfast.services')", nil, nil, nil, nil)
	batch.ExecParams(relationsSQL, one, oid, nil, []int16{pgtype.BinaryFormatCode})
	var rows [][]byte // the first column of each statement's last row
	err = each(ctx, conn, batch, func(value []byte) error {
		rows = append(rows, slices.Clone(value))
		return nil
	})
	if err != nil {
		return nil, err
	}
	facts, build, err := understand(rows[2], rows[4], schemas)
	if err != nil {
		return nil, err
	}
	var relations []uint32
	if err := conn.TypeMap().Scan(pgtype.OIDArrayOID, pgtype.BinaryFormatCode, rows[5], &relations); err != nil {
		return nil, err
	}
	batch = &pgconn.Batch{}
	for part := range slices.Chunk(relations, chunk) {
		oids, err := conn.TypeMap().Encode(pgtype.OIDArrayOID, pgtype.TextFormatCode, part, nil)
		if err != nil {
			return nil, err
		}
		batch.ExecParams("select set_config('holdfast.relations', $1, true)", [][]byte{oids}, []uint32{pgtype.TextOID}, nil, nil)
		batch.ExecParams(matrixSQL, nil, nil, nil, nil)
		batch.ExecParams("select current_setting('holdfast.matrix')", nil, nil, nil, nil)
	}
	i := 0
	err = each(ctx, conn, batch, func(value []byte) error {
		i++
		if i%3 != 0 {
			return nil
		}
		var cells []cell
		if err := json.Unmarshal(value, &cells); err != nil {
			return fmt.Errorf("read the access matrix: %w", err)
		}
		return build.add(cells)
	})
	if err != nil {
		return nil, err
	}
	facts.Access = build.access
	return facts, nil
}

// each sends a batch and hands take the first column of each statement's last
// row, nil when there is none. The value is take's until it returns.
func each(ctx context.Context, conn *pgx.Conn, batch *pgconn.Batch, take func([]byte) error) error {
	results := conn.PgConn().ExecBatch(ctx, batch)
	var failed error
	for results.NextResult() {
		reader := results.ResultReader()
		taken := false
		for reader.NextRow() {
			if values := reader.Values(); !taken && failed == nil && len(values) > 0 {
				failed, taken = take(values[0]), true
			}
		}
		if _, err := reader.Close(); err != nil {
			break // Close below returns the same error
		}
		if !taken && failed == nil {
			failed = take(nil)
		}
	}
	if err := results.Close(); err != nil {
		return err
	}
	return failed
}

// A catalog is the answer of facts.sql: facts as they are, and what the rest is
// worked out from.
type catalog struct {
	verify.Database
	Edges []edge `json:"edges"`
}

// understand turns the catalog and what services keep into facts, and returns
// what the matrix is built with.
func understand(document, kept []byte, schemas []string) (*verify.Database, *builder, error) {
	var c catalog
	if err := json.Unmarshal(document, &c); err != nil {
		return nil, nil, fmt.Errorf("read the catalog: %w", err)
	}
	for _, role := range apiRoles {
		if !slices.ContainsFunc(c.Roles, func(r verify.Role) bool { return r.Name == role }) {
			return nil, nil, fmt.Errorf("there is no role %s: this is not a Supabase database", role)
		}
	}
	var services struct {
		Storage    *verify.Storage           `json:"storage"`
		Migrations *verify.AppliedMigrations `json:"migrations"`
	}
	if err := json.Unmarshal(kept, &services); err != nil {
		return nil, nil, fmt.Errorf("read the services' tables: %w", err)
	}
	facts := &c.Database
	facts.ExposedSchemas, facts.AccessChanges = schemas, []verify.AccessChange{}
	facts.Storage, facts.Migrations = services.Storage, services.Migrations
	exempt := exemptions(facts)
	reach(facts, c.Edges, exempt)
	tables := map[string]*verify.Table{}
	for i, t := range facts.Tables {
		tables[t.Schema+"."+t.Name] = &facts.Tables[i]
	}
	for i := range facts.Policies {
		p := &facts.Policies[i]
		judge(p, tables[p.Schema+"."+p.Table])
	}
	return facts, newBuilder(facts, exempt), nil
}
