package lint

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	pganalyze "github.com/pganalyze/pg_query_go/v6"

	"holdfast/stacks/migrate"
)

// A linter folds files and collects findings.
type linter struct {
	options  Options
	pending  map[string]bool // options.Pending
	schema   *schema
	findings []Finding
	sources  []*source

	source *source // the file being read
	path   string  // the schema that unqualified names go to
	here   place   // of the statement being read
	// base is added to the locations of the nodes being read: those inside a DO
	// block are relative to it. Negative: they have no place of their own.
	base int
	// quoting is set while reading what is not in the file as it stands.
	quoted bool

	role     *place // of the SET ROLE that is in force
	limits   *place // of the SET that took the lock timeout away
	limitsAs string // what it was set to
	limitHit bool   // it was reported
}

// A source is one file, read.
type source struct {
	index      int
	file       migrate.File
	lines      lines
	statements []migrate.Statement
	directives []*directive
}

// A reading is what the grammar makes of a file.
type reading struct {
	file       migrate.File
	statements []migrate.Statement
	err        error
}

// parsed reads files one after another, some ahead of who takes them: most of
// the time is the grammar's.
func parsed(files []migrate.File) <-chan reading {
	readings := make(chan reading, 4)
	go func() {
		defer close(readings)
		for _, file := range files {
			grammar.Lock()
			statements, err := file.Statements()
			grammar.Unlock()
			readings <- reading{file, statements, err}
		}
	}()
	return readings
}

// read folds one file.
func (l *linter) read(index int, r reading) {
	file, statements, err := r.file, r.statements, r.err
	s := &source{index: index, file: file, lines: newLines(file.SQL)}
	l.source, l.path = s, "public" // each file starts with the session's settings
	l.role, l.limits, l.limitHit = nil, nil, false
	l.sources = append(l.sources, s)
	l.here = place{file: index, statement: none}

	if err != nil {
		l.unreadable(err)
		s.directives = directives(file, nil, s.lines)
		l.secrets()
		return
	}
	s.statements = statements
	s.directives = directives(file, statements, s.lines)
	l.secrets()
	for i, statement := range statements {
		l.here, l.base, l.quoted = place{file: index, statement: i, offset: statement.Offset}, 0, false
		l.runnable(statement)
		l.statement(statement.Node)
	}
	s.statements = nil // a tree is a hundred times its text
	if l.role != nil {
		l.report(*l.role, "session.role", "the role stays what it was set to here: whatever comes after this in the session runs as it", "reset role;")
	}
}

// unreadable reports what the grammar does not take.
func (l *linter) unreadable(err error) {
	at := Finding{Path: l.source.file.Path, Line: 1, Column: 1, Message: err.Error()}
	var syntax *migrate.Error
	if errors.As(err, &syntax) {
		at.Line, at.Column, at.Message, at.Fix = max(syntax.Line, 1), max(syntax.Column, 1), syntax.Message, syntax.Hint
	}
	l.add("syntax", at)
}

// runnable reports what migrate.Up would refuse, or run outside of the transaction.
func (l *linter) runnable(s migrate.Statement) {
	if message, hint := s.Refused(); message != "" {
		rule := "transaction.control"
		if s.Node.GetCopyStmt() != nil {
			rule = "syntax"
		}
		l.report(l.here, rule, message, hint)
		return
	}
	if what := s.Alone(); what != "" && len(l.source.statements) > 1 {
		l.report(l.here, "transaction.alone", what+" can't be part of a transaction, so what this file does before it stays when it fails",
			"move it to a migration of its own: holdfast migrate new <name>")
	}
}

// order reports versions whose order as numbers is not the order they are applied in.
func (l *linter) order(files []migrate.File) {
	for i := 1; i < len(files); i++ {
		a, b := strings.TrimLeft(files[i-1].Version, "0"), strings.TrimLeft(files[i].Version, "0")
		if len(a) > len(b) || len(a) == len(b) && a > b {
			l.source = l.sources[i]
			l.report(place{file: i, statement: none}, "file.order", fmt.Sprintf("it is applied after %s: versions are compared as text, and this number is the smaller one", files[i-1].Path),
				fmt.Sprintf("mv %s %s", files[i].Path, strings.Replace(files[i].Path, files[i].Version+"_", "<YYYYMMDDHHMMSS>_", 1)))
		}
	}
}

// at is the place of a node of the statement being read.
func (l *linter) at(location int32) place {
	p := l.here
	if location > 0 && !l.quoted {
		p.offset = l.base + int(location)
	}
	return p
}

// report adds a finding at a place.
func (l *linter) report(at place, rule, message, fix string) {
	s := l.sources[at.file]
	f := Finding{Path: s.file.Path, Message: message, Fix: fix, version: s.file.Version, statement: at.statement}
	f.Line, f.Column = s.lines.position(at.offset)
	l.add(rule, f)
}

func (l *linter) add(rule string, f Finding) {
	r, ok := Lookup(rule)
	if !ok {
		panic("lint: no rule " + rule) // a mistake in this package; its tests would see it
	}
	f.Rule, f.Severity = r.ID, r.Severity
	if f.version == "" {
		f.version, f.statement = l.source.file.Version, none
	}
	l.findings = append(l.findings, f)
}

func itoa(n int32) string { return strconv.Itoa(int(n)) }

func boolean(b bool) string { return strconv.FormatBool(b) }

// roleName is a role as SQL names it; "public" for everyone.
func roleName(node *pganalyze.Node) string {
	r := node.GetRoleSpec()
	switch r.GetRoletype() {
	case pganalyze.RoleSpecType_ROLESPEC_PUBLIC:
		return "public"
	case pganalyze.RoleSpecType_ROLESPEC_CSTRING:
		return r.Rolename
	}
	return "current_user"
}
