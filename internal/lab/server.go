package lab

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	_ "embed"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// boot is the first program of a server; it hands over to systemd.
//
//go:embed boot.sh
var boot string

// How long a server may take from its start until it accepts SSH connections.
const bootTimeout = time.Minute

// labLabel is the label by which the engine finds what belongs to a lab.
const labLabel = "holdfast.lab"

// recipe is everything that goes into one server.
type recipe struct {
	lab, role, image string
	authorized       []byte // line of root's authorized_keys
	machine          machine
	server           Server // without its host key
}

// create makes a server anew, replacing one that is in its place, and waits
// until it accepts SSH connections.
func create(ctx context.Context, r recipe) (Server, error) {
	// A leftover that does not exist is no error with --force, except to
	// engines that are old: creating will then say what is wrong.
	server := r.server
	_, _ = docker(ctx, nil, "rm", "--force", "--volumes", server.Container)

	files, fingerprint, err := firstFiles(r)
	if err != nil {
		return Server{}, err
	}
	args := []string{"create",
		"--name", server.Container, "--hostname", r.role, "--label", labLabel + "=" + r.lab,
		"--network", r.lab, "--ip", server.Address,
		"--cap-add", "ALL",
		"--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
		"--security-opt", "systempaths=unconfined", "--cgroupns", "private",
		"--tmpfs", "/run:exec", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec",
		// overlayfs cannot lie on overlayfs: the engine inside needs a real one.
		"--volume", "/var/lib/docker",
		"--env", "container=docker", "--stop-signal", "SIGRTMIN+3",
		// A reboot ends the first program, and the engine starts it anew.
		"--restart", "on-failure",
	}
	for _, c := range r.machine.dropCaps {
		args = append(args, "--cap-drop", c)
	}
	args = append(args, r.image, "/bin/sh", "-c", boot, "boot", r.role, server.Address, server.Address6, r.machine.resolv)
	if _, err := docker(ctx, nil, args...); err != nil {
		return Server{}, err
	}
	if server.Private != "" {
		if _, err := docker(ctx, nil, "network", "connect", "--ip", server.Private, privateNetwork(r.lab), server.Container); err != nil {
			return Server{}, err
		}
	}
	if _, err := docker(ctx, files, "cp", "-", server.Container+":/"); err != nil {
		return Server{}, err
	}
	server.HostKeyFingerprint = fingerprint
	if err := start(ctx, server); err != nil {
		return Server{}, err
	}
	return server, nil
}

// start starts a server that is not running and waits until it accepts SSH
// connections.
func start(ctx context.Context, s Server) error {
	if _, err := docker(ctx, nil, "start", s.Container); err != nil {
		return err
	}
	return awaitBoot(ctx, s)
}

