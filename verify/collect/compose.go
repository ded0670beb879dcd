package collect

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"holdfast/verify"
)

// compose makes the compose facts of production's answers.
func (c *collection) compose(a answers) {
	facts := &verify.Compose{}
	containers, err := a.ok("containers")
	if err == nil {
		facts.Containers, err = parseContainers(containers)
	}
	if err != nil {
		c.failed(verify.LayerCompose, verify.Production, "compose", err)
		return
	}
	networks, err := a.ok("networks")
	if err == nil {
		facts.Networks, err = parseNetworks(networks)
	}
	if err != nil {
		c.failed(verify.LayerCompose, verify.Production, "compose", err)
		return
	}
	if c.in.Images == nil {
		c.failed(verify.LayerCompose, "", "compose.release", errors.New("the release's images were not given"))
	} else {
		facts.Release = expect(c.in.Images, facts.Containers)
	}
	c.set(func(f *verify.Facts) { f.Compose = facts })
}

// expect compares the containers with the release: it notes in each what was
// declared for it, and returns what is declared but missing.
func expect(images map[string]string, containers []verify.Container) *verify.Expected {
	expected := &verify.Expected{Images: images, Missing: []string{}}
	running := map[string]bool{}
	for i := range containers {
		containers[i].Declared = images[containers[i].Service]
		running[containers[i].Service] = true
	}
	for service := range images {
		if !running[service] {
			expected.Missing = append(expected.Missing, service)
		}
	}
	slices.Sort(expected.Missing)
	return expected
}

// inspected is one line of the containers probe.
type inspected struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	Project  string   `json:"project"`
	Service  string   `json:"service"`
	OneOff   string   `json:"oneoff"`
	Image    string   `json:"image"`
	ImageID  string   `json:"image_id"`
	State    string   `json:"state"`
	ExitCode int      `json:"exit_code"`
	Health   string   `json:"health"`
	Restarts int      `json:"restarts"`
	User     string   `json:"user"`
	Networks []string `json:"networks"`
	Env      []string `json:"env"`
	Host     struct {
		Privileged     bool
		CapAdd         []string
		CapDrop        []string
		ReadonlyRootfs bool
		Memory         int
		NanoCpus       int64
		CpuPeriod      int64 // microseconds
		CpuQuota       int64 // microseconds of each period
		PidsLimit      *int
		SecurityOpt    []string
		NetworkMode    string
		PidMode        string
		IpcMode        string
		UTSMode        string
		UsernsMode     string
		CgroupParent   string
		RestartPolicy  struct{ Name string }
		LogConfig      struct {
			Type   string
			Config map[string]string
		}
		Devices      []struct{ PathOnHost string }
		PortBindings map[string][]struct{ HostIp, HostPort string }
	} `json:"host"`
	Mounts []struct {
		Type, Name, Source, Destination, Propagation string
		RW                                           bool
	} `json:"mounts"`
}

// parseContainers reads one JSON object a line. One-off containers ("compose
// run") are left out: they belong to whoever started them.
func parseContainers(text string) ([]verify.Container, error) {
	containers := []verify.Container{}
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		var in inspected
		if err := json.Unmarshal([]byte(line), &in); err != nil {
			return nil, fmt.Errorf("read docker inspect: %w", err)
		}
		if in.Name == "" || in.State == "" {
			return nil, fmt.Errorf("docker inspect describes a container without name or state: %.100q", line)
		}
		if in.OneOff == "True" {
			continue
		}
		container, err := in.container()
		if err != nil {
			return nil, err
		}
		containers = append(containers, container)
	}
	slices.SortFunc(containers, func(a, b verify.Container) int { return strings.Compare(a.Service+a.Name, b.Service+b.Name) })
	return containers, nil
}

