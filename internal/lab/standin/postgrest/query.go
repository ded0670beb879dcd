package postgrest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// A clause is SQL with numbered parameters, built piece by piece.
type clause struct {
	args []any
}

// Arg adds a value and returns its placeholder.
func (c *clause) arg(v any) string {
	c.args = append(c.args, v)
	return "$" + strconv.Itoa(len(c.args))
}

func quote(parts ...string) string { return pgx.Identifier(parts).Sanitize() }

// Reserved are query parameters that are no columns.
var reserved = []string{"select", "order", "limit", "offset", "columns", "on_conflict", "and", "or", "not.and", "not.or", "apikey"}

// Where makes the condition of all filters, each COLUMN=OPERATOR.VALUE.
func (c *clause) where(q url.Values) (string, error) {
	var conditions []string
	for _, column := range sorted(q) {
		switch {
		case slices.Contains([]string{"and", "or", "not.and", "not.or"}, column):
			return "", unsupported("the filter " + column)
		case slices.Contains(reserved, column):
			continue
		}
		if strings.ContainsAny(column, ".->(") {
			return "", unsupported("a filter on " + column)
		}
		for _, value := range q[column] {
			condition, err := c.condition(column, value)
			if err != nil {
				return "", err
			}
			conditions = append(conditions, condition)
		}
	}
	if len(conditions) == 0 {
		return "", nil
	}
	return " where " + strings.Join(conditions, " and "), nil
}

var operators = map[string]string{
	"eq": "=", "neq": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<=",
	"like": "like", "ilike": "ilike", "match": "~", "imatch": "~*", "cs": "@>", "cd": "<@",
}

func (c *clause) condition(column, filter string) (string, error) {
	operator, value, found := strings.Cut(filter, ".")
	not := ""
	if operator == "not" {
		not = "not "
		operator, value, found = strings.Cut(value, ".")
	}
	if !found {
		return "", newFault(http.StatusBadRequest, "PGRST100", fmt.Sprintf("failed to parse filter (%s)", filter), "")
	}
	name := quote(column)
	switch operator {
	case "is":
		if !slices.Contains([]string{"null", "true", "false", "unknown"}, strings.ToLower(value)) {
			return "", newFault(http.StatusBadRequest, "PGRST100", fmt.Sprintf("failed to parse filter (%s)", filter), "")
		}
		return fmt.Sprintf("(%s%s is %s)", not, name, strings.ToLower(value)), nil
	case "in":
		if !strings.HasPrefix(value, "(") || !strings.HasSuffix(value, ")") {
			return "", newFault(http.StatusBadRequest, "PGRST100", fmt.Sprintf("failed to parse filter (%s)", filter), "")
		}
		var places []string
		for _, v := range elements(value[1 : len(value)-1]) {
			places = append(places, c.arg(v))
		}
		if len(places) == 0 {
			return fmt.Sprintf("(%sfalse)", not), nil
		}
		return fmt.Sprintf("(%s%s in (%s))", not, name, strings.Join(places, ", ")), nil
	case "like", "ilike":
		value = strings.ReplaceAll(value, "*", "%")
	}
	symbol, known := operators[operator]
	if !known {
		return "", newFault(http.StatusBadRequest, "PGRST100", fmt.Sprintf("failed to parse filter (%s)", filter), "")
	}
	return fmt.Sprintf("(%s%s %s %s)", not, name, symbol, c.arg(value)), nil
}

// Elements takes the list of an "in" apart; elements may be double-quoted.
func elements(s string) []string {
	var out []string
	var b strings.Builder
	quoted := false
	flush := func() {
		out = append(out, b.String())
		b.Reset()
	}
	for i := 0; i < len(s); i++ {
		switch ch := s[i]; {
		case ch == '\\' && quoted && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case ch == '"':
			quoted = !quoted
		case ch == ',' && !quoted:
			flush()
		default:
			b.WriteByte(ch)
		}
	}
	if s != "" {
		flush()
	}
	return out
}

var selected = regexp.MustCompile(`^(?:([\p{L}_][\p{L}\p{N}_ ]*):)?(\*|[\p{L}_][\p{L}\p{N}_ $]*)(?:::([a-z_][a-z0-9_]*))?$`)

