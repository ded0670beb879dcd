package hardening

import (
	"encoding/json"
	"fmt"
	"strconv"

	"holdfast/provision"
)

// docker is the engine that runs the stacks. The audit server needs none.
func docker(on target) []provision.Resource {
	about := provision.About{Concern: "docker", Why: "the stacks run in containers, under a daemon with safe defaults"}
	return []provision.Resource{
		// Written before the package, which starts the daemon as it is installed.
		provision.File{About: about, Path: "/etc/docker/daemon.json", Content: daemon(on),
			Check:   "! command -v dockerd >/dev/null || dockerd --validate --config-file=%s",
			Actions: []string{"restart docker.service"}},
		// What Docker's own repository has brought is as good. Debian 12 lacks
		// Compose v2, and has it from there or not at all.
		provision.Packages{About: about, Names: []string{"iptables"}, ByOS: map[string][]string{
			"debian 13":    {"docker.io | docker-ce", "docker-cli | docker-ce-cli", "docker-compose | docker-compose-plugin"},
			"debian 12":    {"docker-ce | docker.io", "docker-compose-plugin"},
			"ubuntu 24.04": {"docker.io | docker-ce", "docker-compose-v2 | docker-compose-plugin"},
			"ubuntu 22.04": {"docker.io | docker-ce", "docker-compose-v2 | docker-compose-plugin"},
		}},
		provision.Unit{About: about, Name: "containerd.service", State: provision.Running},
		provision.Unit{About: about, Name: "docker.service", State: provision.Running},
		provision.Group{About: provision.About{Concern: "docker", Why: "who may talk to Docker is root"}, Name: "docker", Members: []string{}},
	}
}

// daemon is the text of daemon.json. There is no "hosts": the engine listens on
// its socket alone.
func daemon(on target) string {
	tuned := on.Hardening.Docker
	settings := map[string]any{
		"icc":               false,       // containers talk over declared networks only
		"ip":                "127.0.0.1", // what is published without an address stays here
		"iptables":          true,        // else there is no NAT, and no isolation of networks
		"live-restore":      true,        // containers outlive the daemon's restarts
		"log-driver":        "local",
		"log-opts":          map[string]string{"max-file": strconv.Itoa(tuned.LogFiles), "max-size": fmt.Sprintf("%dm", tuned.LogMiB)},
		"no-new-privileges": true,
		"userland-proxy":    false, // it would answer past the firewall
	}
	if len(tuned.Mirrors) > 0 {
		settings["registry-mirrors"] = tuned.Mirrors
	}
	if len(tuned.AddressPools) > 0 {
		var pools []map[string]any
		for _, base := range tuned.AddressPools {
			pools = append(pools, map[string]any{"base": base, "size": 24})
		}
		settings["default-address-pools"] = pools
	}
	text, err := json.MarshalIndent(settings, "", "  ")
	if err != nil {
		panic(err) // plain maps
	}
	return string(text) + "\n"
}
