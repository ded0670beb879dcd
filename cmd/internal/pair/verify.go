package pair

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

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
	operators, err := p.operatorFingerprints()
	if err != nil {
		return nil, baseline.Result{}, configError{err}
	}
	input := collect.Input{
		Environment: p.Env.Environment,
		DeployUser:  p.Env.Access.User, OperatorKeys: operators,
		AnonKey: p.secrets["ANON_KEY"],
		Images:  map[string]string{},
	}
	for _, s := range p.Servers() {
		input.Servers = append(input.Servers, collect.Server{
			Role: s.Role, Address: s.Spec.Address, Private: []string{s.Spec.Private},
			Run: s.script, Dial: s.Dial,
		})
	}
	layers := []string{verify.LayerServer, verify.LayerCompose, verify.LayerNetwork}
	declared := p.Env.Stacks
	if declared.Supabase != nil {
		layers = append(layers, verify.LayerGateway, verify.LayerDatabase)
		input.Domains = append(input.Domains, collect.Domain{Name: p.Env.Domains.API, Serves: "api"})
		input.Database = p.databaseFacts
	}
	if declared.App != nil {
		input.Domains = append(input.Domains, collect.Domain{Name: p.Env.Domains.App, Serves: "app"})
	}
	if declared.Trigger != nil {
		input.Domains = append(input.Domains, collect.Domain{Name: p.Env.Domains.Jobs, Serves: "jobs"})
	}
	for _, project := range p.Release.Projects {
		for _, service := range project.Services {
			input.Images[project.Name+"/"+service.Name] = service.Image
		}
	}
	facts, err := collect.Run(ctx, input, timeout)
	if err != nil {
		return nil, baseline.Result{}, err
	}
	return facts, rules.Evaluate(facts, time.Now(), layers...), nil
}

// operatorFingerprints are those of the keys that may log in.
func (p *Pair) operatorFingerprints() ([]string, error) {
	keys, err := p.Env.OperatorKeys()
	if err != nil {
		return nil, err
	}
	fingerprints := make([]string, len(keys))
	for i, line := range keys {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil {
			return nil, fmt.Errorf("read the operator key %q: %w", line, err)
		}
		fingerprints[i] = ssh.FingerprintSHA256(key)
	}
	return fingerprints, nil
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
	var schemas []string
	asked := make(chan error, 1)
	go func() {
		var err error
		schemas, err = p.exposedSchemas(ctx)
		asked <- err
	}()
	conn, err := p.connectDatabase(ctx, "holdfast_auditor", "AUDITOR_PASSWORD")
	if err := errors.Join(<-asked, err); err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return database.Collect(ctx, conn, database.Options{Schemas: schemas})
}

// exposedSchemas asks the running API which schemas it serves. What was
// declared does not count here: a container that was started otherwise does.
func (p *Pair) exposedSchemas(ctx context.Context) ([]string, error) {
	stdout, stderr, err := p.Production.script(ctx, `c=$(docker ps -q --filter label=com.docker.compose.project=supabase --filter label=com.docker.compose.service=rest) &&
[ -n "$c" ] && docker inspect --format '{{range .Config.Env}}{{println .}}{{end}}' "$c" | sed -n 's/^PGRST_DB_SCHEMAS=//p'`)
	if err != nil {
		return nil, err
	}
	var schemas []string
	for name := range strings.SplitSeq(strings.TrimSpace(string(stdout)), ",") {
		if name = strings.TrimSpace(name); name != "" {
			schemas = append(schemas, name)
		}
	}
	if len(schemas) == 0 {
		return nil, fmt.Errorf("which schemas the API exposes is unknown: no running rest container says so %s", strings.TrimSpace(string(stderr)))
	}
	return schemas, nil
}
