package migrate

import (
	"slices"
	"strings"

	"github.com/aymanbagabas/go-udiff"
)

// Diff compares what the database has recorded of a migration with its file, as
// a unified diff from the record to the file; "" when they say the same, or when
// nothing was recorded to compare with. A version that the folder does not hold
// is all removed.
func (s Status) Diff(version string) string {
	i := slices.IndexFunc(s.history, func(e entry) bool { return e.Version == version })
	if i < 0 || s.history[i].Statements == nil {
		return ""
	}
	var file File
	var text string
	for _, f := range s.Applied {
		if f.Version == version {
			file, text = f, f.SQL
		}
	}
	if sameText(s.history[i].Statements, text) {
		return ""
	}
	label := file.Path
	if statements, err := file.split(); err == nil && file.Path != "" {
		text = joined(file.record(statements)) // cut and joined like the record
	}
	if label == "" {
		label = version + " (not in the folder)"
	}
	return udiff.Unified("applied/"+version, label, joined(s.history[i].Statements), text)
}

// joined makes one text of recorded statements, as "supabase migration fetch" does.
func joined(statements []string) string {
	if len(statements) == 0 {
		return ""
	}
	return strings.Join(statements, ";\n") + ";\n"
}
