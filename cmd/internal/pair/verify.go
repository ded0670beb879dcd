package pair

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"holdfast/provision/transport"
	"holdfast/verify"
	"holdfast/verify/baseline"
	"holdfast/verify/collect"
	"holdfast/verify/collect/database"
)

// baseline reads the environment's security-baseline.yml; a folder without one
// is held to the default baseline.
func (p *Pair) baseline() (*baseline.Baseline, error) {
	path := p.Env.BaselinePath()
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, configError{fmt.Errorf("read the baseline: %w", err)}
	}
	rules, err := baseline.Load(text, path)
	if err != nil {
		return nil, configError{err}
	}
	return rules, nil
}

// Verify observes both servers and what runs on them, and evaluates the
// baseline. It uses connections of its own when none are open yet. It shares
// nothing with what provisioned the servers but the connection.
func (p *Pair) Verify(ctx context.Context, timeout time.Duration) (*verify.Facts, baseline.Result, error) {
	var rules *baseline.Baseline
	loaded := make(chan error, 1)
	go func() {
		var err error
		rules, err = p.baseline()
		loaded <- err
	}()
	err := p.each(ctx, func(ctx context.Context, s *Server) error {
		if s.conn != nil {
			return nil
		}
		return s.connect(ctx)
	})
	if err := errors.Join(<-loaded, err); err != nil {
		return nil, baseline.Result{}, err
	}
	input := collect.Input{
		Environment: p.Env.Environment,
		DeployUser:  p.Env.Access.User,
		AnonKey:     p.secrets["ANON_KEY"],
		Images:      map[string]string{},
	}
	for _, s := range p.Servers() {
		input.Servers = append(input.Servers, collect.Server{
			Role: s.Role, Address: s.Spec.Address, Private: s.Spec.Private,
			Run: s.script, Dial: s.Dial,
		})
	}
	for _, d := range []collect.Domain{{Name: p.Env.Domains.API, Serves: "api"}, {Name: p.Env.Domains.App, Serves: "app"}, {Name: p.Env.Domains.Jobs, Serves: "jobs"}} {
		if d.Name != "" {
			input.Domains = append(input.Domains, d)
		}
	}
	for _, project := range p.Release.Projects {
		for _, service := range project.Services {
			input.Images[project.Name+"/"+service.Name] = service.Image
		}
	}
	if p.Env.Stacks.Supabase != nil {
		input.Database = p.databaseFacts
	}
	facts, err := collect.Run(ctx, input, timeout)
	if err != nil {
		return nil, baseline.Result{}, err
	}
	return facts, rules.Evaluate(facts, time.Now()), nil
}

// script runs one of the verifier's batches. A script that ends with a status
// has been heard out; only a script that could not be run is an error.
func (s *Server) script(ctx context.Context, script string) (stdout, stderr []byte, err error) {
	var out, errs bytes.Buffer
	err = s.Run(ctx, script, nil, &out, &errs)
	var exit *transport.ExitError
	if errors.As(err, &exit) {
		err = nil
	}
	return out.Bytes(), errs.Bytes(), err
}

// databaseFacts observes the database as the auditor, a role that can read the
// catalog and plan as the API's roles, and can't read one row.
func (p *Pair) databaseFacts(ctx context.Context) (*verify.Database, error) {
	conn, err := p.connectDatabase(ctx, "holdfast_auditor", "AUDITOR_PASSWORD")
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return database.Collect(ctx, conn, database.Options{Schemas: p.schemas()})
}