// Columns makes the list of a select parameter.
func columns(parameter string) (string, error) {
	if parameter == "" {
		return "*", nil
	}
	var out []string
	for part := range strings.SplitSeq(parameter, ",") {
		m := selected.FindStringSubmatch(strings.TrimSpace(part))
		if m == nil {
			return "", unsupported("select=" + part + " (embedding, JSON paths and aggregates are missing)")
		}
		expression := m[2]
		if expression != "*" {
			expression = quote(m[2])
			if m[3] != "" {
				expression = "cast(" + expression + " as " + quote(m[3]) + ") as " + quote(m[2])
			}
			if m[1] != "" {
				expression = strings.TrimSuffix(expression, " as "+quote(m[2])) + " as " + quote(m[1])
			}
		}
		out = append(out, expression)
	}
	return strings.Join(out, ", "), nil
}

var ordered = regexp.MustCompile(`^([\p{L}_][\p{L}\p{N}_ $]*)(?:\.(asc|desc))?(?:\.(nullsfirst|nullslast))?$`)

// Tail makes order, limit and offset.
func (h *Handler) tail(q url.Values) (sql string, offset int, err error) {
	if o := q.Get("order"); o != "" {
		var keys []string
		for part := range strings.SplitSeq(o, ",") {
			m := ordered.FindStringSubmatch(part)
			if m == nil {
				return "", 0, newFault(http.StatusBadRequest, "PGRST100", fmt.Sprintf("failed to parse order (%s)", o), "")
			}
			keys = append(keys, strings.TrimSpace(quote(m[1])+" "+m[2]+" "+strings.Replace(m[3], "nulls", "nulls ", 1)))
		}
		sql += " order by " + strings.Join(keys, ", ")
	}
	limit := h.config.MaxRows
	for name, into := range map[string]*int{"limit": &limit, "offset": &offset} {
		v := q.Get(name)
		if v == "" {
			continue
		}
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 {
			return "", 0, newFault(http.StatusBadRequest, "PGRST100", fmt.Sprintf("failed to parse %s (%s)", name, v), "")
		}
		if name == "limit" && h.config.MaxRows > 0 {
			n = min(n, h.config.MaxRows)
		}
		*into = n
	}
	if limit > 0 || q.Get("limit") != "" {
		sql += " limit " + strconv.Itoa(limit)
	}
	if offset > 0 {
		sql += " offset " + strconv.Itoa(offset)
	}
	return sql, offset, nil
}

func sorted(q url.Values) []string {
	names := make([]string, 0, len(q))
	for name := range q {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Relation makes sure that a table or view is there, as PostgREST's schema
// cache would know it, whoever may use it.
func relation(ctx context.Context, tx pgx.Tx, schema, name string) error {
	var found bool
	err := tx.QueryRow(ctx, `select exists (select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
		where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'v', 'm', 'f', 'p'))`, schema, name).Scan(&found)
	if err == nil && !found {
		return newFault(http.StatusNotFound, "PGRST205", fmt.Sprintf("Could not find the table '%s.%s' in the schema cache", schema, name), "")
	}
	return err
}

// Collect runs SQL that returns rows, as a JSON array.
func collect(ctx context.Context, tx pgx.Tx, sql string, args []any, r *request) (*answer, error) {
	var body string
	var rows int
	err := tx.QueryRow(ctx, "with stand_in as ("+sql+") select coalesce(json_agg(to_json(stand_in)), '[]')::text, count(*) from stand_in", args...).Scan(&body, &rows)
	if err != nil {
		return nil, err
	}
	a := &answer{status: http.StatusOK, body: []byte(body), rows: rows}
	if r.one {
		if rows != 1 {
			f := newFault(http.StatusNotAcceptable, "PGRST116", "Cannot coerce the result to a single JSON object", "")
			details := fmt.Sprintf("The result contains %d rows", rows)
			f.Details = &details
			return nil, f
		}
		var only []json.RawMessage
		if err := json.Unmarshal(a.body, &only); err != nil {
			return nil, err
		}
		a.body = only[0]
	}
	return a, nil
}
