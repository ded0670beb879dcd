package migrate

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

var digits = regexp.MustCompile(`^[0-9]+$`)

// Repair corrects the history alone; no migration runs. As "applied", versions
// are recorded with what their files hold now, also those that are recorded
// already; as "reverted" (applied false) their records are taken out. What an
// interrupted run has noted about them is forgotten. These are the Supabase
// CLI's words (internal/migration/repair); it fails on a version that is
// recorded already.
func Repair(ctx context.Context, conn *pgx.Conn, files []File, versions []string, applied bool) error {
	if len(versions) == 0 {
		return fmt.Errorf("repair the migration history: no versions are given (%s)", untouched)
	}
	var entries []File
	var parsed [][]statement
	for _, version := range versions {
		if !digits.MatchString(version) {
			return fmt.Errorf("repair the migration history: %q is not a version: those are the digits that a file's name starts with (%s)", version, untouched)
		}
		if !applied {
			continue
		}
		i := slices.IndexFunc(files, func(f File) bool { return f.Version == version })
		if i < 0 {
			return fmt.Errorf("repair the migration history: the folder holds no file of version %s to record (%s)", version, untouched)
		}
		statements, err := files[i].split()
		if err != nil {
			return err
		}
		entries, parsed = append(entries, files[i]), append(parsed, statements)
	}
	return locked(ctx, conn, func() error {
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if _, err := conn.PgConn().Exec(ctx, strings.Join([]string{"set local lock_timeout = '4s'", createHistory, createProgress}, ";\n")).ReadAll(); err != nil {
				return err
			}
			if !applied {
				if _, err := tx.Exec(ctx, "delete from supabase_migrations.schema_migrations where version = any ($1)", pgx.QueryExecModeExec, versions); err != nil {
					return err
				}
			}
			for i, f := range entries {
				if _, err := tx.Exec(ctx, insertHistory+" on conflict (version) do update set name = excluded.name, statements = excluded.statements", pgx.QueryExecModeExec, f.Version, f.Name, f.record(parsed[i])); err != nil {
					return err
				}
			}
			_, err := tx.Exec(ctx, "delete from supabase_migrations.holdfast_progress where version = any ($1)", pgx.QueryExecModeExec, versions)
			return err
		})
		if err != nil {
			return fmt.Errorf("repair the migration history: %w", err)
		}
		return nil
	})
}
