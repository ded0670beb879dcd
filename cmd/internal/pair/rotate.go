package pair

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast/internal/ui"
	"holdfast/stacks"
	"holdfast/stacks/migrate"
	"holdfast/stacks/secrets"
)

// A rotation goes through these states, and secrets.age says in which it is:
//
//  1. The new values are written beside those in force. No server was touched.
//  2. A release is made of the new values, uploaded and started; before a stack
//     starts, its databases take the new passwords, and forget what they keep
//     under the old ones.
//  3. The release is healthy and current: the new values are in force.
//
// A run that ends in between leaves state 1, and every later deploy does all of 2
// again: each of its steps may be done twice. When the services don't get healthy
// the databases get their old passwords back, the former release starts, and the
// new values are forgotten. As long as there are new values, the database is asked
// with them first and with those in force after.

// Renewal says what a rotation changes, before anything is changed.
type Renewal struct {
	Names    []string `json:"names"`    // of the secrets that get new values, sorted
	Restarts []string `json:"restarts"` // services of the declared stacks, as "stack/service", sorted
	Steps    []string `json:"steps"`    // what happens, in order
	Ends     []string `json:"ends"`     // what stops working, one clause a secret
	// Unfinished: an earlier run began it, and its values are the ones used.
	Unfinished bool `json:"unfinished"`

	values secrets.Set
}

// Renew makes new values for the named secrets, or for all, and says what putting
// them in force entails. Nothing is written, and no server is touched. When an
// earlier rotation is unfinished, it is that one, and names must be among its own.
// Its errors wrap ErrConfig.
func (p *Pair) Renew(names []string, all bool) (*Renewal, error) {
	if p.file.Rotation != nil {
		begun := p.file.Rotation.Names()
		for _, name := range names {
			if !slices.Contains(begun, name) {
				return nil, configError{unfinished(p.file.Rotation)}
			}
		}
		renewal := p.renewal(p.file.Rotation.New)
		renewal.Unfinished = true
		return renewal, nil
	}
	if all {
		names = p.file.Rotatable()
	}
	values, err := p.file.Renew(names, time.Now())
	if err != nil {
		return nil, configError{err}
	}
	p.ui.Redact(values.Values())
	return p.renewal(values), nil
}

func unfinished(r *secrets.Rotation) error {
	return ui.Hint(fmt.Errorf("a rotation of %s was begun on %s and is not finished", strings.Join(r.Names(), ", "), r.Began.Format(time.DateTime)),
		"`holdfast deploy` finishes it, or takes it back when its services don't get healthy")
}

func (p *Pair) renewal(values secrets.Set) *Renewal {
	r := &Renewal{Names: values.Names(), values: values, Restarts: []string{}, Steps: []string{}, Ends: []string{}}
	var order []string
	for _, project := range p.Release.Projects {
		order = append(order, project.Name)
		for _, service := range project.Services {
			if slices.Contains(secrets.Restarts(r.Names), project.Name+"/"+service.Name) {
				r.Restarts = append(r.Restarts, project.Name+"/"+service.Name)
			}
		}
	}
	r.Steps = append(r.Steps, "write the new values into secrets.age, beside those in force")
	for _, project := range order {
		for _, place := range secrets.Placements(project, r.Names) {
			r.Steps = append(r.Steps, placeStep(place))
		}
	}
	if len(r.Restarts) > 0 {
		r.Steps = append(r.Steps, "restart, in the order of their dependencies: "+strings.Join(r.Restarts, ", "))
	}
	r.Steps = append(r.Steps, "when all are healthy, put the new values in force and remove the releases that hold the old ones; otherwise take everything back")
	for _, rule := range secrets.Rules() {
		if slices.Contains(r.Names, rule.Name) {
			for _, clause := range []string{rule.Rotation.Breaks, rule.Rotation.Loses} {
				if clause != "" {
					r.Ends = append(r.Ends, rule.Name+": "+clause)
				}
			}
		}
	}
	return r
}

