package collect

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"holdfast/verify"
)

func readDocker(a answers, s *verify.Server) error {
	info, err := a.ok("docker-info")
	if err != nil {
		return err
	}
	if strings.TrimSpace(info) == "" {
		s.Docker = &verify.Docker{}
		return nil
	}
	config, err := a.ok("docker-config")
	if err != nil {
		return err
	}
	host, err := a.ok("docker-host")
	if err != nil {
		return err
	}
	docker, err := parseDockerInfo([]byte(info))
	if err != nil {
		return err
	}
	if err := parseDaemonConfig([]byte(config), docker); err != nil {
		return err
	}
	if err := parseDockerHost(host, docker); err != nil {
		return err
	}
	s.Docker = docker
	return nil
}

// parseDockerHost adds what the docker-host probe saw of the engine's processes
// and files.
func parseDockerHost(text string, docker *verify.Docker) error {
	docker.Proxies, docker.Files = -1, []verify.File{}
	for line := range strings.Lines(text) {
		word, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		fields := strings.Fields(rest)
		switch {
		case word == "proxies" && len(fields) == 1:
			n, err := strconv.Atoi(fields[0])
			if err != nil || n < 0 {
				return fmt.Errorf("unreadable process count %q", line)
			}
			docker.Proxies = n
		case word == "sshd" && len(fields) == 0:
			docker.SSHServers++
		case word == "socket" && len(fields) == 3:
			docker.SocketMode, docker.SocketOwner, docker.SocketGroup = octal(fields[0]), fields[1], fields[2]
		case word == "file":
			files, err := parseFiles(rest)
			if err != nil || len(files) != 1 {
				return fmt.Errorf("unreadable file line %q", line)
			}
			docker.Files = append(docker.Files, files[0])
		default:
			return fmt.Errorf("unreadable line %q", line)
		}
	}
	if docker.Proxies < 0 {
		return errors.New("the engine's processes were not counted")
	}
	return nil
}

// parseDockerInfo reads "docker info" as JSON. The client prints it also when
// the daemon does not answer, with the reason in ServerErrors.
func parseDockerInfo(data []byte) (*verify.Docker, error) {
	var info struct {
		ServerVersion      string
		Driver             string
		ServerErrors       []string
		LiveRestoreEnabled bool
		SecurityOptions    []string
		LoggingDriver      string
		ExperimentalBuild  bool
		Swarm              struct{ LocalNodeState string }
		RegistryConfig     struct{ InsecureRegistryCIDRs []string }
	}
	if err := json.Unmarshal(data, &info); err != nil {
		return nil, fmt.Errorf("read docker info: %w", err)
	}
	if len(info.ServerErrors) > 0 {
		return nil, fmt.Errorf("the Docker daemon did not answer: %s", info.ServerErrors[0])
	}
	if info.ServerVersion == "" {
		return nil, fmt.Errorf("docker info does not name the daemon's version")
	}
	docker := &verify.Docker{
		Installed: true, Version: info.ServerVersion, LiveRestore: info.LiveRestoreEnabled,
		SecurityOptions: append([]string{}, info.SecurityOptions...), LoggingDriver: info.LoggingDriver, StorageDriver: info.Driver,
		Experimental: info.ExperimentalBuild, Swarm: info.Swarm.LocalNodeState == "active", InsecureRemotes: []string{},
	}
	for _, network := range info.RegistryConfig.InsecureRegistryCIDRs {
		if prefix, err := netip.ParsePrefix(network); err != nil || !prefix.Addr().IsLoopback() {
			docker.InsecureRemotes = append(docker.InsecureRemotes, network)
		}
	}
	return docker, nil
}

// parseDaemonConfig adds /etc/docker/daemon.json; an absent file is empty.
func parseDaemonConfig(data []byte, docker *verify.Docker) error {
	docker.Config, docker.LogOptions = map[string]string{}, map[string]string{}
	if strings.TrimSpace(string(data)) == "" {
		return nil
	}
	var config map[string]json.RawMessage
	if err := json.Unmarshal(data, &config); err != nil {
		return fmt.Errorf("read daemon.json: %w", err)
	}
	for name, raw := range config {
		var text string
		if json.Unmarshal(raw, &text) != nil {
			text = string(raw)
		}
		docker.Config[name] = text
	}
	if raw, ok := config["log-opts"]; ok {
		if err := json.Unmarshal(raw, &docker.LogOptions); err != nil {
			return fmt.Errorf("read log-opts of daemon.json: %w", err)
		}
	}
	return nil
}
