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
	b := countBench(rules.Rules(), rules.Evaluate(facts, time.Now(), verify.LayerServer))
	if b.Checked == 0 {
		return nil, errors.New("no rule of the baseline names docker-bench")
	}
	say("%s: docker-bench warns of %s", s.name, strings.Join(b.Warn, " "))
	return b, nil
}

// countBench translates what became of the rules into docker-bench's numbers.
// A rule that could not be decided is not a pass.
func countBench(rules []baseline.Rule, result baseline.Result) *DockerBench {
	b := &DockerBench{Warn: []string{}, Audit: []string{}}
	verdicts := map[string]baseline.Verdict{}
	for _, o := range result.Outcomes {
		verdicts[o.Rule] = o.Verdict
	}
	numbers := map[string]bool{} // whether it warns
	for _, rule := range rules {
		verdict, evaluated := verdicts[rule.ID]
		if !evaluated || verdict == baseline.Skipped {
			continue
		}
		for _, reference := range rule.References {
			if m := benchNumber.FindStringSubmatch(reference); m != nil {
				numbers[m[1]] = numbers[m[1]] || verdict != baseline.Pass
			}
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
	return b
}