// placeStep says in words what a placement does.
func placeStep(place secrets.Placement) string {
	where := place.Stack + "/" + place.Server
	if len(place.Roles) > 0 {
		return fmt.Sprintf("%s: change the passwords of the roles that log in with %s", where, place.Secret)
	}
	return fmt.Sprintf("%s: stop %s and remove what it keeps in the database, which it makes anew when it starts", where, place.Holder)
}

// Rotate puts a renewal in force: it writes down the new values, makes a release
// of them and brings it up. It refuses when the servers are not as declared
// before, so that what fails after is the rotation's doing; a rotation that an
// earlier run began is finished all the same. confirm is asked before anything is
// written.
//
// When the services don't get healthy, everything is taken back.
func (p *Pair) Rotate(ctx context.Context, renewal *Renewal, confirm func() error) error {
	if renewal.Unfinished {
		_, err := p.Deploy(ctx, func(*Plan) error { return confirm() })
		return err
	}
	plan, err := p.plan(ctx, true)
	if err != nil {
		return err
	}
	pending, err := p.pendingMigrations()
	if err != nil {
		return err
	}
	if len(p.steps)+len(pending) > 0 {
		return ui.Hint(errors.New("what runs is not what is declared; a rotation starts from a release that is healthy (nothing was changed)"),
			"look at `holdfast plan`, run `holdfast deploy`, then rotate")
	}
	if err := confirm(); err != nil {
		return err
	}
	p.file.Begin(renewal.values, time.Now())
	if err := saveSecrets(p.Env, p.file); err != nil {
		p.file.TakeBack()
		return err
	}
	p.secrets = p.file.Wanted()
	if err := p.render(); err != nil {
		return err
	}
	part := plan.of(p.Production.Role)
	part.Changes = []Change{}
	if err := p.planStacks(ctx, &part); err != nil {
		return err
	}
	for i := range plan.Servers {
		plan.Servers[i].Changes = nil
		if plan.Servers[i].Role == part.Role {
			plan.Servers[i] = part
		}
	}
	plan.Release = p.Release.ID
	if err = p.release(ctx); err != nil {
		err = fmt.Errorf("%s (%s): %w", p.Production.Role, p.Production.Address(), err)
	}
	return p.rotationError(errors.Join(err, p.journal(ctx, plan, err)))
}

// rotationError adds to an error how a rotation stands.
func (p *Pair) rotationError(err error) error {
	if err == nil || p.file.Rotation == nil {
		return err
	}
	return ui.Hint(fmt.Errorf("%w\n(the rotation is not finished: the new values wait in secrets.age)", err),
		"mend the cause and run `holdfast deploy`: it finishes the rotation, or takes it back when its services don't get healthy")
}

// rotationChange is the plan's line about an unfinished rotation.
func (p *Pair) rotationChange() (Change, bool) {
	if p.file.Rotation == nil {
		return Change{}, false
	}
	return Change{ID: "rotation:" + p.file.Rotation.Began.Format(time.RFC3339), Concern: "secrets",
		Summary: "put new values of " + strings.Join(p.file.Rotation.Names(), ", ") + " in force, in the databases too",
		Why:     "a rotation was begun on " + p.file.Rotation.Began.Format(time.DateTime) + " and is not finished"}, true
}

// follow makes a stack's databases take the values that p.secrets holds, before
// the services that log in with them are started. It does nothing unless a
// rotation is under way.
func (p *Pair) follow(ctx context.Context, launch stacks.Launch, project stacks.Project, tell func(string)) error {
	if p.file.Rotation == nil {
		return nil
	}
	places := secrets.Placements(project.Name, p.file.Rotation.Names())
	started := map[string]bool{}
	for _, place := range places {
		if !started[place.Server] {
			started[place.Server] = true
			if err := launch.Start(ctx, project, place.Server); err != nil {
				return err
			}
		}
		tell(placeStep(place))
		if place.Holder != "" {
			if err := launch.Remove(ctx, project.Name, place.Holder); err != nil {
				return err
			}
		}
		var err error
		if project.Name == "supabase" {
			err = p.storeInSupabase(ctx, place)
		} else {
			err = p.storeBehind(ctx, launch, place)
		}
		if err != nil {
			return fmt.Errorf("rotate %s: %w", place.Secret, err)
		}
	}
	return nil
}

