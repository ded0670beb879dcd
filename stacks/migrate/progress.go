package migrate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// A progress says how far a file has come that can't be applied at once: up to
// a statement that runs alone. It lies beside the CLI's history, which has a row
// only for files that are complete.
type progress struct {
	Version   string
	Statement int    // the one that runs alone, from 1; those before it are committed
	Done      bool   // it has run; if not, it may have
	Checksum  string // of the file's text up to its end
}

const (
	createProgress = `create table if not exists supabase_migrations.holdfast_progress
		(version text primary key, statement int not null, done boolean not null, checksum text not null, updated_at timestamptz not null default now())`
	upsertProgress = `insert into supabase_migrations.holdfast_progress (version, statement, done, checksum) values ($1, $2, $3, $4)
		on conflict (version) do update set statement = excluded.statement, done = excluded.done, checksum = excluded.checksum, updated_at = now()`
	deleteProgress = `delete from supabase_migrations.holdfast_progress where version = $1`
)

// checksum is that of the file's text up to the end of its n-th statement.
func (p part) checksum(n int) string {
	s := p.all[n-1]
	sum := sha256.Sum256([]byte(p.file.SQL[:s.offset+len(s.sql)]))
	return hex.EncodeToString(sum[:])
}

// recordProgress says that the statement behind this part comes next.
func (p part) recordProgress(batch *pgconn.Batch) {
	batch.ExecParams(createProgress, nil, nil, nil, nil)
	batch.ExecParams(upsertProgress,
		[][]byte{[]byte(p.file.Version), []byte(strconv.Itoa(p.to + 1)), []byte("false"), []byte(p.checksum(p.to + 1))},
		[]uint32{pgtype.TextOID, pgtype.Int4OID, pgtype.BoolOID, pgtype.TextOID}, nil, nil)
}

// forgetProgress takes the record back when the file is complete.
func (p part) forgetProgress(batch *pgconn.Batch) {
	batch.ExecParams(deleteProgress, [][]byte{[]byte(p.file.Version)}, []uint32{pgtype.TextOID}, nil, nil)
}

// readProgress returns the files that an earlier run has begun and not completed.
func readProgress(ctx context.Context, conn *pgx.Conn) ([]progress, error) {
	rows, err := conn.Query(ctx, `select version, statement, done, checksum from supabase_migrations.holdfast_progress order by version`, pgx.QueryExecModeExec)
	if err != nil {
		return nil, fmt.Errorf("read the progress of interrupted migrations: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[progress])
	var pg *pgconn.PgError
	if errors.As(err, &pg) && (pg.Code == "42P01" || pg.Code == "3F000") { // undefined_table, invalid_schema_name
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the progress of interrupted migrations: %w", err)
	}
	return list, nil
}
