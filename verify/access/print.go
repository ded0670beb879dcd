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

// A Row is what one role can do with one object.
type Row struct {
	Object  string `json:"object"`
	Kind    string `json:"kind"`
	Role    string `json:"role"`
	Select  string `json:"select"` // a state, as the next three; of a function empty
	Insert  string `json:"insert"`
	Update  string `json:"update"`
	Delete  string `json:"delete"`
	Execute string `json:"execute"` // of a function
	Note    string `json:"note"`    // TRUNCATE, columns, the filter of select
}

// Rows joins the cells of each object and role.
func Rows(cells []Cell) []Row {
	var rows []Row
	for _, c := range cells {
		if n := len(rows); n == 0 || rows[n-1].Object != c.Object || rows[n-1].Role != c.Role {
			rows = append(rows, Row{Object: c.Object, Kind: c.Kind, Role: c.Role})
		}
		r := &rows[len(rows)-1]
		switch c.Verb {
		case "select":
			r.Select = c.State
		case "insert":
			r.Insert = c.State
		case "update":
			r.Update = c.State
		case "delete":
			r.Delete = c.State
		case "execute":
			r.Execute = c.State
		case "publish":
			r.Note += "; changes are published"
		case "download":
			if c.State == Everything {
				r.Note += "; anyone downloads by URL"
			}
		case "truncate":
			r.Note += "; TRUNCATE too"
		}
		if len(c.Columns) > 0 {
			r.Note += "; " + c.Verb + " of " + strings.Join(c.Columns, ", ")
		}
		if c.Filter != "" {
			r.Note += "; where " + c.Filter
		}
	}
	for i := range rows {
		rows[i].Note = strings.TrimPrefix(rows[i].Note, "; ")
	}
	return rows
}

// Reaches reports whether there is anything that the role can reach.
func (r Row) Reaches() bool {
	return slices.ContainsFunc([]string{r.Select, r.Insert, r.Update, r.Delete, r.Execute}, func(state string) bool {
		return state != "" && state != Denied && state != Nothing
	}) || r.Note != ""
}

// Table writes a matrix for people: one line an object and role.
func Table(w io.Writer, cells []Cell) error {
	rows := Rows(cells)
	object, role := len("object"), len("role")
	for _, r := range rows {
		object, role = max(object, len(r.Object)), max(role, len(r.Role))
	}
	if _, err := fmt.Fprintf(w, "%-*s  %-*s  %-10s  %-10s  %-10s  %-10s\n", object, "object", role, "role", "select", "insert", "update", "delete"); err != nil {
		return err
	}
	for _, r := range rows {
		line := fmt.Sprintf("%-*s  %-*s  %-10s  %-10s  %-10s  %-10s  %s", object, r.Object, role, r.Role, r.Select, r.Insert, r.Update, r.Delete, r.Note)
		if r.Execute != "" {
			line = fmt.Sprintf("%-*s  %-*s  execute (%s)", object, r.Object, role, r.Role, r.Kind)
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " ")); err != nil {
			return err
		}
	}
	return nil
}
