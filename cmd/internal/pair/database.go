package pair

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"holdfast/internal/ui"
	"holdfast/stacks"
	"holdfast/stacks/migrate"
	"holdfast/verify/access"
	"holdfast/verify/collect/database"
)

// connectDatabase opens a connection to the production database through the
// SSH connection; the database listens on the server's loopback only, so the
// way there is encrypted and authenticated by SSH.
func (p *Pair) connectDatabase(ctx context.Context, user, secret string) (*pgx.Conn, error) {
	return p.connect(ctx, "postgres", user, secret)
}

// connect is connectDatabase for any of its databases. While a rotation is under
// way either value may be the one that the database takes.
func (p *Pair) connect(ctx context.Context, database, user, secret string) (*pgx.Conn, error) {
	conn, err := p.connectWith(ctx, database, user, p.secrets[secret])
	var refused *pgconn.PgError
	for _, other := range []string{p.file.Set[secret], p.file.Wanted()[secret]} {
		if errors.As(err, &refused) && refused.Code == wrongPassword && other != p.secrets[secret] {
			conn, err = p.connectWith(ctx, database, user, other)
		}
	}
	if errors.As(err, &refused) && refused.Code == wrongPassword {
		err = ui.Hint(err, "secrets.age holds another password than the database has: put the version back that was deployed last; as a last resort, the one in use stands on the server in "+stacks.Root+"/current/supabase/secrets/db.env")
	}
	return conn, err
}

// wrongPassword is invalid_password (PostgreSQL, appendix A).
const wrongPassword = "28P01"

func (p *Pair) connectWith(ctx context.Context, database, user, password string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig("host=127.0.0.1 port=5432 sslmode=disable user=" + user + " dbname=" + database)
	if err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	config.Password = password
	config.Fallbacks = nil
	config.RuntimeParams["application_name"] = "holdfast"
	config.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		return p.Production.Dial(ctx, network, addr)
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to the database as %s: %w", user, err)
	}
	return conn, nil
}

// baselinePrefix is what Holdfast's own migrations are called.
const baselinePrefix = "baseline migration "

// baselineMigrations are Holdfast's own.
func (p *Pair) baselineMigrations() migrate.Baseline {
	return migrate.Baseline{Schemas: p.schemas(), AuditorPassword: p.secrets["AUDITOR_PASSWORD"]}
}

func (p *Pair) schemas() []string {
	if p.Env.Stacks.Supabase == nil {
		return nil
	}
	return p.Env.Stacks.Supabase.Schemas
}

// pendingMigrations compares the folder with the history that was observed. A
// database that does not run yet has everything pending.
func (p *Pair) pendingMigrations() ([]string, error) {
	if p.Env.Stacks.Supabase == nil {
		return nil, nil
	}
	history := p.Production.State.Migrations
	sums, err := p.baselineMigrations().Checksums()
	if err != nil {
		return nil, err
	}
	var pending []string
	for version, sum := range sums {
		if history.Baseline[version] != sum {
			pending = append(pending, baselinePrefix+version)
		}
	}
	slices.Sort(pending)
	for _, f := range p.Migrations {
		if !slices.Contains(history.Versions, f.Version) {
			pending = append(pending, f.Path)
		}
	}
	return pending, nil
}

// MigrateOptions narrow what Migrate does.
type MigrateOptions struct {
	To     string // the last version to apply; empty: all
	DryRun bool   // do everything inside the transaction, and roll it back
	Seeds  bool   // run the seeds of supabase/config.toml behind them
}

