package stacks

import (
	"slices"
	"strconv"
	"strings"
)

// A database is a stack's PostgreSQL.
type database struct {
	stack, service string
	volume         string // with the data folder at its root
	user           string // a superuser
	key            string // the volume with the vault's root key; "" for none
}

var databases = []database{
	{stack: "supabase", service: "db", volume: "supabase_db-data", user: "supabase_admin", key: "supabase_db-config"},
	{stack: "trigger", service: "postgres", volume: "trigger_postgres", user: "postgres"},
}

// replacesDatabase reports whether the environment names another image for the
// stack's database than the set has.
func (s stack) replacesDatabase() bool {
	return slices.ContainsFunc(databases, func(d database) bool { return d.stack == s.name && s.images[d.service] != "" })
}

// databaseVolumes are the volumes of all databases, as words of a shell.
func databaseVolumes() string {
	var names []string
	for _, d := range databases {
		names = append(names, d.volume)
	}
	return strings.Join(names, " ")
}

// parseVolumes reads lines of a volume and the PG_VERSION in it, and returns the
// major versions by stack.
func parseVolumes(text string) map[string]int {
	majors := map[string]int{}
	for _, line := range lines(text) {
		volume, version, _ := strings.Cut(line, " ")
		for _, d := range databases {
			if major, err := strconv.Atoi(version); err == nil && d.volume == volume {
				majors[d.stack] = major
			}
		}
	}
	return majors
}

// A MajorMismatch is a stack whose release runs another major version of PostgreSQL
// than its data is of: the server of one refuses the files of the other.
type MajorMismatch struct {
	Stack, Set  string
	Data, Needs int // major versions
}

// MajorMismatches compares a release with the data on a server. A stack without
// data yet, and one whose database is not the set's, fits.
func MajorMismatches(c Contents, state State) []MajorMismatch {
	var found []MajorMismatch
	for _, d := range databases {
		set := c.Sets[d.stack]
		if data := state.PostgreSQL[d.stack]; data != 0 && set.PostgreSQL != 0 && data != set.PostgreSQL {
			found = append(found, MajorMismatch{Stack: d.stack, Set: set.Name, Data: data, Needs: set.PostgreSQL})
		}
	}
	return found
}
