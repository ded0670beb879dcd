package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"holdfast/internal/lab"
)

// timeDevsec runs dev-sec's two roles with their defaults, from a controller
// that is a container of the servers' image: ansible-core and the collections
// that dev-sec's builds on come from Debian.
func (s settings) timeDevsec(ctx context.Context, l *lab.Lab, servers map[string]server, c *Column) (err error) {
	target := servers[devsec]
	image, err := docker(ctx, "inspect", "--format", "{{.Config.Image}}", target.Container)
	if err != nil {
		return err
	}
	controller := l.Name + "-controller"
	if _, err := docker(ctx, "rm", "--force", "--volumes", controller); err != nil {
		return err
	}
	// In this machine's network: the far-away server answers on its loopback.
	if _, err := docker(ctx, "run", "--detach", "--name", controller, "--network", "host", "--entrypoint", "sleep", image, "infinity"); err != nil {
		return err
	}
	defer func() {
		if _, rmErr := docker(context.WithoutCancel(ctx), "rm", "--force", "--volumes", controller); rmErr != nil {
			err = errors.Join(err, rmErr)
		}
	}()
	say("%s: installing Ansible on its controller", devsec)
	in := func(what, script string) error {
		stdout, stderr, err := inContainer(ctx, controller, script)
		if err != nil {
			return fmt.Errorf("%s: %w: %s", what, err, tail(append(stdout, stderr...)))
		}
		return nil
	}
	// Packages come from where the servers get theirs.
	sources, err := servers[plain].mustOn(ctx, "read the package sources", "tar -C /etc -c apt | base64")
	if err != nil {
		return err
	}
	if err := in("install Ansible", fmt.Sprintf("base64 -d <<'END' | tar -C /etc -x || exit\n%s\nEND\n%supdate && %sinstall ansible-core ansible openssh-client",
		sources, aptGet, aptGet)); err != nil {
		return err
	}
	for from, to := range map[string]string{filepath.Join(s.devsec, "ansible_collections"): "/root/ansible_collections", l.Key: "/root/key"} {
		if _, err := docker(ctx, "cp", from, controller+":"+to); err != nil {
			return err
		}
	}
	if err := in("write the playbook", `chown -R root:root /root/key /root/ansible_collections && chmod 600 /root/key
cat > /root/play.yml <<'END'
- hosts: all
  become: true
  roles: [devsec.hardening.os_hardening, devsec.hardening.ssh_hardening]
END`); err != nil {
		return err
	}
	// The roles forbid root's login and make no other user.
	key, err := outputOf(ctx, controller, "ssh-keygen -y -f /root/key")
	if err != nil {
		return err
	}
	if _, err := target.mustOn(ctx, "make a user", fmt.Sprintf(`useradd -m -s /bin/bash deploy && install -d -m 700 -o deploy -g deploy ~deploy/.ssh &&
echo %q > ~deploy/.ssh/authorized_keys && chown deploy: ~deploy/.ssh/authorized_keys && echo 'deploy ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/deploy`, key)); err != nil {
		return err
	}

	play := func(address string, pipelining bool) (time.Duration, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return 0, err
		}
		script := fmt.Sprintf(`cd /root && export LC_ALL=C.UTF-8 ANSIBLE_COLLECTIONS_PATH=/root ANSIBLE_HOST_KEY_CHECKING=False ANSIBLE_PIPELINING=%t
exec ansible-playbook -i 'judged,' -e ansible_host=%s -e ansible_port=%s -u deploy --private-key key play.yml`, pipelining, host, port)
		began := time.Now()
		if err := in("run the playbook", script); err != nil {
			return 0, err
		}
		took := time.Since(began)
		say("%s: pipelining %t: %.0f s", devsec, pipelining, took.Seconds())
		return took, nil
	}
	near := net.JoinHostPort(target.Address, "22")
	if c.First, err = play(near, false); err != nil {
		return err
	}
	if c.NoOp, err = play(near, false); err != nil {
		return err
	}
	if c.Pipelined, err = play(near, true); err != nil {
		return err
	}
	proxy, err := lab.Delay(near, distance)
	if err != nil {
		return err
	}
	defer proxy.Close()
	if c.Distant, err = play(proxy.Addr, false); err != nil {
		return err
	}
	c.RoundTrips = proxy.Stats().RoundTrips
	c.DistantPipelined, err = play(proxy.Addr, true)
	return err
}

func outputOf(ctx context.Context, container, script string) (string, error) {
	out, stderr, err := inContainer(ctx, container, script)
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, tail(stderr))
	}
	return strings.TrimSpace(string(out)), nil
}

func docker(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "docker", args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", args[0], err, tail(out))
	}
	return strings.TrimSpace(string(out)), nil
}

// tail is the end of a program's output, for an error.
func tail(out []byte) []byte {
	out = bytes.TrimSpace(out)
	return out[max(0, len(out)-2000):]
}