// migrate applies Holdfast's migrations and then the project's, those behind
// the gate.
func (p *Pair) migrate(ctx context.Context, options MigrateOptions, tell func(string)) (migrate.Result, error) {
	var result migrate.Result
	pending, err := p.pendingMigrations()
	if err != nil {
		return result, err
	}
	var seeds []migrate.Seed
	if options.Seeds {
		if seeds, err = migrate.ReadSeeds(os.DirFS(p.Env.Dir), "supabase"); err != nil {
			return result, err
		}
	}
	if len(pending) == 0 && len(seeds) == 0 {
		return result, nil
	}
	if options.DryRun {
		for _, name := range pending {
			if strings.HasPrefix(name, baselinePrefix) {
				tell(name + " would be applied first and is left out of the rehearsal")
			}
		}
	} else if err := p.migrateBaseline(ctx, tell); err != nil {
		return result, err
	}
	gate, err := p.newGate(tell)
	if err != nil {
		return result, err
	}
	connect := func(ctx context.Context) (*pgx.Conn, error) {
		return p.connectDatabase(ctx, "postgres", "POSTGRES_PASSWORD")
	}
	conn, err := connect(ctx)
	if err != nil {
		return result, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	result, err = migrate.Up(ctx, conn, p.Migrations, migrate.Options{
		Before:     gate.look,
		Gate:       gate.judge,
		IncludeAll: p.options.IncludeAll,
		To:         options.To,
		Seeds:      seeds,
		DryRun:     options.DryRun,
		Reconnect:  func(ctx context.Context) (*pgx.Conn, error) { return p.connectAgain(ctx, connect) },
		OnApply:    func(f migrate.File) { tell("apply " + f.Path) },
		Tell:       tell,
	})
	if err != nil {
		return result, err
	}
	for _, f := range result.Changed {
		tell("note: " + f.Path + " was edited after it was applied; the database keeps what it was then (holdfast migrate diff-history shows it)")
	}
	for _, a := range gate.unused {
		tell(fmt.Sprintf("note: --allow-widening %s:%s:%s was not needed", a.Object, a.Role, a.Verb))
	}
	return result, nil
}

// connectAgain connects after a connection broke; the SSH connection may be what
// broke.
func (p *Pair) connectAgain(ctx context.Context, connect func(context.Context) (*pgx.Conn, error)) (*pgx.Conn, error) {
	alive, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := p.Production.Run(alive, "true", nil, io.Discard, io.Discard); err != nil {
		if again := p.Production.Reconnect(ctx); again != nil {
			return nil, again
		}
	}
	return connect(ctx)
}

// migrateBaseline applies Holdfast's own migrations.
func (p *Pair) migrateBaseline(ctx context.Context, tell func(string)) error {
	admin, err := p.connectDatabase(ctx, "supabase_admin", "POSTGRES_PASSWORD")
	if err != nil {
		return err
	}
	defer admin.Close(context.WithoutCancel(ctx))
	applied, err := p.baselineMigrations().Up(ctx, admin)
	if err != nil {
		return err
	}
	for _, name := range applied {
		tell("applied " + baselinePrefix + name)
	}
	return nil
}

// MigrationStatus compares the folder with what the database has recorded.
type MigrationStatus struct {
	Applied    []string          `json:"applied"`     // paths
	Pending    []string          `json:"pending"`     // paths, in the order they would be applied
	Partial    []string          `json:"partial"`     // versions that an interrupted run has begun
	Changed    []string          `json:"changed"`     // paths of those edited after they were applied
	RemoteOnly []string          `json:"remote_only"` // versions the folder does not hold
	Diffs      map[string]string `json:"diffs"`       // of Changed and RemoteOnly: version → what was applied against the file
}

// MigrationStatus asks the production database for its history.
func (p *Pair) MigrationStatus(ctx context.Context) (MigrationStatus, error) {
	var s MigrationStatus
	err := p.withDatabase(ctx, func(conn *pgx.Conn) error {
		status, err := migrate.ReadStatus(ctx, conn, p.Migrations)
		if err != nil {
			return err
		}
		paths := func(files []migrate.File) []string {
			list := make([]string, 0, len(files))
			for _, f := range files {
				list = append(list, f.Path)
			}
			return list
		}
		s = MigrationStatus{
			Applied: paths(status.Applied), Pending: paths(status.Pending), Partial: append([]string{}, status.Partial...),
			Changed: paths(status.Changed), RemoteOnly: append([]string{}, status.RemoteOnly...), Diffs: map[string]string{},
		}
		versions := slices.Clone(status.RemoteOnly)
		for _, f := range status.Changed {
			versions = append(versions, f.Version)
		}
		for _, version := range versions {
			if diff := status.Diff(version); diff != "" {
				s.Diffs[version] = diff
			}
		}
		return nil
	})
	return s, err
}

// RepairHistory records versions as applied, or takes their records out.
func (p *Pair) RepairHistory(ctx context.Context, versions []string, applied bool) error {
	return p.withDatabase(ctx, func(conn *pgx.Conn) error {
		return migrate.Repair(ctx, conn, p.Migrations, versions, applied)
	})
}

// Access returns the access matrix of the production database.
func (p *Pair) Access(ctx context.Context) (cells []access.Cell, err error) {
	err = p.withDatabase(ctx, func(conn *pgx.Conn) error {
		facts, err := database.Collect(ctx, conn, database.Options{Schemas: p.schemas()})
		if err != nil {
			return err
		}
		cells = access.Cells(facts)
		return nil
	})
	return cells, err
}

// withDatabase hands do a connection as the role that migrates.
func (p *Pair) withDatabase(ctx context.Context, do func(*pgx.Conn) error) error {
	if p.Env.Stacks.Supabase == nil {
		return errors.New("this environment has no Supabase stack, so no database")
	}
	if err := p.Production.connect(ctx); err != nil {
		return err
	}
	conn, err := p.connectDatabase(ctx, "postgres", "POSTGRES_PASSWORD")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return do(conn)
}

// Migrate applies what is pending and returns the project's files that were
// applied; also with an error, those that are committed.
func (p *Pair) Migrate(ctx context.Context, options MigrateOptions) ([]string, error) {
	if err := p.Production.connect(ctx); err != nil {
		return nil, err
	}
	if err := p.Production.observe(ctx, true); err != nil {
		return nil, err
	}
	if err := p.lint(options.To); err != nil {
		return nil, err
	}
	result, err := p.migrate(ctx, options, func(line string) { p.ui.Progress("production", "%s", line) })
	var paths []string
	for _, f := range result.Applied {
		paths = append(paths, f.Path)
	}
	return paths, err
}
