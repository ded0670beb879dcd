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
	Checked int      `json:"checked"` // of those that docker-bench can end in WARN
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
	b, err := countBench(baseline.DockerBench(), rules.Rules(), rules.Evaluate(facts, time.Now(), verify.LayerServer))
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
// numbers. A check that no rule stands for, because it warns of any server, warns
// of this one. It is an error when one of those rules could not be decided.
func countBench(checks []baseline.BenchCheck, rules []baseline.Rule, result baseline.Result) (*DockerBench, error) {
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
	ruled := map[string]bool{}
	for _, rule := range rules {
		for _, reference := range rule.References {
			m := benchNumber.FindStringSubmatch(reference)
			if m == nil {
				continue
			}
			ruled[m[1]] = true
			if !applies[rule.ID] {
				continue
			}
			why, unknown := undecided[rule.ID]
			if unknown && !audits(m[1]) {
				return nil, fmt.Errorf("check %s: rule %s %s", m[1], rule.ID, why)
			}
			numbers[m[1]] = numbers[m[1]] || fails[rule.ID] || unknown
		}
	}
	for _, check := range checks {
		if check.Warns && !ruled[check.ID] {
			numbers[check.ID] = true
		}
	}
	b.Checked = len(numbers)
	for number, warns := range numbers {
		if !warns {
			continue
		}
		b.Warn = append(b.Warn, number)
		if audits(number) {
			b.Audit = append(b.Audit, number)
		}
	}
	b.sort()
	return b, nil
}

// sort orders the checks by number.
func (b *DockerBench) sort() {
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
}

// audits reports whether a check wants the kernel's audit log: those of section
// 1.1 do, but for 1.1.1, a partition, and 1.1.2, the docker group.
func audits(number string) bool {
	return strings.HasPrefix(number, "1.1.") && number != "1.1.1" && number != "1.1.2"
}
