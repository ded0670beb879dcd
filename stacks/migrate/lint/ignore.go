package lint

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	pganalyze "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"

	"holdfast/stacks/migrate"
)

// marker starts a directive: "-- holdfast:ignore RULE reason" before a statement,
// inside it or behind it on its last line; "-- holdfast:ignore-file RULE reason"
// before the first statement, for the whole file.
const marker = "holdfast:ignore"

// A directive accepts the findings of one rule.
type directive struct {
	rule, reason string
	statement    int // that it is about; wholeFile or none
	line, column int
	used         bool
	wrong        string // why it has no effect; "" when it may
}

const (
	wholeFile = -2
	none      = -1
)

var directivePattern = regexp.MustCompile(`^holdfast:ignore(-file)?(?:[ \t]+(\S+))?(?:[ \t]+(.*))?$`)

// unignorable are the rules whose findings no comment makes true: the file can't
// be applied, or the directive itself is wrong.
var unignorable = []string{"syntax", "transaction.control", "ignore.invalid", "ignore.unused"}

// directives finds those of a file. Only what PostgreSQL takes as a comment counts.
func directives(file migrate.File, statements []migrate.Statement, lines lines) []*directive {
	if !strings.Contains(file.SQL, marker) {
		return nil
	}
	tokens, err := guarded(pgquery.Scan, file.SQL)
	if err != nil {
		return nil // the file has a syntax error, which is a finding already
	}
	var list []*directive
	for _, token := range tokens.Tokens {
		if token.Token != pganalyze.Token_SQL_COMMENT && token.Token != pganalyze.Token_C_COMMENT {
			continue
		}
		start := int(token.Start)
		text := strings.Trim(strings.TrimSuffix(file.SQL[start:token.End], "*/"), "-/* \t\r\n")
		match := directivePattern.FindStringSubmatch(text)
		if match == nil {
			continue
		}
		d := &directive{rule: match[2], reason: strings.TrimSpace(match[3]), statement: nearest(file, statements, start)}
		d.line, d.column = lines.position(start)
		if match[1] != "" {
			if len(statements) > 0 && start > statements[0].Offset {
				d.wrong = "it is about the whole file and has to stand before the first statement"
			}
			d.statement = wholeFile
		}
		_, known := Lookup(d.rule)
		switch {
		case d.rule == "":
			d.wrong = "it names no rule"
		case !known:
			d.wrong = fmt.Sprintf("there is no rule %q", d.rule)
		case slices.Contains(unignorable, d.rule):
			d.wrong = "findings of " + d.rule + " can't be accepted: the migration would fail all the same"
		case d.reason == "":
			d.wrong = "it gives no reason"
		}
		list = append(list, d)
	}
	return list
}

// nearest returns the statement that a comment at offset belongs to: the one it
// is in or behind on the same line, otherwise the next.
func nearest(file migrate.File, statements []migrate.Statement, offset int) int {
	for i, s := range statements {
		end := s.Offset + len(s.SQL)
		if offset < end {
			return i
		}
		if !strings.Contains(file.SQL[end:offset], "\n") && (i+1 == len(statements) || statements[i+1].Offset > offset) {
			return i
		}
	}
	return none
}

// accept returns the reason for which a file accepts a finding; "" when it does not.
func accept(list []*directive, f Finding) string {
	reason := ""
	for _, d := range list {
		if d.wrong == "" && d.rule == f.Rule && (d.statement == wholeFile || d.statement == f.statement && f.statement >= 0) {
			d.used = true
			reason = d.reason
		}
	}
	return reason
}

// complaints are the findings about directives themselves.
func complaints(file migrate.File, list []*directive) []Finding {
	var found []Finding
	for _, d := range list {
		f := Finding{Path: file.Path, version: file.Version, Line: d.line, Column: d.column, statement: none}
		switch {
		case d.wrong != "":
			f.Rule, f.Message = "ignore.invalid", "this holdfast:ignore has no effect: "+d.wrong
			f.Fix = "-- " + marker + " <rule> <why it is fine here>"
		case !d.used:
			f.Rule, f.Message = "ignore.unused", fmt.Sprintf("nothing here breaks %s: the comment is of no use", d.rule)
			f.Fix = "take the comment out"
		default:
			continue
		}
		rule, _ := Lookup(f.Rule)
		f.Severity = rule.Severity
		found = append(found, f)
	}
	return found
}
