package migrate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/BurntSushi/toml"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// A Seed is a file of data that a database is given once.
type Seed struct {
	File
	Hash string // SHA-256 of its bytes, in hex
}

// ReadSeeds returns the seed files that config.toml in folder dir of fsys names,
// in order: [db.seed] sql_paths, patterns relative to dir, by default seed.sql.
// None when seeding is not enabled there, or when there is no config.toml.
func ReadSeeds(fsys fs.FS, dir string) ([]Seed, error) {
	var config struct {
		DB struct {
			Seed struct {
				Enabled *bool    `toml:"enabled"`
				Paths   []string `toml:"sql_paths"`
			} `toml:"seed"`
		} `toml:"db"`
	}
	name := path.Join(dir, "config.toml")
	if _, err := toml.DecodeFS(fsys, name, &config); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	seed := config.DB.Seed
	if seed.Enabled != nil && !*seed.Enabled {
		return nil, nil
	}
	if seed.Paths == nil {
		seed.Paths = []string{"./seed.sql"}
	}
	var seeds []Seed
	for _, pattern := range seed.Paths {
		full := path.Join(dir, pattern)
		if path.IsAbs(pattern) || !fs.ValidPath(full) {
			return nil, fmt.Errorf("%s: the seed %q lies outside of the environment's folder", name, pattern)
		}
		matches, err := fs.Glob(fsys, full)
		if err != nil {
			return nil, fmt.Errorf("%s: the seed pattern %q: %w", name, pattern, err)
		}
		for _, match := range matches { // sorted
			if slices.ContainsFunc(seeds, func(s Seed) bool { return s.Path == match }) {
				continue
			}
			file, err := readFile(fsys, match)
			if err != nil {
				return nil, err
			}
			seeds = append(seeds, file)
		}
	}
	return seeds, nil
}

func readFile(fsys fs.FS, name string) (Seed, error) {
	content, err := fs.ReadFile(fsys, name)
	if err != nil {
		return Seed{}, fmt.Errorf("read seeds: %w", err)
	}
	if i := badText(content); i >= 0 {
		line, column := position(string(content), i)
		return Seed{}, fmt.Errorf("%s:%d:%d: not UTF-8 text: save the file as UTF-8", name, line, column)
	}
	sum := sha256.Sum256(content)
	return Seed{File: File{Path: name, SQL: string(content)}, Hash: hex.EncodeToString(sum[:])}, nil
}

// The CLI's statements (pkg/migration/history.go).
const (
	createSeeds = `create table if not exists supabase_migrations.seed_files (path text not null primary key, hash text not null)`
	upsertSeed  = `insert into supabase_migrations.seed_files (path, hash) values ($1, $2) on conflict (path) do update set hash = excluded.hash`
)

// seed runs the seed files that have not run yet, in one gated transaction. Of
// one that was edited since, only the new hash is recorded, as the CLI does
// (pkg/migration/file.go, ExecBatchWithCache): its rows are there already.
func (r *run) seed(ctx context.Context) error {
	if len(r.options.Seeds) == 0 {
		return nil
	}
	known, err := readSeeded(ctx, r.conn)
	if err != nil {
		return err
	}
	var work step
	for _, seed := range r.options.Seeds {
		hash, seen := known[seed.Path]
		if hash == seed.Hash {
			continue
		}
		p := part{file: seed.File, hash: seed.Hash}
		if seen {
			r.options.Tell(seed.Path + " was edited since it was run; that is recorded, it is not run again")
		} else {
			if p.all, err = seed.File.parse(); err != nil {
				return err
			}
			for _, s := range p.all {
				if what := standsAlone(s.node); what != "" {
					return seed.File.refused(s, what+" can't be part of a seed, which runs in a transaction", "put it into a migration")
				}
			}
			p.to = len(p.all)
		}
		work.parts = append(work.parts, p)
	}
	if len(work.parts) == 0 {
		return nil
	}
	return r.patiently(ctx, work)
}

// recordSeed adds the CLI's row of a seed file to batch.
func (p part) recordSeed(batch *pgconn.Batch) {
	batch.ExecParams(createSeeds, nil, nil, nil, nil)
	batch.ExecParams(upsertSeed, [][]byte{[]byte(p.file.Path), []byte(p.hash)}, []uint32{pgtype.TextOID, pgtype.TextOID}, nil, nil)
}

// readSeeded returns path → hash of the seeds that have run.
func readSeeded(ctx context.Context, conn *pgx.Conn) (map[string]string, error) {
	rows, err := conn.Query(ctx, "select path, hash from supabase_migrations.seed_files", pgx.QueryExecModeExec)
	if err != nil {
		return nil, fmt.Errorf("read which seeds have run: %w", err)
	}
	known := map[string]string{}
	var name, hash string
	_, err = pgx.ForEachRow(rows, []any{&name, &hash}, func() error { known[name] = hash; return nil })
	if state := stateOf(err); state == "42P01" || state == "3F000" { // undefined_table, invalid_schema_name
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read which seeds have run: %w", err)
	}
	return known, nil
}
