package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A Status compares a folder of migrations with what a database has recorded.
type Status struct {
	Applied    []File   // recorded by the database
	Pending    []File   // not recorded, in the order they would be applied
	OutOfOrder []File   // those of Pending that are older than the newest recorded
	Changed    []File   // those of Applied whose text is no longer what was recorded
	RemoteOnly []string // recorded versions that the folder does not hold
	Partial    []string // versions an interrupted run has begun: those of Pending, or that the folder does not hold

	progress []progress
	history  []entry
}

// ReadStatus compares files with the database's history. conn must not be in a transaction.
func ReadStatus(ctx context.Context, conn *pgx.Conn, files []File) (Status, error) {
	history, err := readHistory(ctx, conn)
	if err != nil {
		return Status{}, err
	}
	status := compare(files, history)
	if history == nil {
		return status, nil
	}
	if status.progress, err = readProgress(ctx, conn); err != nil {
		return Status{}, err
	}
	for _, p := range status.progress {
		status.Partial = append(status.Partial, p.Version)
	}
	return status, nil
}

// partial returns how far an interrupted run has come with a version.
func (s Status) partial(version string) (progress, bool) {
	for _, p := range s.progress {
		if p.Version == version {
			return p, true
		}
	}
	return progress{}, false
}

// An entry is one row of the history.
type entry struct {
	Version    string   `json:"version"`
	Statements []string `json:"statements"` // nil when not recorded
}

// readHistory returns what the database has recorded, nil when it has no table
// for it. A row is read as JSON
// because its columns differ: old releases of the CLI had only version, hosted
// projects have more.
func readHistory(ctx context.Context, conn *pgx.Conn) ([]entry, error) {
	rows, err := conn.Query(ctx, `select to_jsonb(m) from supabase_migrations.schema_migrations m`, pgx.QueryExecModeExec)
	if err != nil {
		return nil, fmt.Errorf("read the migration history: %w", err)
	}
	history, err := pgx.CollectRows(rows, pgx.RowTo[entry])
	var pg *pgconn.PgError
	if errors.As(err, &pg) && (pg.Code == "42P01" || pg.Code == "3F000") { // undefined_table, invalid_schema_name
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the migration history: %w", err)
	}
	if history == nil {
		history = []entry{} // there is a table, and it is empty
	}
	return history, nil
}

// compare is the pending logic of the CLI (pkg/migration, FindPendingMigrations):
// versions are compared as text.
func compare(files []File, history []entry) Status {
	recorded := make(map[string]entry, len(history))
	newest := ""
	for _, e := range history {
		recorded[e.Version] = e
		newest = max(newest, e.Version)
	}
	s := Status{history: history}
	for _, f := range files {
		e, ok := recorded[f.Version]
		delete(recorded, f.Version)
		switch {
		case !ok:
			s.Pending = append(s.Pending, f)
			if f.Version < newest {
				s.OutOfOrder = append(s.OutOfOrder, f)
			}
		default:
			s.Applied = append(s.Applied, f)
			if e.Statements != nil && !sameText(e.Statements, f.SQL) {
				s.Changed = append(s.Changed, f)
			}
		}
	}
	for version := range recorded {
		s.RemoteOnly = append(s.RemoteOnly, version)
	}
	slices.Sort(s.RemoteOnly)
	return s
}

// check says why the pending migrations must not be applied; nil when they may.
func (s Status) check(includeAll bool) error {
	if len(s.RemoteOnly) > 0 {
		return fmt.Errorf("the database has applied migrations that the folder does not hold: %s (bring the files back, or run \"holdfast migrate repair --status reverted %s\"; %s)",
			strings.Join(s.RemoteOnly, ", "), strings.Join(s.RemoteOnly, " "), untouched)
	}
	for _, version := range s.Partial {
		if !slices.ContainsFunc(s.Pending, func(f File) bool { return f.Version == version }) {
			return fmt.Errorf("an interrupted run has begun migration %s, which the folder does not hold: bring the file back, or take back by hand what it did and run \"holdfast migrate repair --status reverted %s\" (%s)", version, version, untouched)
		}
	}
	if len(s.OutOfOrder) > 0 && !includeAll {
		var paths []string
		for _, f := range s.OutOfOrder {
			paths = append(paths, f.Path)
		}
		return fmt.Errorf("older than the newest applied migration: %s (give them a later version, or apply them all the same with --include-all; %s)", strings.Join(paths, ", "), untouched)
	}
	return nil
}
