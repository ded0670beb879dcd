package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// How long a Docker engine may take to answer after its start.
const engineTimeout = time.Minute

// Engine makes sure that a Docker engine answers. When none does and this
// process is root, it starts one: through systemd where that runs, otherwise
// dockerd itself, detached, which then outlives this process and logs to
// dockerd.log in the state folder. Down leaves it running: other containers
// may have come to depend on it.
func Engine(ctx context.Context) error {
	if _, err := exec.LookPath("docker"); err != nil {
		return errors.New("the lab needs Docker, and there is no docker command: install it, on Debian with apt-get install docker.io")
	}
	if answers(ctx) {
		return nil
	}
	unlock, err := lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if answers(ctx) { // started by another process meanwhile
		return nil
	}
	if host := os.Getenv("DOCKER_HOST"); host != "" && !strings.HasPrefix(host, "unix://") {
		return fmt.Errorf("the lab needs a Docker engine on this machine, and DOCKER_HOST points to %s, which does not answer", host)
	}
	if os.Geteuid() != 0 {
		return errors.New("no Docker engine answers this user: start one, or run as root to have it started")
	}
	return startEngine(ctx)
}

// answers reports whether a Docker engine answers.
func answers(ctx context.Context) bool {
	_, err := docker(ctx, nil, "version", "--format", "{{.Server.Version}}")
	return err == nil
}

func startEngine(ctx context.Context) error {
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		if out, err := exec.CommandContext(ctx, "systemctl", "start", "docker").CombinedOutput(); err != nil {
			return fmt.Errorf("start Docker: systemctl: %w: %s", err, tail(out))
		}
		return awaitEngine(ctx, nil, "")
	}
	path, err := program("dockerd")
	if err != nil {
		return errors.New("no Docker engine answers, and there is no dockerd to start: install it, on Debian with apt-get install docker.io")
	}
	dropStalePid("/var/run/docker.pid")
	root, err := stateRoot()
	if err != nil {
		return err
	}
	logPath := filepath.Join(root, "dockerd.log")
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("start dockerd: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(path) // not bound to ctx: it is to outlive this process
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), adminPath()) // it calls iptables
	cmd.Stdout, cmd.Stderr = log, log
	detach(cmd)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start dockerd: %w", err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	return awaitEngine(ctx, exited, logPath)
}

// adminFolders hold the programs of administrators, which Debian keeps off the
// path of those who became root by su.
const adminFolders = "/usr/local/sbin:/usr/sbin:/sbin"

// adminPath returns PATH=… with those folders in it.
func adminPath() string { return "PATH=" + os.Getenv("PATH") + ":" + adminFolders }

// program finds a program that may be for administrators.
func program(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	for _, folder := range filepath.SplitList(adminFolders) {
		if path, err := exec.LookPath(filepath.Join(folder, name)); err == nil {
			return path, nil
		}
	}
	return "", err
}

// awaitEngine waits until the engine answers, its process has exited or time
// is up.
func awaitEngine(ctx context.Context, exited <-chan error, logPath string) error {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	for !answers(ctx) {
		select {
		case err := <-exited:
			log, _ := os.ReadFile(logPath)
			return fmt.Errorf("start dockerd: it ended (%v): %s (all of it: %s)", err, tail(log), logPath)
		case <-ctx.Done():
			return fmt.Errorf("start Docker: the engine did not answer: %w", context.Cause(ctx))
		case <-time.After(200 * time.Millisecond):
		}
	}
	return nil
}

// dropStalePid removes the pid file that an engine left behind when this
// machine went down under it: dockerd will not start while any process has
// that number.
func dropStalePid(path string) {
	content, err := os.ReadFile(path)
	if err != nil {
		return
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		return
	}
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil || strings.TrimSpace(string(comm)) != "dockerd" {
		_ = os.Remove(path) // if it stays, dockerd says so
	}
}

// docker runs one command of the docker client and returns its standard
// output without the space around it.
func docker(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return "", fmt.Errorf("docker %s: %w: %s", args[0], err, tail(stderr.Bytes()))
	}
	return strings.TrimSpace(stdout.String()), nil
}

// tail returns the last lines of a program's output, for an error message.
func tail(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) > 8 {
		lines = lines[len(lines)-8:]
	}
	return strings.Join(lines, "\n")
}