// awaitBoot waits until a server that was started, or is about to be by the
// engine after a reboot, has booted and accepts SSH connections.
func awaitBoot(ctx context.Context, s Server) error {
	ctx, cancel := context.WithTimeoutCause(ctx, bootTimeout, fmt.Errorf("it did not boot within %s", bootTimeout))
	defer cancel()
	// Reading process 1's name is all that may be done before the kernel's
	// settings are known to be hidden, which is when it becomes systemd.
	const booted = `until [ "$(cat /proc/1/comm)" = systemd ] && systemctl is-system-running --wait | grep -qE '^(running|degraded)$'; do sleep 0.1; done`
	for {
		_, err := docker(ctx, nil, "exec", s.Container, "/bin/sh", "-c", booted)
		if err == nil {
			return awaitSSH(ctx, net.JoinHostPort(s.Address, "22"))
		}
		state, _ := docker(ctx, nil, "inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", s.Container)
		if ctx.Err() != nil {
			return err
		}
		if state == "exited 0" { // the first program has refused
			return errors.New(logs(ctx, s.Container))
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// logs returns the last lines that a container's first program wrote.
func logs(ctx context.Context, container string) string {
	out, err := exec.CommandContext(ctx, "docker", "logs", "--tail", "5", container).CombinedOutput()
	if err != nil {
		return ""
	}
	return tail(out)
}

// awaitSSH waits for an SSH greeting at address.
func awaitSSH(ctx context.Context, address string) error {
	for {
		greeting, err := greet(ctx, address)
		if err == nil && strings.HasPrefix(greeting, "SSH-2.0-") {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for SSH at %s: %w (last: %v)", address, context.Cause(ctx), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func greet(ctx context.Context, address string) (string, error) {
	dialer := net.Dialer{Timeout: 2 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	return bufio.NewReader(conn).ReadString('\n')
}

// firstFiles returns, as a tar archive, the files that a server has before its
// first boot, and the fingerprint of the host key among them.
func firstFiles(r recipe) (archive *bytes.Buffer, fingerprint string, err error) {
	private, public, err := newKey("root@" + r.role)
	if err != nil {
		return nil, "", fmt.Errorf("make a host key: %w", err)
	}
	archive = new(bytes.Buffer)
	w := tar.NewWriter(archive)
	add := func(name string, mode fs.FileMode, content []byte) {
		header := &tar.Header{Name: name, Mode: int64(mode), Size: int64(len(content)), ModTime: time.Now()}
		if strings.HasSuffix(name, "/") {
			header.Typeflag = tar.TypeDir
		}
		if err == nil {
			err = w.WriteHeader(header)
		}
		if err == nil {
			_, err = w.Write(content)
		}
	}
	add("etc/ssh/ssh_host_ed25519_key", 0o600, private)
	add("etc/ssh/ssh_host_ed25519_key.pub", 0o644, ssh.MarshalAuthorizedKey(public))
	add("root/.ssh/", 0o700, nil)
	add("root/.ssh/authorized_keys", 0o600, r.authorized)
	path, text := r.machine.mirrors.sources(r.server.System)
	add(path, 0o644, []byte(text))
	if r.machine.aptConf != "" {
		add("etc/apt/apt.conf.d/90machine", 0o644, []byte(r.machine.aptConf))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, "", fmt.Errorf("pack the server's first files: %w", err)
	}
	return archive, ssh.FingerprintSHA256(public), nil
}

// newKey makes an Ed25519 key pair; the private half is in OpenSSH's format.
func newKey(comment string) (private []byte, public ssh.PublicKey, err error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	block, err := ssh.MarshalPrivateKey(key, comment)
	if err != nil {
		return nil, nil, err
	}
	public, err = ssh.NewPublicKey(key.Public())
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(block), public, nil
}

// privateNetwork is the engine's name of a lab's second network.
func privateNetwork(lab string) string { return lab + "-private" }

// networks makes the lab's networks unless they are there.
func (l *Lab) networks(ctx context.Context) error {
	found, err := docker(ctx, nil, "network", "ls", "--filter", "label="+labLabel+"="+l.Name, "--format", "{{.Name}}")
	if err != nil {
		return err
	}
	names := strings.Fields(found)
	create := func(name, subnet string, options ...string) error {
		if slices.Contains(names, name) {
			return nil
		}
		args := []string{"network", "create", "--label", labLabel + "=" + l.Name, "--subnet", subnet, "--gateway", host(subnet, 1),
			"--opt", "com.docker.network.driver.mtu=" + mtu()}
		if _, err := docker(ctx, nil, append(append(args, options...), name)...); err != nil {
			return fmt.Errorf("make the network %s: %w (another lab may be up on it)", subnet, err)
		}
		return nil
	}
	if err := create(l.Name, l.Subnet); err != nil {
		return err
	}
	if l.Subnet6 != "" {
		if err := l.joinIPv6(ctx); err != nil {
			return fmt.Errorf("give this machine an address in %s: %w", l.Subnet6, err)
		}
	}
	if l.Private != "" {
		return create(privateNetwork(l.Name), l.Private, "--internal")
	}
	return nil
}

// joinIPv6 gives this machine an address in the lab's IPv6 network. It is not
// left to the engine, which would have this machine forward IPv6 for all.
func (l *Lab) joinIPv6(ctx context.Context) error {
	id, err := docker(ctx, nil, "network", "inspect", "--format", "{{.Id}}", l.Name)
	if err != nil {
		return err
	}
	ip := exec.CommandContext(ctx, "ip", "-6", "address", "replace", host(l.Subnet6, 1)+"/64", "dev", "br-"+id[:min(12, len(id))], "nodad")
	ip.Env = append(os.Environ(), adminPath())
	if out, err := ip.CombinedOutput(); err != nil {
		return fmt.Errorf("ip address: %w: %s", err, tail(out))
	}
	return nil
}

// containers returns the state of each container of the lab by its name.
func containers(ctx context.Context, lab string) (map[string]string, error) {
	out, err := docker(ctx, nil, "ps", "--all", "--filter", "label="+labLabel+"="+lab, "--format", "{{.Names}} {{.State}}")
	if err != nil {
		return nil, err
	}
	states := map[string]string{}
	for line := range strings.Lines(out) {
		name, state, _ := strings.Cut(strings.TrimSpace(line), " ")
		states[name] = state
	}
	return states, nil
}

// removeAll removes the lab's containers with their volumes, and its network.
func removeAll(ctx context.Context, lab string) error {
	states, err := containers(ctx, lab)
	if err != nil {
		return err
	}
	if len(states) > 0 {
		args := []string{"rm", "--force", "--volumes"}
		for name := range states {
			args = append(args, name)
		}
		if _, err := docker(ctx, nil, args...); err != nil {
			return err
		}
	}
	networks, err := docker(ctx, nil, "network", "ls", "--quiet", "--filter", "label="+labLabel+"="+lab)
	if err != nil || networks == "" {
		return err
	}
	_, err = docker(ctx, nil, append([]string{"network", "rm"}, strings.Fields(networks)...)...)
	return err
}
