package access

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"holdfast/verify"
)

// Line says a change in one line: "public.invoices: authenticated SELECT
// filtered → everything".
func Line(c verify.AccessChange) string {
	line := fmt.Sprintf("%s: %s %s %s → %s", c.Object, c.Role, strings.ToUpper(c.Verb), c.Before, c.After)
	switch {
	case c.Before == Filtered && c.After == Filtered:
		line = fmt.Sprintf("%s: %s %s filtered otherwise: %s → %s", c.Object, c.Role, strings.ToUpper(c.Verb), c.FilterBefore, c.FilterAfter)
	case c.After == Filtered && c.FilterAfter != "":
		line += ": " + c.FilterAfter
	case c.Verb == "execute" && c.Before == c.After:
		line = fmt.Sprintf("%s: %s EXECUTE as its owner (security definer), formerly as the caller", c.Object, c.Role)
	}
	if !slices.Equal(c.ColumnsBefore, c.ColumnsAfter) {
		line += fmt.Sprintf(" (columns: %s → %s)", columns(c.ColumnsBefore), columns(c.ColumnsAfter))
	}
	return line
}

func columns(list []string) string {
	if len(list) == 0 {
		return "all"
	}
	return strings.Join(list, ", ")
}

// Table writes a matrix for people: one line an object and role.
func Table(w io.Writer, cells []Cell) error {
	type row struct {
		object, kind, role string
		states             map[string]string
		filter, columns    string
	}
	var rows []*row
	object, role := len("object"), len("role")
	for _, c := range cells {
		if n := len(rows); n == 0 || rows[n-1].object != c.Object || rows[n-1].role != c.Role {
			rows = append(rows, &row{object: c.Object, kind: c.Kind, role: c.Role, states: map[string]string{}})
		}
		r := rows[len(rows)-1]
		r.states[c.Verb] = c.State
		if c.Filter != "" {
			r.filter = c.Filter
		}
		if len(c.Columns) > 0 {
			r.columns += "  " + c.Verb + " of " + strings.Join(c.Columns, ", ")
		}
		object, role = max(object, len(c.Object)), max(role, len(c.Role))
	}
	if _, err := fmt.Fprintf(w, "%-*s  %-*s  %-10s  %-10s  %-10s  %-10s\n", object, "object", role, "role", "select", "insert", "update", "delete"); err != nil {
		return err
	}
	for _, r := range rows {
		line := fmt.Sprintf("%-*s  %-*s  %-10s  %-10s  %-10s  %-10s", object, r.object, role, r.role, r.states["select"], r.states["insert"], r.states["update"], r.states["delete"])
		if r.states["execute"] != "" {
			line = fmt.Sprintf("%-*s  %-*s  execute (%s)", object, r.object, role, r.role, r.kind)
		}
		if r.states["truncate"] != "" {
			line += "  TRUNCATE too"
		}
		line += r.columns
		if r.filter != "" {
			line += "  where " + r.filter
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " ")); err != nil {
			return err
		}
	}
	return nil
}
