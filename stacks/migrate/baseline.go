package migrate

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"holdfast/templates"
)

// A Baseline is Holdfast's own migrations and what they are told. They prepare
// the database: the auditor role, default privileges, the event trigger that
// keeps new tables under row level security. Each can run any number of times;
// it runs again when its text or a parameter it reads has changed.
type Baseline struct {
	// Schemas are exposed through the API (PGRST_DB_SCHEMAS).
	Schemas []string
	// AuditorPassword is set for the role holdfast_auditor; printable ASCII. The
	// server only ever sees its SCRAM verifier.
	AuditorPassword string
	// Scripts holds <version>_<name>.sql files. Nil: those that ship with Holdfast.
	Scripts fs.FS
}

// The parameters that scripts read with current_setting.
const (
	schemasParameter  = "holdfast.exposed_schemas"
	verifierParameter = "holdfast.auditor_verifier"
)

// A script is one of Holdfast's own migrations.
type script struct {
	version, name, sql string
	checksum           string // of its text and the parameters it reads
}

// Checksums returns version → checksum of the scripts as they would be applied:
// a database whose holdfast.migrations holds the same has nothing to do.
func (b Baseline) Checksums() (map[string]string, error) {
	scripts, err := b.read()
	if err != nil {
		return nil, err
	}
	sums := make(map[string]string, len(scripts))
	for _, s := range scripts {
		sums[s.version] = s.checksum
	}
	return sums, nil
}

func (b Baseline) read() ([]script, error) {
	if len(b.Schemas) == 0 {
		return nil, errors.New("apply the baseline migrations: no exposed schemas are given")
	}
	// Sorted, so that the order in holdfast.yml does not matter.
	schemas := strings.Join(slices.Sorted(slices.Values(b.Schemas)), ",")
	// A slow hash, since whoever reads the history could try passwords on it.
	password, err := pbkdf2.Key(sha256.New, b.AuditorPassword, []byte(verifierParameter), scramIterations, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("apply the baseline migrations: %w", err)
	}
	if b.Scripts == nil {
		if b.Scripts, err = fs.Sub(templates.FS, "migrations"); err != nil {
			return nil, fmt.Errorf("read the baseline migrations: %w", err)
		}
	}
	names, err := fs.Glob(b.Scripts, "*.sql")
	if err != nil {
		return nil, fmt.Errorf("read the baseline migrations: %w", err)
	}
	var scripts []script
	for _, name := range names { // sorted
		content, err := fs.ReadFile(b.Scripts, name)
		if err != nil {
			return nil, fmt.Errorf("read the baseline migrations: %w", err)
		}
		match := fileName.FindStringSubmatch(path.Base(name))
		if match == nil {
			return nil, fmt.Errorf("read the baseline migrations: %s is not named <digits>_<name>.sql", name)
		}
		s := script{version: match[1], name: match[2], sql: string(content)}
		sum := sha256.New()
		sum.Write(content)
		if strings.Contains(s.sql, schemasParameter) {
			fmt.Fprintf(sum, "\x00%s", schemas)
		}
		if strings.Contains(s.sql, verifierParameter) {
			fmt.Fprintf(sum, "\x00%x", password)
		}
		s.checksum = hex.EncodeToString(sum.Sum(nil))
		scripts = append(scripts, s)
	}
	return scripts, nil
}

const createOwnHistory = `
create schema if not exists holdfast;
create table if not exists holdfast.migrations (
	version text primary key,
	name text not null,
	checksum text not null,
	applied_at timestamptz not null default now()
);`

// Up applies what is new or changed, in one transaction, and returns the
// applied scripts as "<version>_<name>". conn must be a direct connection as the
// superuser "supabase_admin": event triggers and roles that log in need one.
func (b Baseline) Up(ctx context.Context, conn *pgx.Conn) (applied []string, err error) {
	scripts, err := b.read()
	if err != nil {
		return nil, err
	}
	verifier, err := ScramVerifier(b.AuditorPassword)
	if err != nil {
		return nil, fmt.Errorf("apply the baseline migrations: %w", err)
	}
	err = locked(ctx, conn, func() error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if _, err := conn.PgConn().Exec(ctx, "set local lock_timeout = '10s'; set local statement_timeout = '1min'; set local holdfast.migration = 'on';"+createOwnHistory).ReadAll(); err != nil {
				return fmt.Errorf("apply the baseline migrations: prepare their history: %w", err)
			}
			done, err := ownHistory(ctx, tx)
			if err != nil {
				return err
			}
			for _, s := range scripts {
				if done[s.version] == s.checksum {
					continue
				}
				if err := b.run(ctx, conn, tx, s, verifier); err != nil {
					return err
				}
				applied = append(applied, s.version+"_"+s.name)
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return applied, nil
}

func ownHistory(ctx context.Context, tx pgx.Tx) (map[string]string, error) {
	rows, err := tx.Query(ctx, "select version, checksum from holdfast.migrations", pgx.QueryExecModeExec)
	if err != nil {
		return nil, fmt.Errorf("read the history of the baseline migrations: %w", err)
	}
	done := map[string]string{}
	var version, checksum string
	_, err = pgx.ForEachRow(rows, []any{&version, &checksum}, func() error {
		done[version] = checksum
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the history of the baseline migrations: %w", err)
	}
	return done, nil
}

func (b Baseline) run(ctx context.Context, conn *pgx.Conn, tx pgx.Tx, s script, verifier string) error {
	failed := func(err error) error {
		var pg *pgconn.PgError
		if errors.As(err, &pg) {
			// Never the statement: it may hold the verifier.
			return fmt.Errorf("baseline migration %s_%s: %s (%s; nothing of the baseline migrations was kept)", s.version, s.name, pg.Message, pg.Code)
		}
		return fmt.Errorf("baseline migration %s_%s: %w (nothing of the baseline migrations was kept)", s.version, s.name, err)
	}
	_, err := tx.Exec(ctx, "select set_config($1, $2, true), set_config($3, $4, true)", pgx.QueryExecModeExec,
		schemasParameter, strings.Join(b.Schemas, ","), verifierParameter, verifier)
	if err != nil {
		return failed(err)
	}
	if _, err := conn.PgConn().Exec(ctx, s.sql).ReadAll(); err != nil {
		return failed(err)
	}
	_, err = tx.Exec(ctx, `insert into holdfast.migrations (version, name, checksum) values ($1, $2, $3)
		on conflict (version) do update set name = excluded.name, checksum = excluded.checksum, applied_at = now()`,
		pgx.QueryExecModeExec, s.version, s.name, s.checksum)
	if err != nil {
		return failed(err)
	}
	return nil
}
