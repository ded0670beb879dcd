package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
)

// SSHAudit is how much ssh-audit finds wrong with what sshd offers: the lines
// marked [fail] and [warn] in its output.
type SSHAudit struct {
	Version  string `json:"version"`
	Failures int    `json:"fail"`
	Warnings int    `json:"warn"`
}

func (s server) sshAudit(ctx context.Context) (*SSHAudit, error) {
	say("%s: ssh-audit", s.name)
	// From inside: the firewall lets nobody try as often as the test of the rate
	// and of the moduli wants to. The exit status tells of findings.
	out, stderr, err := s.on(ctx, "ssh-audit --json --skip-rate-test 127.0.0.1")
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return nil, fmt.Errorf("run ssh-audit: %w", err)
	}
	a, err := parseSSHAudit(out)
	if err != nil {
		return nil, fmt.Errorf("read ssh-audit's answer: %w: %s", err, stderr)
	}
	version, err := s.mustOn(ctx, "ask for ssh-audit's version", "dpkg-query -W -f '${Version}' ssh-audit | sed 's/-.*//; s/\\.0$//'")
	a.Version = version
	say("%s: ssh-audit fails %d and warns of %d", s.name, a.Failures, a.Warnings)
	return a, err
}

// parseSSHAudit counts the notes on each algorithm in ssh-audit's JSON.
func parseSSHAudit(data []byte) (*SSHAudit, error) {
	type algorithm struct {
		Notes struct {
			Fail []string `json:"fail"`
			Warn []string `json:"warn"`
		} `json:"notes"`
	}
	var report struct {
		Kex []algorithm `json:"kex"`
		Key []algorithm `json:"key"`
		Enc []algorithm `json:"enc"`
		MAC []algorithm `json:"mac"`
	}
	if err := json.Unmarshal(data, &report); err != nil {
		return nil, err
	}
	if len(report.Kex) == 0 || len(report.Key) == 0 {
		return nil, errors.New("it names no algorithms: there was no connection to sshd")
	}
	var a SSHAudit
	for _, list := range [][]algorithm{report.Kex, report.Key, report.Enc, report.MAC} {
		for _, algorithm := range list {
			a.Failures += len(algorithm.Notes.Fail)
			a.Warnings += len(algorithm.Notes.Warn)
		}
	}
	return &a, nil
}