func (in inspected) container() (verify.Container, error) {
	out := verify.Container{
		ID: in.ID[:min(12, len(in.ID))], Name: strings.TrimPrefix(in.Name, "/"), Service: in.Project + "/" + in.Service,
		Image: in.Image, ImageID: in.ImageID, State: in.State, Health: in.Health, ExitCode: in.ExitCode,
		Restarts: in.Restarts, Restart: in.Host.RestartPolicy.Name, User: in.User,
		Privileged: in.Host.Privileged, CapAdd: capabilities(in.Host.CapAdd), CapDrop: capabilities(in.Host.CapDrop),
		ReadOnly: in.Host.ReadonlyRootfs, Memory: in.Host.Memory, CPUs: cpus(in.Host.NanoCpus, in.Host.CpuPeriod, in.Host.CpuQuota),
		Security: append([]string{}, in.Host.SecurityOpt...), LogDriver: in.Host.LogConfig.Type,
		LogMaxSize:  in.Host.LogConfig.Config["max-size"],
		NetworkMode: in.Host.NetworkMode, PIDMode: in.Host.PidMode, IPCMode: in.Host.IpcMode, UTSMode: in.Host.UTSMode,
		UserNS: in.Host.UsernsMode, Cgroup: in.Host.CgroupParent, Shared: []string{},
		Devices: []string{}, Mounts: []verify.Volume{}, Networks: withoutEmpty(in.Networks), Ports: []verify.Port{},
		Env: withoutEmpty(in.Env),
	}
	if in.Host.PidsLimit != nil {
		out.PIDs = *in.Host.PidsLimit
	}
	for _, d := range in.Host.Devices {
		out.Devices = append(out.Devices, d.PathOnHost)
	}
	for _, m := range in.Mounts {
		source := m.Source
		if m.Type == "volume" {
			source = m.Name
		}
		if strings.HasSuffix(m.Propagation, "shared") { // "shared" and "rshared"
			out.Shared = append(out.Shared, m.Destination)
		}
		out.Mounts = append(out.Mounts, verify.Volume{Type: m.Type, Source: source, Target: m.Destination, Write: m.RW})
	}
	for inner, bindings := range in.Host.PortBindings {
		number, protocol, _ := strings.Cut(inner, "/")
		port, err := strconv.Atoi(number)
		if err != nil {
			return out, fmt.Errorf("container %s publishes the port %q", out.Name, inner)
		}
		for _, b := range bindings {
			// Docker takes an absent host port as "choose one".
			hostPort, _ := strconv.Atoi(b.HostPort)
			out.Ports = append(out.Ports, verify.Port{
				Host: cmp.Or(b.HostIp, "0.0.0.0"), HostPort: hostPort, Port: port, Protocol: protocol, Loopback: loopback(b.HostIp),
			})
		}
	}
	slices.SortFunc(out.Ports, func(a, b verify.Port) int {
		return strings.Compare(fmt.Sprint(a.HostPort, a.Host), fmt.Sprint(b.HostPort, b.Host))
	})
	return out, nil
}

// capabilities strips the prefix that some versions of Docker store.
func capabilities(names []string) []string {
	out := []string{}
	for _, name := range names {
		out = append(out, strings.TrimPrefix(strings.ToUpper(name), "CAP_"))
	}
	return out
}

// withoutEmpty drops the empty item that ends a list printed by a template.
func withoutEmpty(items []string) []string {
	return slices.DeleteFunc(append([]string{}, items...), func(item string) bool { return item == "" })
}

func parseNetworks(text string) ([]verify.DockerNetwork, error) {
	networks := []verify.DockerNetwork{}
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		var n verify.DockerNetwork
		if err := json.Unmarshal([]byte(line), &n); err != nil {
			return nil, fmt.Errorf("read docker network inspect: %w", err)
		}
		networks = append(networks, n)
	}
	return networks, nil
}

// cpus is the limit of processor time in processors, however it was set; 0 is
// none. The kernel's period is 100 ms when none is given.
func cpus(nano, period, quota int64) float64 {
	if nano > 0 {
		return float64(nano) / 1e9
	}
	if period <= 0 {
		period = 100_000
	}
	return float64(max(quota, 0)) / float64(period)
}