// storeInSupabase carries out one placement over a connection to the database.
func (p *Pair) storeInSupabase(ctx context.Context, place secrets.Placement) error {
	conn, err := p.connect(ctx, place.Database, "supabase_admin", "POSTGRES_PASSWORD")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "set local lock_timeout = '30s'"); err != nil {
			return err
		}
		if place.SQL != "" {
			_, err := tx.Conn().PgConn().Exec(ctx, place.SQL).ReadAll()
			return err
		}
		rows, err := tx.Query(ctx, "select rolname from pg_authid where rolname = any($1) and rolcanlogin and rolpassword is not null order by 1", place.Roles)
		if err != nil {
			return err
		}
		roles, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		for _, role := range roles {
			statement, err := alterRole(role, p.secrets[place.Secret])
			if err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
}

// storeBehind carries out one placement in a database that only its stack reaches.
func (p *Pair) storeBehind(ctx context.Context, launch stacks.Launch, place secrets.Placement) error {
	sql := place.SQL
	for _, role := range place.Roles {
		statement, err := alterRole(role, p.secrets[place.Secret])
		if err != nil {
			return err
		}
		sql += statement + ";\n"
	}
	return launch.Query(ctx, place.Stack, place.Server, place.Database, sql)
}

// alterRole sets a role's password by its verifier: the server, and what it logs,
// never see the password.
func alterRole(role, password string) (string, error) {
	verifier, err := migrate.ScramVerifier(password)
	if err != nil {
		return "", err
	}
	return "alter role " + pgx.Identifier{role}.Sanitize() + " password '" + verifier + "'", nil
}

// takeBack gives the databases the values that were in force, on the services of
// the former release, which start with them after.
func (p *Pair) takeBack(ctx context.Context, launch stacks.Launch, former string) error {
	if p.file.Rotation == nil {
		return nil
	}
	p.secrets = p.file.Set
	launch.Release = &stacks.Release{ID: former}
	launch.Timeout = max(launch.Timeout, time.Minute) // as GoBack has it
	for _, project := range p.Release.Projects {
		if err := p.follow(ctx, launch, project, func(line string) { p.ui.Progress("production", "take back: %s", line) }); err != nil {
			return err
		}
	}
	if !slices.Contains(p.file.Rotation.Names(), "AUDITOR_PASSWORD") || p.Env.Stacks.Supabase == nil {
		return nil
	}
	// The baseline migrations' history names the password they were run with.
	conn, err := p.connectDatabase(ctx, "supabase_admin", "POSTGRES_PASSWORD")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = p.baselineMigrations().Up(ctx, conn)
	return err
}

// rotated ends a rotation whose release runs.
func (p *Pair) rotated(ctx context.Context, launch stacks.Launch) error {
	if p.file.Rotation == nil {
		return nil
	}
	if err := launch.RemoveOthers(ctx); err != nil {
		return err
	}
	return p.endRotation(true)
}

// rotatesUnseen reports whether a rotation is under way that changes nothing in the
// release, such as that of the auditor's password: its release is the former one.
func (p *Pair) rotatesUnseen() bool {
	if p.file.Rotation == nil {
		return false
	}
	wanted, release := p.secrets, p.Release
	defer func() { p.secrets, p.Release = wanted, release }()
	p.secrets = p.file.Set
	return p.render() == nil && p.Release.ID == release.ID
}

// endRotation writes down how a rotation ended: with the new values in force, or
// forgotten.
func (p *Pair) endRotation(done bool) error {
	if p.file.Rotation == nil {
		return nil
	}
	names := strings.Join(p.file.Rotation.Names(), ", ")
	if done {
		p.file.Finish(time.Now())
	} else {
		p.file.TakeBack()
	}
	if err := saveSecrets(p.Env, p.file); err != nil {
		return ui.Hint(fmt.Errorf("the rotation of %s is done on the servers, but not written down: %w", names, err), "mend the cause and run `holdfast deploy`")
	}
	return nil
}
