package postgrest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Call runs a function with named arguments: from the body of a POST, from the
// query of a GET.
func (h *Handler) call(r *request, name string) (statement, error) {
	arguments := map[string]json.RawMessage{}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		for column, values := range r.URL.Query() {
			if slices.Contains(reserved, column) {
				continue
			}
			encoded, err := json.Marshal(values[0])
			if err != nil {
				return nil, err
			}
			arguments[column] = encoded
		}
	case http.MethodPost:
		if r.ContentLength != 0 {
			body, err := r.json()
			if err != nil {
				return nil, err
			}
			if err := json.Unmarshal(body, &arguments); err != nil {
				return nil, newFault(http.StatusBadRequest, "PGRST102", "Empty or invalid json", "")
			}
		}
	default:
		return nil, newFault(http.StatusMethodNotAllowed, "PGRST101", "Cannot use the "+r.Method+" method on RPC", "")
	}
	names := make([]string, 0, len(arguments))
	for n := range arguments {
		names = append(names, n)
	}
	slices.Sort(names)
	return func(ctx context.Context, tx pgx.Tx) (*answer, error) {
		f, err := lookUp(ctx, tx, r.schema, name, names)
		if err != nil {
			return nil, err
		}
		c := &clause{}
		var passed []string
		for _, n := range names {
			i := slices.Index(f.arguments, n)
			passed = append(passed, quote(n)+" => "+c.arg(argumentText(arguments[n]))+"::"+f.types[i])
		}
		invocation := quote(r.schema, name) + "(" + strings.Join(passed, ", ") + ")"
		switch {
		case f.void:
			_, err := tx.Exec(ctx, "select "+invocation, c.args...)
			return &answer{status: http.StatusNoContent}, err
		case f.set && f.composite:
			return collect(ctx, tx, "select * from "+invocation, c.args, r)
		case f.set:
			return scalar(ctx, tx, "select coalesce(json_agg(v), '[]')::text from "+invocation+" v", c.args)
		}
		return scalar(ctx, tx, "select coalesce(to_json("+invocation+"), 'null')::text", c.args)
	}, nil
}

func scalar(ctx context.Context, tx pgx.Tx, sql string, args []any) (*answer, error) {
	var body string
	err := tx.QueryRow(ctx, sql, args...).Scan(&body)
	return &answer{status: http.StatusOK, body: []byte(body), rows: 1}, err
}

// ArgumentText is a JSON value as PostgreSQL reads it from text.
func argumentText(v json.RawMessage) any {
	var s *string
	if json.Unmarshal(v, &s) == nil {
		return s // a string, or nil for null
	}
	return string(v)
}

type function struct {
	arguments, types     []string
	set, composite, void bool
}

// LookUp finds the function that takes the named arguments.
func lookUp(ctx context.Context, tx pgx.Tx, schema, name string, names []string) (*function, error) {
	rows, err := tx.Query(ctx, `
		select coalesce(p.proargnames[1:p.pronargs], '{}')::text[],
		    array(select format_type(t, null) from unnest(p.proargtypes) with ordinality u(t, i) order by i)::text[],
		    p.pronargdefaults, p.proretset, t.typtype in ('c') or p.prorettype = 'record'::regtype, p.prorettype = 'void'::regtype
		from pg_catalog.pg_proc p
		join pg_catalog.pg_namespace n on n.oid = p.pronamespace
		join pg_catalog.pg_type t on t.oid = p.prorettype
		where n.nspname = $1 and p.proname = $2 and p.prokind = 'f'`, schema, name)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found *function
	for rows.Next() {
		f, defaults := &function{}, 0
		if err := rows.Scan(&f.arguments, &f.types, &defaults, &f.set, &f.composite, &f.void); err != nil {
			return nil, err
		}
		required := f.arguments[:max(0, min(len(f.arguments), len(f.types)-defaults))]
		known := !slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(f.arguments, n) })
		complete := !slices.ContainsFunc(required, func(a string) bool { return !slices.Contains(names, a) })
		if known && complete {
			found = f
		}
	}
	if rows.Err() == nil && found == nil {
		return nil, newFault(http.StatusNotFound, "PGRST202",
			fmt.Sprintf("Could not find the function %s.%s(%s) in the schema cache", schema, name, strings.Join(names, ", ")), "")
	}
	return found, rows.Err()
}

// Root describes what the role of the request may use: enough of an OpenAPI
// document to show which paths there are.
func (h *Handler) root(r *request) statement {
	return func(ctx context.Context, tx pgx.Tx) (*answer, error) {
		rows, err := tx.Query(ctx, `
			select '/' || c.relname from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
			where n.nspname = $1 and c.relkind in ('r', 'v', 'm', 'f', 'p')
			    and has_table_privilege(c.oid, 'select, insert, update, delete')
			union
			select '/rpc/' || p.proname from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
			where n.nspname = $1 and p.prokind = 'f' and has_function_privilege(p.oid, 'execute')
			order by 1`, r.schema)
		if err != nil {
			return nil, err
		}
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return nil, err
		}
		paths := map[string]any{"/": struct{}{}}
		for _, n := range names {
			paths[n] = struct{}{}
		}
		body, err := json.Marshal(map[string]any{
			"swagger": "2.0",
			"info":    map[string]string{"title": "stand-in for PostgREST", "version": "14.17-stand-in"},
			"paths":   paths,
		})
		return &answer{status: http.StatusOK, body: body}, err
	}
}
