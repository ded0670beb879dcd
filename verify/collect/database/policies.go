package database

import (
	"regexp"
	"slices"
	"strings"

	"holdfast/verify"
)

var (
	caller        = regexp.MustCompile(`\b(auth\.\w+|current_setting)\(`)
	callerMissing = regexp.MustCompile(`\bauth\.(uid|jwt|role)\(\)(?: AS \w+\))?\)* IS NULL`)
	sameConstants = regexp.MustCompile(`^('[^']*'(?:::\w+)?|\d+|true) = ('[^']*'(?:::\w+)?|\d+|true)$`)
)

// judge works out what a policy's text says. The text is PostgreSQL's own
// printing of the parsed expression, so its form is regular; what it computes is
// not known, and rules on these fields warn.
func judge(p *verify.Policy, table *verify.Table) {
	checked := p.Check
	if checked == "" && p.Command != "insert" {
		checked = p.Using // PostgreSQL's own fallback
	}
	p.UsingTrue = alwaysTrue(p.Using)
	p.CheckTrue = p.Command != "select" && p.Command != "delete" && alwaysTrue(checked)
	open := slices.Contains(p.Roles, "public") || slices.Contains(p.Roles, "anon")
	text := p.Using + " " + p.Check
	p.AnonymousOK = open && strings.Contains(text, " OR ") && callerMissing.MatchString(text)
	p.PerRow = caller.MatchString(withoutInitPlans(p.Using)) || caller.MatchString(withoutInitPlans(p.Check))
	p.LostColumns = []string{}
	if p.Using == "" || p.Check == "" || p.CheckTrue || p.Command != "all" && p.Command != "update" {
		return
	}
	if table == nil {
		return
	}
	for _, c := range table.Columns {
		if comparesCaller(p.Using, c.Name) && !mentions(p.Check, c.Name) {
			p.LostColumns = append(p.LostColumns, c.Name)
		}
	}
}

// alwaysTrue reports whether an expression is the constant true or compares a
// constant with itself. Other tautologies only a live probe shows.
func alwaysTrue(expr string) bool {
	for strings.HasPrefix(expr, "(") && strings.HasSuffix(expr, ")") && closing(expr, 0) == len(expr)-1 {
		expr = strings.TrimSpace(expr[1 : len(expr)-1])
	}
	if expr == "true" {
		return true
	}
	m := sameConstants.FindStringSubmatch(expr)
	return m != nil && m[1] == m[2]
}

// withoutInitPlans takes out the sub-selects without a FROM: PostgreSQL computes
// such a one once for a query.
func withoutInitPlans(expr string) string {
	const start = "( SELECT "
	for from := 0; ; {
		at := strings.Index(expr[from:], start)
		if at < 0 {
			return expr
		}
		at += from
		end := closing(expr, at)
		if end < 0 {
			return expr
		}
		if inner := expr[at : end+1]; strings.Contains(inner, "\n") || strings.Contains(inner, " FROM ") {
			from = at + len(start)
			continue
		}
		expr = expr[:at] + expr[end+1:]
		from = at
	}
}

// closing returns the index of the parenthesis that closes the one at open, or
// -1. Quoted text is skipped.
func closing(expr string, open int) int {
	depth, quote := 0, byte(0)
	for i := open; i < len(expr); i++ {
		switch c := expr[i]; {
		case quote != 0:
			if c == quote {
				quote = 0 // a doubled quote opens again at once
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// comparesCaller reports whether expr compares the column with who is asking.
func comparesCaller(expr, column string) bool {
	name := `"?` + regexp.QuoteMeta(column) + `"?(?:\)*::\w+)?`
	who := `\(*\s*(?:SELECT\s+)?\(*auth\.`
	whoBefore := `auth\.\w+\(\)(?:\)*::\w+)?(?: AS \w+)?\)*(?:::\w+)?`
	found, err := regexp.MatchString(`(?:^|[^\w."])`+name+`\)* = `+who+`|`+whoBefore+` = \(*`+name+`(?:$|[^\w"])`, expr)
	return err == nil && found
}

func mentions(expr, column string) bool {
	found, err := regexp.MatchString(`(?:^|[^\w"])"?`+regexp.QuoteMeta(column)+`"?(?:$|[^\w"])`, expr)
	return err == nil && found
}
