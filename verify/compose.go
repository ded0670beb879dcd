package verify

// Compose is what Docker runs on production, next to what the release says it
// should.
type Compose struct {
	Containers []Container     `json:"containers"` // every container of a Compose project, running or not
	Networks   []DockerNetwork `json:"networks"`
	Release    *Expected       `json:"release"`
}

// Expected is what the rendered release declares.
type Expected struct {
	Images  map[string]string `json:"images"`  // "project/service" → image reference
	Missing []string          `json:"missing"` // declared services without a container
}

// A Container is one container as "docker inspect" shows it. Environment
// values are never collected.
type Container struct {
	ID          string   `json:"id"`      // first 12 digits
	Name        string   `json:"name"`    // "supabase-db-1"
	Service     string   `json:"service"` // "project/service"
	Image       string   `json:"image"`   // reference it was created from
	ImageID     string   `json:"image_id"`
	Declared    string   `json:"declared"` // reference the release declares; empty when it declares none
	State       string   `json:"state"`    // "running", "exited", …
	Health      string   `json:"health"`   // "healthy", "unhealthy", "starting"; empty without a health check
	ExitCode    int      `json:"exit_code"`
	Restarts    int      `json:"restarts"`
	Restart     string   `json:"restart"` // restart policy
	User        string   `json:"user"`    // empty is root
	Privileged  bool     `json:"privileged"`
	CapAdd      []string `json:"cap_add"`  // without the CAP_ prefix
	CapDrop     []string `json:"cap_drop"` // without the CAP_ prefix
	ReadOnly    bool     `json:"read_only"`
	Memory      int      `json:"memory"`       // bytes; 0 is unlimited
	CPUs        float64  `json:"cpus"`         // 0 is unlimited
	PIDs        int      `json:"pids"`         // 0 or less is unlimited
	Security    []string `json:"security"`     // security_opt
	LogDriver   string   `json:"log_driver"`   // "local", "json-file", …
	LogMaxSize  string   `json:"log_max_size"` // empty when unset; "local" then rotates at 20m
	NetworkMode string   `json:"network_mode"`
	PIDMode     string   `json:"pid_mode"`
	IPCMode     string   `json:"ipc_mode"`
	UTSMode     string   `json:"uts_mode"`
	UserNS      string   `json:"userns_mode"` // "host" when it opts out of the daemon's user namespaces
	Cgroup      string   `json:"cgroup_parent"`
	Shared      []string `json:"shared"`  // targets of mounts whose own mounts show on the server (propagation shared)
	Devices     []string `json:"devices"` // host devices handed in
	Mounts      []Volume `json:"mounts"`
	Networks    []string `json:"networks"`
	Ports       []Port   `json:"ports"` // published ports
	Env         []string `json:"env"`   // names alone
}

// A Volume is one mount of a container.
type Volume struct {
	Type   string `json:"type"`   // "bind", "volume", "tmpfs"
	Source string `json:"source"` // host path, or the volume's name
	Target string `json:"target"`
	Write  bool   `json:"write"`
}

// A Port is one published port of a container.
type Port struct {
	Host     string `json:"host"` // host address; "0.0.0.0" and "::" are everywhere
	HostPort int    `json:"host_port"`
	Port     int    `json:"port"`
	Protocol string `json:"protocol"`
	Loopback bool   `json:"loopback"`
}

// A DockerNetwork is one network of the Docker daemon.
type DockerNetwork struct {
	Name     string `json:"name"`
	Driver   string `json:"driver"`
	Internal bool   `json:"internal"` // no way out
}
