package migrate

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	pganalyze "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"
	"github.com/wasilibs/go-pgquery/parser"
)

// Warm loads PostgreSQL's grammar, which takes over a second once a process.
// Call it in a goroutine while connecting, when migrations are going to be applied.
func Warm() {
	_, _ = pgquery.Parse("select 1") // can't fail; only its side effect is wanted
}

// A statement is one SQL statement of a file.
type statement struct {
	sql    string // from its first word to its last, without comments before it or the semicolon
	offset int    // of its first word in the file, in bytes
	node   *pganalyze.Node
}

// parse cuts a file into statements with PostgreSQL's own grammar and refuses
// what can't be part of the one transaction.
func (f File) parse() ([]statement, error) {
	statements, err := f.split()
	if err != nil {
		return nil, err
	}
	for _, s := range statements {
		if message, hint := refusal(s.node); message != "" {
			return nil, f.refused(s, message, hint)
		}
	}
	return statements, nil
}

// largest is how many bytes a file may have to be read as SQL. For each megabyte
// the grammar takes half a second, and its tree a hundred megabytes of memory.
const largest = 16 << 20

// split cuts a file into statements.
func (f File) split() ([]statement, error) {
	if len(f.SQL) > largest {
		return nil, &Error{Path: f.Path, Outcome: untouched,
			Message: fmt.Sprintf("the file has %d MB, and a migration may have %d", len(f.SQL)>>20, largest>>20),
			Hint:    "split it, or load the data after the deploy with psql's \\copy"}
	}
	tree, err := guarded(pgquery.Parse, f.SQL)
	if err != nil {
		return nil, f.syntaxError(err)
	}
	tokens, err := guarded(pgquery.Scan, f.SQL)
	if err != nil {
		return nil, f.syntaxError(err)
	}
	var statements []statement
	rest := tokens.Tokens
	for _, raw := range tree.Stmts {
		// A raw statement starts right behind the semicolon before it, so at
		// the white space and comments that lead it in.
		start, end := int(raw.StmtLocation), len(f.SQL)
		if raw.StmtLen > 0 {
			end = start + int(raw.StmtLen)
		}
		first, last := -1, end
		for len(rest) > 0 && int(rest[0].Start) < end {
			token := rest[0]
			rest = rest[1:]
			if int(token.Start) < start || token.Token == pganalyze.Token_SQL_COMMENT || token.Token == pganalyze.Token_C_COMMENT || token.Token == pganalyze.Token_ASCII_59 {
				continue
			}
			if first < 0 {
				first = int(token.Start)
			}
			last = int(token.End)
		}
		if first < 0 {
			return nil, fmt.Errorf("%s: read the statement at byte %d: it has no words", f.Path, start)
		}
		statements = append(statements, statement{
			sql:    f.SQL[first:last],
			offset: first,
			node:   raw.Stmt,
		})
	}
	return statements, nil
}

// record cuts a file for the history, as the CLI does: each statement with the
// comments before it, the last one also with those behind it. Joined again with
// semicolons (supabase migration fetch) the pieces are the file.
func (f File) record(statements []statement) []string {
	const blank = "; \t\r\n\v\f"
	texts := make([]string, 0, len(statements))
	from := 0
	for i, s := range statements {
		to := s.offset + len(s.sql)
		if i == len(statements)-1 {
			to = len(f.SQL)
		}
		texts = append(texts, strings.Trim(f.SQL[from:to], blank))
		from = to
	}
	if text := strings.Trim(f.SQL, blank); len(statements) == 0 && text != "" {
		texts = append(texts, text) // comments alone
	}
	return texts
}

// guarded calls the parser, which runs as WebAssembly, and turns its traps (too
// deep a nesting, say) into errors.
func guarded[T any](parse func(string) (T, error), sql string) (result T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("PostgreSQL's grammar gave up: %v", r)
		}
	}()
	return parse(sql)
}

// copyData finds COPY … FROM stdin, whose data lines look like bad SQL.
var copyData = regexp.MustCompile(`(?is)\bcopy\s[^;]*\bfrom\s+stdin\b[^;]*;`)

// syntaxError turns what the parser says into an error with its place.
func (f File) syntaxError(cause error) error {
	e := &Error{Path: f.Path, Message: cause.Error(), Outcome: untouched}
	var syntax *parser.Error
	if !errors.As(cause, &syntax) {
		return e
	}
	offset := runeOffset(f.SQL, syntax.Cursorpos) // counted in characters, from 1
	e.Message = excerpt(syntax.Message)           // it quotes the file's words, line ends among them
	if strings.HasPrefix(e.Message, "unterminated") {
		// It would quote the file from there to its end, and what is in it.
		e.Message, _, _ = strings.Cut(e.Message, " at or near")
	}
	e.Line, e.Column = position(f.SQL, offset)
	line := lineAt(f.SQL, offset)
	e.Statement = excerpt(line)
	switch {
	case strings.HasPrefix(strings.TrimSpace(line), `\`) && !copyData.MatchString(f.SQL[:offset]):
		e.Message = fmt.Sprintf("%q is a command of psql, not SQL", firstWord(line))
		e.Hint = "migrations hold SQL alone: take the line out"
	case copyData.MatchString(f.SQL[:offset]):
		e.Message = copyMessage
		e.Hint = copyHint
		at := copyData.FindStringIndex(f.SQL[:offset])
		e.Line, e.Column = position(f.SQL, at[0])
	}
	return e
}

func lineAt(text string, offset int) string {
	start := strings.LastIndexByte(text[:offset], '\n') + 1
	line, _, _ := strings.Cut(text[start:], "\n")
	return strings.TrimSuffix(line, "\r")
}

func firstWord(s string) string {
	if fields := strings.Fields(s); len(fields) > 0 {
		return fields[0]
	}
	return ""
}
