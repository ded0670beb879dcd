package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"

	"holdfast/internal/lab"
)

// The servers beside lab.Production and lab.Audit, which are Holdfast's.
const (
	plain  = "plain"
	devsec = "devsec"
)

// A server is one that is being judged.
type server struct {
	lab.Server
	name string
}

// on runs a script as root inside the server, past sshd. The error of a script
// that exits with a status is an *exec.ExitError.
func (s server) on(ctx context.Context, script string) (stdout, stderr []byte, err error) {
	return inContainer(ctx, s.Container, script)
}

func inContainer(ctx context.Context, container, script string) (stdout, stderr []byte, err error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, "docker", "exec", "-i", container, "sh", "-s")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(script), &out, &errs
	err = cmd.Run()
	return out.Bytes(), errs.Bytes(), err
}

// mustOn is on for scripts that have to succeed.
func (s server) mustOn(ctx context.Context, what, script string) (string, error) {
	stdout, stderr, err := s.on(ctx, script)
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", what, err, bytes.TrimSpace(append(stdout, stderr...)))
	}
	return string(stdout), nil
}

// aptGet is how all servers install the judges.
const aptGet = "export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1; apt-get -q -y -o DPkg::Lock::Timeout=120 -o APT::Install-Recommends=false "

// judge fills in what Lynis, ssh-audit and docker-bench say of the server.
func (s server) judge(ctx context.Context, c *Column) error {
	say("%s: installing the judges", s.name)
	// New lists: security updates are judged, and a lab's server has none yet.
	if _, err := s.mustOn(ctx, "install lynis and ssh-audit", aptGet+"update && "+aptGet+"install lynis ssh-audit"); err != nil {
		return err
	}
	var err error
	if c.Lynis, err = s.lynis(ctx); err != nil {
		return err
	}
	if c.SSHAudit, err = s.sshAudit(ctx); err != nil {
		return err
	}
	switch s.name {
	case lab.Audit:
		return nil // no Docker
	case plain, devsec:
		if _, err := s.mustOn(ctx, "install Docker", aptGet+"install docker.io docker-cli iptables"); err != nil {
			return err
		}
	}
	c.DockerBench, err = s.dockerBench(ctx)
	return err
}
