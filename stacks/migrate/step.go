package migrate

import (
	"fmt"

	pganalyze "github.com/pganalyze/pg_query_go/v6"
)

// A step is what is done at once: one transaction, or one statement alone.
type step struct {
	parts []part
	alone bool // one part of one statement, outside of a transaction
}

// A part is a run of a file's statements.
type part struct {
	file      File
	all       []statement // of the whole file
	from, to  int         // those of this part: all[from:to]
	resumed   bool        // an earlier run has begun this file
	doubtful  bool        // all[from] runs alone, and an interrupted run may have done so
	skipAlone bool        // leave out what can't be rehearsed in a transaction
	hash      string      // of a seed file; empty: it is a migration
}

// last reports whether the file is complete with this part.
func (p part) last() bool { return p.to == len(p.all) }

// statements are those to run.
func (p part) statements() []statement {
	if !p.skipAlone {
		return p.all[p.from:p.to]
	}
	var list []statement
	for _, s := range p.all[p.from:p.to] {
		if standsAlone(s.node) == "" {
			list = append(list, s)
		}
	}
	return list
}

// settings are the file's own SET statements before this part, which a new
// transaction has forgotten.
func (p part) settings() []string {
	var list []string
	for _, s := range p.all[:p.from] {
		if _, ok := s.node.Node.(*pganalyze.Node_VariableSetStmt); ok {
			list = append(list, s.sql)
		}
	}
	return list
}

// files are the files of a step, in order.
func (s step) files() []File {
	var files []File
	for _, p := range s.parts {
		files = append(files, p.file)
	}
	return files
}

// steps splits the pending work. All of it is one transaction, but for the
// statements that PostgreSQL refuses there: each of those runs alone, behind a
// transaction that records that it comes next and before one that goes on. So
// the gate is asked before and after it, and a crash at any point leaves a
// record of where to go on. With enums, new enum values are added that way too.
func steps(work []part, enums bool) []step {
	var list []step
	var current step
	for _, p := range work {
		from := p.from
		for i := p.from; i < len(p.all); i++ {
			node := p.all[i].node
			if standsAlone(node) == "" && !(enums && addsEnumValue(node)) {
				continue
			}
			before, by := p, p
			before.from, before.to = from, i
			by.from, by.to = i, i+1
			before.doubtful, by.doubtful = false, p.doubtful && i == p.from
			// The record of a doubtful one says already that it comes next.
			if !by.doubtful || len(current.parts) > 0 {
				current.parts = append(current.parts, before)
				list = append(list, current)
			}
			list = append(list, step{alone: true, parts: []part{by}})
			current, from = step{}, i+1
		}
		rest := p
		rest.from, rest.to, rest.doubtful = from, len(p.all), false
		current.parts = append(current.parts, rest)
	}
	return append(list, current)
}

// addsEnumValue reports whether a statement adds a value to an enum: it may run
// in a transaction, but the value can be used only when that is committed.
func addsEnumValue(node *pganalyze.Node) bool {
	s := node.GetAlterEnumStmt()
	return s != nil && s.NewVal != "" && s.OldVal == ""
}

func (p part) addsEnumValue() bool {
	for _, s := range p.all[p.from:] {
		if addsEnumValue(s.node) {
			return true
		}
	}
	return false
}

// resume moves the start of a file to where an earlier run was interrupted.
func (p *part) resume(at progress) error {
	if at.Statement < 1 || at.Statement > len(p.all) || p.checksum(at.Statement) != at.Checksum {
		return fmt.Errorf("%s: its first %d statements are in the database, and they were changed since: put them back as they were, or take back by hand what they did and run \"holdfast migrate repair --status reverted %s\" (%s)",
			p.file.Path, at.Statement, p.file.Version, untouched)
	}
	p.resumed, p.doubtful, p.from = true, !at.Done, at.Statement-1
	if at.Done {
		p.from = at.Statement
	}
	return nil
}
