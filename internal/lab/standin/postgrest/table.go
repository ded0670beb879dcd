package postgrest

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

func (h *Handler) read(r *request, table string) (statement, error) {
	q := r.URL.Query()
	list, err := columns(q.Get("select"))
	if err != nil {
		return nil, err
	}
	c := &clause{}
	where, err := c.where(q)
	if err != nil {
		return nil, err
	}
	tail, offset, err := h.tail(q)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, tx pgx.Tx) (*answer, error) {
		if err := relation(ctx, tx, r.schema, table); err != nil {
			return nil, err
		}
		a, err := collect(ctx, tx, "select "+list+" from "+quote(r.schema, table)+where+tail, c.args, r)
		if err != nil {
			return nil, err
		}
		a.offset, a.ranged = offset, true
		return a, nil
	}, nil
}

func (h *Handler) insert(r *request, table string) (statement, error) {
	body, err := r.json()
	if err != nil {
		return nil, err
	}
	rows, names, err := payload(body)
	if err != nil {
		return nil, err
	}
	for _, p := range r.prefer {
		if strings.HasPrefix(p, "resolution=") {
			return nil, unsupported("Prefer: " + p)
		}
	}
	c := &clause{}
	target, source := quote(r.schema, table), c.arg(string(rows))
	sql := "insert into " + target + " default values"
	if len(names) > 0 {
		list := quotedList(names)
		sql = "insert into " + target + " (" + list + ") select " + list +
			" from json_populate_recordset(null::" + target + ", " + source + "::json)"
	} else {
		c.args = nil
	}
	return h.write(r, table, sql, c, http.StatusCreated), nil
}

func (h *Handler) update(r *request, table string) (statement, error) {
	body, err := r.json()
	if err != nil {
		return nil, err
	}
	row, names, err := payload(body)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, unsupported("an update without columns")
	}
	c := &clause{}
	target, source := quote(r.schema, table), c.arg(string(row))
	where, err := c.where(r.URL.Query())
	if err != nil {
		return nil, err
	}
	var set []string
	for _, name := range names {
		set = append(set, quote(name)+" = (select "+quote(name)+" from json_populate_recordset(null::"+target+", "+source+"::json) limit 1)")
	}
	return h.write(r, table, "update "+target+" set "+strings.Join(set, ", ")+where, c, http.StatusOK), nil
}

func (h *Handler) remove(r *request, table string) (statement, error) {
	c := &clause{}
	where, err := c.where(r.URL.Query())
	if err != nil {
		return nil, err
	}
	return h.write(r, table, "delete from "+quote(r.schema, table)+where, c, http.StatusOK), nil
}

// Write runs a changing statement. Only with "Prefer: return=representation"
// the rows come back, for which their role must be allowed to read them.
func (h *Handler) write(r *request, table, sql string, c *clause, status int) statement {
	return func(ctx context.Context, tx pgx.Tx) (*answer, error) {
		if err := relation(ctx, tx, r.schema, table); err != nil {
			return nil, err
		}
		if !r.prefers("return=representation") {
			if _, err := tx.Exec(ctx, sql, c.args...); err != nil {
				return nil, err
			}
			if status == http.StatusOK {
				status = http.StatusNoContent
			}
			return &answer{status: status}, nil
		}
		list, err := columns(r.URL.Query().Get("select"))
		if err != nil {
			return nil, err
		}
		a, err := collect(ctx, tx, sql+" returning "+list, c.args, r)
		if err != nil {
			return nil, err
		}
		a.status = status
		return a, nil
	}
}

// Payload brings a body into an array of objects and names their columns,
// which must be the same in each.
func payload(body []byte) (rows []byte, names []string, err error) {
	if bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		body = slices.Concat([]byte("["), body, []byte("]"))
	}
	var objects []map[string]json.RawMessage
	if err := json.Unmarshal(body, &objects); err != nil {
		return nil, nil, newFault(http.StatusBadRequest, "PGRST102", "Empty or invalid json", "")
	}
	for i, o := range objects {
		var keys []string
		for k := range o {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		if i > 0 && !slices.Equal(keys, names) {
			return nil, nil, newFault(http.StatusBadRequest, "PGRST102", "All object keys must match", "")
		}
		names = keys
	}
	return body, names, nil
}

func quotedList(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = quote(n)
	}
	return strings.Join(quoted, ", ")
}
