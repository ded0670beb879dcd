package migrate

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// An Error is a migration that can't be applied, and where in its file.
type Error struct {
	Path      string // of the file
	Line      int    // from 1; 0 when no place in the file is to blame
	Column    int    // from 1, in characters
	Statement string // the failing one, cut to 200 characters; not part of Error's text
	Message   string // what is wrong, in one line
	Code      string // SQLSTATE; empty when PostgreSQL was not asked
	Detail    string // PostgreSQL's own words
	Hint      string // what to do
	Outcome   string // what became of the run: "the database was not touched"
	Err       error  // the cause; nil when PostgreSQL was not asked
}

// Error returns one line that starts with the place, in the form that editors
// and terminals turn into a link, and ends with the outcome.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Path)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	b.WriteString(": " + e.Message)
	for _, more := range []string{e.Detail, e.Hint} {
		if more != "" {
			b.WriteString("; " + strings.TrimSuffix(strings.Join(strings.Fields(more), " "), "."))
		}
	}
	if e.Outcome != "" {
		b.WriteString(" (" + e.Outcome + ")")
	}
	return b.String()
}

// Unwrap returns the cause, a *pgconn.PgError when PostgreSQL refused.
func (e *Error) Unwrap() error { return e.Err }

// untouched is the outcome of what was found before anything was changed.
const untouched = "the database was not touched"

// refused returns the error for a statement that must not run.
func (f File) refused(s statement, message, hint string) *Error {
	e := &Error{Path: f.Path, Statement: excerpt(s.sql), Message: message, Hint: hint, Outcome: untouched}
	e.Line, e.Column = position(f.SQL, s.offset)
	return e
}

// failed returns the error for a statement that PostgreSQL refused.
func (f File) failed(s statement, cause error, outcome string) *Error {
	e := &Error{Path: f.Path, Statement: excerpt(s.sql), Message: cause.Error(), Outcome: outcome, Err: cause}
	offset := s.offset
	var pg *pgconn.PgError
	if errors.As(cause, &pg) {
		e.Message, e.Code, e.Detail, e.Hint = pg.Message, pg.Code, pg.Detail, pg.Hint
		if pg.Position > 0 {
			offset += runeOffset(s.sql, int(pg.Position))
		} else if pg.Where != "" && e.Detail == "" {
			// An error inside a function has no place in the file; its
			// context names the function and line.
			e.Detail = "in " + firstLine(pg.Where)
		}
		if hint, ok := hints[pg.Code]; ok {
			e.Hint = hint
		}
	}
	e.Line, e.Column = position(f.SQL, offset)
	return e
}

// hints say what to do about errors that come from running many migrations in
// one transaction, or with time limits.
var hints = map[string]string{
	"55P04": "a new enum value can be used only after the migration that adds it is committed: deploy that one first, the others after it",
	"55P03": "another session holds a lock on it: end that session or try again when it is done",
	"57014": "it ran longer than the statement timeout allows: make it faster, or put \"set local statement_timeout\" in front of it",
	"53100": "free space on the database's disk, then run again",
	"2D000": "take the COMMIT or ROLLBACK out of the block: all pending migrations are one transaction",
}

func excerpt(sql string) string {
	const longest = 200
	text := strings.Join(strings.Fields(sql), " ")
	if runes := []rune(text); len(runes) > longest {
		return string(runes[:longest-1]) + "…"
	}
	return text
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
