package pair

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast/internal/ui"
	"holdfast/stacks/migrate"
	"holdfast/verify"
	"holdfast/verify/baseline"
	"holdfast/verify/collect/database"
)

// connectDatabase opens a connection to the production database through the
// SSH connection; the database listens on the server's loopback only, so the
// way there is encrypted and authenticated by SSH.
func (p *Pair) connectDatabase(ctx context.Context, user, secret string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig("host=127.0.0.1 port=5432 dbname=postgres sslmode=disable user=" + user)
	if err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	config.Password = p.secrets[secret]
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
			pending = append(pending, "baseline migration "+version)
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

// migrate applies Holdfast's migrations and then the project's, those behind
// the gate.
func (p *Pair) migrate(ctx context.Context, tell func(string)) error {
	pending, err := p.pendingMigrations()
	if err != nil || len(pending) == 0 {
		return err
	}
	admin, err := p.connectDatabase(ctx, "supabase_admin", "POSTGRES_PASSWORD")
	if err != nil {
		return err
	}
	applied, err := p.baselineMigrations().Up(ctx, admin)
	admin.Close(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	for _, name := range applied {
		tell("applied baseline migration " + name)
	}
	rules, err := p.baseline()
	if err != nil {
		return err
	}
	conn, err := p.connectDatabase(ctx, "postgres", "POSTGRES_PASSWORD")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	result, err := migrate.Up(ctx, conn, p.Migrations, migrate.Options{
		Gate:       p.gate(rules),
		IncludeAll: p.options.IncludeAll,
		OnApply:    func(f migrate.File) { tell("apply " + f.Path) },
	})
	if err != nil {
		return err
	}
	for _, f := range result.Changed {
		tell("note: " + f.Path + " was edited after it was applied; the database keeps what it was then")
	}
	return nil
}

// MigrationStatus compares the folder with what the database has recorded.
type MigrationStatus struct {
	Applied    []string `json:"applied"`     // paths
	Pending    []string `json:"pending"`     // paths, in the order they would be applied
	Changed    []string `json:"changed"`     // paths of those edited after they were applied
	RemoteOnly []string `json:"remote_only"` // versions the folder does not hold
}

// MigrationStatus asks the production database for its history.
func (p *Pair) MigrationStatus(ctx context.Context) (MigrationStatus, error) {
	var s MigrationStatus
	if err := p.Production.connect(ctx); err != nil {
		return s, err
	}
	conn, err := p.connectDatabase(ctx, "postgres", "POSTGRES_PASSWORD")
	if err != nil {
		return s, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	status, err := migrate.ReadStatus(ctx, conn, p.Migrations)
	if err != nil {
		return s, err
	}
	paths := func(files []migrate.File) []string {
		list := make([]string, 0, len(files))
		for _, f := range files {
			list = append(list, f.Path)
		}
		return list
	}
	return MigrationStatus{paths(status.Applied), paths(status.Pending), paths(status.Changed), status.RemoteOnly}, nil
}

// Migrate applies what is pending and returns how many files that were.
func (p *Pair) Migrate(ctx context.Context) (int, error) {
	if err := p.Production.connect(ctx); err != nil {
		return 0, err
	}
	if err := p.Production.observe(ctx, true); err != nil {
		return 0, err
	}
	pending, err := p.pendingMigrations()
	if err != nil {
		return 0, err
	}
	if err := p.lint(); err != nil {
		return 0, err
	}
	return len(pending), p.migrate(ctx, func(line string) { p.ui.Progress("production", "%s", line) })
}

// gate evaluates the database rules on the catalog as the migrations would
// leave it, inside their transaction.
func (p *Pair) gate(rules *baseline.Baseline) func(context.Context, pgx.Tx, []migrate.File) error {
	return func(ctx context.Context, tx pgx.Tx, applied []migrate.File) error {
		facts, err := database.Collect(ctx, tx, database.Options{Schemas: p.schemas()})
		if err != nil {
			return fmt.Errorf("the gate could not read the new catalog: %w", err)
		}
		result := rules.Evaluate(&verify.Facts{
			Version: verify.Version, Environment: p.Env.Environment, CollectedAt: time.Now().UTC(), Database: facts,
		}, time.Now(), verify.LayerDatabase)
		if baseline.Gate(result, baseline.Severity(p.Env.Gate)) == nil {
			return nil
		}
		origins, err := migrate.TableOrigins(p.Migrations)
		if err != nil {
			return err
		}
		return &GateError{Findings: failing(result, baseline.Severity(p.Env.Gate)), Origins: origins}
	}
}

// failing returns the findings for which the gate refuses.
func failing(result baseline.Result, gate baseline.Severity) []baseline.Finding {
	return slices.DeleteFunc(slices.Clone(result.Findings), func(f baseline.Finding) bool {
		switch f.Verdict {
		case baseline.Error:
			return false
		case baseline.Fail, baseline.WaiverExpired:
			return !f.Severity.AtLeast(gate)
		}
		return true
	})
}

// A GateError is a state of the database that the baseline refuses.
type GateError struct {
	Findings []baseline.Finding
	Origins  map[string]migrate.Origin // table → where it was created
}

func (e *GateError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the migrations were rolled back: they would break %d rules of the baseline", len(e.Findings))
	for _, f := range e.Findings {
		b.WriteString("\n  ")
		if o, ok := e.Origins[f.On]; ok {
			fmt.Fprintf(&b, "%s:%d: ", o.Path, o.Line)
		}
		fmt.Fprintf(&b, "%s %s: %s\n    fix: %s", f.Severity, f.Rule, f.Message, f.Fix)
	}
	return ui.Plain(b.String())
}

// Hint says what to do next.
func (e *GateError) Hint() string {
	return "nothing of these migrations is in the database; mend the files and run again"
}
