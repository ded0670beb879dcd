package lint

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	pganalyze "github.com/pganalyze/pg_query_go/v6"
)

// longestWait is how long a lock_timeout may be before it counts as none.
const longestWait = time.Minute

// set follows what a file does to its session.
func (l *linter) set(s *pganalyze.VariableSetStmt) {
	if s.Kind == pganalyze.VariableSetKind_VAR_RESET_ALL {
		l.setting("search_path", "", true)
		l.setting("lock_timeout", "", true)
		return // the role is the one setting that RESET ALL leaves alone
	}
	var values []string
	for _, a := range s.Args {
		v, _ := constant(a)
		values = append(values, v)
	}
	reset := s.Kind == pganalyze.VariableSetKind_VAR_RESET || s.Kind == pganalyze.VariableSetKind_VAR_SET_DEFAULT
	l.setting(strings.ToLower(s.Name), strings.Join(values, ","), reset)
}

// setting folds one setting.
func (l *linter) setting(setting, to string, reset bool) {
	here := l.here
	switch setting {
	case "role", "session_authorization":
		if reset || strings.EqualFold(to, "none") {
			l.role = nil
		} else {
			l.role = &here
		}
	case "search_path":
		if reset {
			l.path = "public"
		} else {
			first, _, _ := strings.Cut(to, ",")
			l.path = strings.Trim(strings.TrimSpace(first), `"`)
		}
	case "lock_timeout":
		wait, ok := duration(to)
		switch {
		case reset:
			l.limits, l.limitsAs = &here, "the server's default (none)"
		case ok && (wait == 0 || wait > longestWait):
			l.limits, l.limitsAs = &here, to
		default:
			l.limits = nil
		}
	}
}

// settings follows set_config calls in a SELECT's list.
func (l *linter) settings(s *pganalyze.SelectStmt) {
	for _, target := range s.TargetList {
		call := target.GetResTarget().GetVal().GetFuncCall()
		parts := texts(call.GetFuncname())
		if len(parts) == 0 || parts[len(parts)-1] != "set_config" || len(call.Args) < 2 {
			continue
		}
		setting, ok := constant(call.Args[0])
		to, known := constant(call.Args[1])
		if ok && known {
			// pg_dump empties the search_path that way; names are qualified then.
			l.setting(strings.ToLower(setting), to, false)
		}
	}
}

// duration reads a time setting as PostgreSQL does: milliseconds when it has no unit.
func duration(text string) (time.Duration, bool) {
	text = strings.TrimSpace(text)
	digits := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyz ")
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		return 0, false
	}
	unit, ok := map[string]time.Duration{"": time.Millisecond, "us": time.Microsecond, "ms": time.Millisecond, "s": time.Second, "min": time.Minute, "h": time.Hour, "d": 24 * time.Hour}[strings.TrimSpace(text[len(digits):])]
	return time.Duration(n * float64(unit)), ok
}

// block reads a DO block: its statements as if all of them ran, in order.
func (l *linter) block(s *pganalyze.DoStmt) {
	language, code := "plpgsql", ""
	var at int32
	for _, a := range s.Args {
		d := a.GetDefElem()
		switch d.GetDefname() {
		case "language":
			language, _ = constant(d.Arg)
		case "as":
			code, _ = constant(d.Arg)
			at = d.Location
		}
	}
	if language != "plpgsql" {
		l.unseen(fmt.Sprintf("this block is in %s", language))
		return
	}
	// The code as it stands in the file, when nothing in it is escaped.
	text := l.source.file.SQL
	start := -1
	if !l.quoted && l.base+int(at) <= len(text) {
		if i := strings.Index(text[l.base+int(at):], code); i >= 0 {
			start = l.base + int(at) + i
		}
	}
	pieces, err := queries(code)
	if err != nil {
		l.unseen("PL/pgSQL's grammar does not take this block (" + err.Error() + ")")
		return
	}
	base, quoted, here := l.base, l.quoted, l.here
	next := 0
	for _, p := range pieces {
		l.base, l.quoted, l.here = base, true, here
		if i := strings.Index(code[min(next, len(code)):], p.sql); start >= 0 && i >= 0 && p.sql != "" {
			l.base, l.quoted = start+next+i, false
			l.here.offset = l.base
			next += i + len(p.sql)
		}
		l.piece(p)
	}
	l.base, l.quoted, l.here = base, quoted, here
}

// piece judges one statement of a DO block.
func (l *linter) piece(p piece) {
	switch p.kind {
	case commits:
		l.report(l.here, "transaction.control", "a block can't end the transaction that it runs in: all pending migrations and the gate are one", "take the COMMIT or ROLLBACK out")
		return
	case dynamic:
		tree, err := parse("select " + p.sql)
		if err != nil {
			return
		}
		text, ok := constant(tree[0].GetSelectStmt().GetTargetList()[0].GetResTarget().GetVal())
		if !ok {
			l.unseen("EXECUTE builds its statement from parts")
			return
		}
		l.quoted = true
		p.sql = text
	case performs:
		// The grammar writes SELECT where the file has PERFORM.
		l.quoted = true
	}
	tree, err := parse(p.sql)
	if err != nil {
		return // an expression, or text that only runs when it is reached
	}
	for _, node := range tree {
		l.statement(node)
	}
}

// unseen reports what only the gate can judge.
func (l *linter) unseen(why string) {
	if !slices.ContainsFunc(l.findings, func(f Finding) bool {
		return f.Rule == "unseen.dynamic" && f.Path == l.source.file.Path && f.statement == l.here.statement
	}) {
		l.report(l.here, "unseen.dynamic", why+": what it does can't be seen before it runs", "-- write the statements out where they are few; the gate judges what they leave behind")
	}
}
