package hardening

import "holdfast/provision"

// docker is the engine that runs the stacks. The audit server needs none.
func docker(role string) []provision.Resource {
	if role != production {
		return nil
	}
	about := provision.About{Concern: "docker", Why: "the stacks run in containers, under a daemon with safe defaults"}
	return []provision.Resource{
		// Written before the package, which starts the daemon as it is installed.
		provision.File{About: about, Path: "/etc/docker/daemon.json", Content: template("daemon.json"),
			Check:   "! command -v dockerd >/dev/null || dockerd --validate --config-file=%s",
			Actions: []string{"restart docker.service"}},
		provision.Packages{About: about, Names: []string{"docker.io", "iptables"}, ByOS: map[string][]string{
			"debian 13":    {"docker-cli", "docker-compose"},
			"ubuntu 24.04": {"docker-compose-v2"},
			"ubuntu 22.04": {"docker-compose-v2"},
		}},
		provision.Unit{About: about, Name: "containerd.service", State: provision.Running},
		provision.Unit{About: about, Name: "docker.service", State: provision.Running},
	}
}
