package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"

	"holdfast/verify"
	"holdfast/verify/baseline"
	"holdfast/verify/collect"
)

// DockerBench are the checks of docker-bench-security that end in WARN, by
// number, as the rules of the baseline that stand for them see it.
type DockerBench struct {
	Checked int      `json:"checked"` // numbers that have a rule
	Warn    []string `json:"warn"`
	// Audit are those of Warn that want the kernel's audit log, which a container
	// can't have.
	Audit []string `json:"audit"`
}

// benchNumber finds the checks that a rule's reference names.
var benchNumber = regexp.MustCompile(`^docker-bench (\d+(?:\.\d+)+)$`)

func (s server) dockerBench(ctx context.Context) (*DockerBench, error) {
	say("%s: docker-bench", s.name)
	rules, err := baseline.Load(nil, "")
	if err != nil {
		return nil, err
	}
	facts, err := collect.Run(ctx, collect.Input{
		Environment: s.name, DeployUser: "root",
		Servers: []collect.Server{{
			Role: verify.Production, Address: s.Address,
			Run: func(ctx context.Context, script string) ([]byte, []byte, error) {
				out, stderr, err := s.on(ctx, script)
				if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
					err = nil
				}
				return out, stderr, err
			},
			Dial: func(context.Context, string, string) (net.Conn, error) {
				return nil, errors.New("nothing but the server is judged")
			},
		}},
	}, time.Minute)
	if err != nil {
		return nil, err
	}
	if facts.Servers[verify.Production] == nil {
		return nil, fmt.Errorf("nothing could be observed: %v", facts.Errors)
	}
	b, err := countBench(rules.Rules(), rules.Evaluate(facts, time.Now(), verify.LayerServer))
	if err != nil {
		return nil, err
	}
	if b.Checked == 0 {
		return nil, errors.New("no rule of the baseline names docker-bench")
	}
	say("%s: docker-bench warns of %s", s.name, strings.Join(b.Warn, " "))
	return b, nil
}

// countBench translates what the rules say of the server into docker-bench's
// numbers. It is an error when one of those rules could not be decided.
func countBench(rules []baseline.Rule, result baseline.Result) (*DockerBench, error) {
	b := &DockerBench{Warn: []string{}, Audit: []string{}}
	fails := map[string]bool{}
	undecided := map[string]string{}
	for _, f := range result.Findings {
		switch {
		case f.Server == verify.Audit: // is not there
		case f.Verdict == baseline.Error:
			undecided[f.Rule] = f.Message
		default:
			fails[f.Rule] = true
		}
	}
	applies := map[string]bool{}
	for _, o := range result.Outcomes {
		applies[o.Rule] = o.Verdict != baseline.Skipped
	}
	numbers := map[string]bool{} // whether it warns
	for _, rule := range rules {
		if !applies[rule.ID] {
			continue
		}
		for _, reference := range rule.References {
			m := benchNumber.FindStringSubmatch(reference)
			if m == nil {
				continue
			}
			if why, ok := undecided[rule.ID]; ok {
				return nil, fmt.Errorf("check %s: rule %s %s", m[1], rule.ID, why)
			}
			numbers[m[1]] = numbers[m[1]] || fails[rule.ID]
		}
	}
	b.Checked = len(numbers)
	for number, warns := range numbers {
		if !warns {
			continue
		}
		b.Warn = append(b.Warn, number)
		// Section 1.1 of the host's configuration is auditing, but for 1.1.1, a
		// partition, and 1.1.2, the docker group.
		if strings.HasPrefix(number, "1.1.") && number != "1.1.1" && number != "1.1.2" {
			b.Audit = append(b.Audit, number)
		}
	}
	byNumber := func(a, b string) int {
		return slices.CompareFunc(strings.Split(a, "."), strings.Split(b, "."), func(a, b string) int {
			if len(a) != len(b) {
				return len(a) - len(b)
			}
			return strings.Compare(a, b)
		})
	}
	slices.SortFunc(b.Warn, byNumber)
	slices.SortFunc(b.Audit, byNumber)
	return b, nil
}
