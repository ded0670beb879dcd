package baseline

// A BenchCheck is one check of docker-bench-security, as numbered by the CIS
// Docker Benchmark 1.6 and 1.7. Rules name those they stand for in their
// references, as in "docker-bench 2.16".
type BenchCheck struct {
	ID    string
	Title string
	// Warns says that docker-bench ends in WARN on a default Holdfast server,
	// and Reason why that stays. A check that no rule stands for always has a
	// reason.
	Warns  bool
	Reason string
}

// DockerBench lists the checks of docker-bench-security's sections on the host's
// auditing, the daemon, its files, images and containers.
func DockerBench() []BenchCheck { return benchChecks }

const (
	byHand  = "docker-bench asks a person to look (NOTE or INFO), and never warns"
	noTLS   = "the daemon has no TCP socket, so there is no such file; docker.tcp-socket keeps it so"
	redHat  = "/etc/sysconfig is Red Hat's; Debian and Ubuntu have no such file"
	byImage = "docker-bench looks into images, which are upstream's; the release pins each by digest or full version"
)

var benchChecks = []BenchCheck{
	{"1.1.1", "Containers have a partition of their own", true, "a rented server has one disk, which can't be divided safely while it runs; logs of containers are bounded and disk.space watches"},
	{"1.1.2", "Only trusted users control the daemon", false, ""},
	{"1.1.3", "The daemon is audited", false, ""},
	{"1.1.4", "/run/containerd is audited", false, ""},
	{"1.1.5", "/var/lib/docker is audited", false, ""},
	{"1.1.6", "/etc/docker is audited", false, ""},
	{"1.1.7", "docker.service is audited", false, ""},
	{"1.1.8", "containerd.sock is audited", false, ""},
	{"1.1.9", "docker.socket is audited", false, ""},
	{"1.1.10", "/etc/default/docker is audited", false, ""},
	{"1.1.11", "/etc/docker/daemon.json is audited", false, ""},
	{"1.1.12", "/etc/containerd/config.toml is audited", false, ""},
	{"1.1.13", "/etc/sysconfig/docker is audited", false, redHat},
	{"1.1.14", "/usr/bin/containerd is audited", false, ""},
	{"1.1.15", "/usr/bin/containerd-shim is audited", false, ""},
	{"1.1.16", "/usr/bin/containerd-shim-runc-v1 is audited", false, ""},
	{"1.1.17", "/usr/bin/containerd-shim-runc-v2 is audited", false, ""},
	{"1.1.18", "/usr/bin/runc is audited", false, ""},
	{"1.2.1", "The host is hardened", false, byHand + "; all other rules are about it"},
	{"1.2.2", "Docker is up to date", false, byHand + "; packages.security-updates covers Debian's package"},

	{"2.1", "The daemon runs without root", false, byHand + "; without root it could not publish ports below 1024 nor keep networks apart with nftables"},
	{"2.2", "Containers on the default bridge can't talk to each other", false, ""},
	{"2.3", "The log level is info", false, ""},
	{"2.4", "The daemon may set up packet filtering", false, ""},
	{"2.5", "No insecure registry is used", false, ""},
	{"2.6", "The aufs driver is not used", false, ""},
	{"2.7", "A TCP socket asks for certificates", false, ""},
	{"2.8", "Default limits of processes' resources are set", false, "docker-bench only notes it (INFO); each container has limits of memory, processes and processors of its own"},
	{"2.9", "User namespaces are remapped", true, "the socket proxy and files of the release that are mounted would belong to nobody; containers drop all capabilities and can't gain privileges instead"},
	{"2.10", "The default cgroup is used", false, ""},
	{"2.11", "The base device's size is unchanged", false, ""},
	{"2.12", "An authorization plugin decides over clients", true, "only root reaches the socket, whom a plugin can't hold back; the one container that has it goes through a proxy that lets few of its calls through"},
	{"2.13", "Logs don't grow on the server alone", false, ""},
	{"2.14", "Containers can't gain privileges by default", false, ""},
	{"2.15", "Containers outlive the daemon", false, ""},
	{"2.16", "No userland proxy is used", false, ""},
	{"2.17", "The default seccomp profile is in force", false, ""},
	{"2.18", "Experimental features are off", false, ""},

	{"3.1", "docker.service belongs to root", false, ""},
	{"3.2", "docker.service is 644 or less", false, ""},
	{"3.3", "docker.socket belongs to root", false, ""},
	{"3.4", "docker.socket is 644 or less", false, ""},
	{"3.5", "/etc/docker belongs to root", false, ""},
	{"3.6", "/etc/docker is 755 or less", false, ""},
	{"3.7", "Certificates of registries belong to root", false, ""},
	{"3.8", "Certificates of registries are 444 or less", false, ""},
	{"3.9", "The TLS authority's certificate belongs to root", false, noTLS},
	{"3.10", "The TLS authority's certificate is 444 or less", false, noTLS},
	{"3.11", "The server's certificate belongs to root", false, noTLS},
	{"3.12", "The server's certificate is 444 or less", false, noTLS},
	{"3.13", "The key of the server's certificate belongs to root", false, noTLS},
	{"3.14", "The key of the server's certificate is 400", false, noTLS},
	{"3.15", "The daemon's socket belongs to root:docker", false, ""},
	{"3.16", "The daemon's socket is 660 or less", false, ""},
	{"3.17", "daemon.json belongs to root", false, ""},
	{"3.18", "daemon.json is 644 or less", false, ""},
	{"3.19", "/etc/default/docker belongs to root", false, ""},
	{"3.20", "/etc/sysconfig/docker is 644 or less", false, redHat},
	{"3.21", "/etc/sysconfig/docker belongs to root", false, redHat},
	{"3.22", "/etc/default/docker is 644 or less", false, ""},
	{"3.23", "containerd's socket belongs to root", false, ""},
	{"3.24", "containerd's socket is 660 or less", false, ""},

	{"4.1", "Containers run as a user of their own", true, "images that set up their volumes as root and then step down run with all capabilities dropped but the declared ones, which containers.root asks for"},
	{"4.2", "Base images are trusted", false, byHand},
	{"4.3", "Images hold no needless packages", false, byHand},
	{"4.4", "Images are scanned and rebuilt", false, byHand},
	{"4.5", "Content trust is on", true, "upstream does not sign its images with Notary, whose service is closing down; the release pins digests, and images.content compares what runs"},
	{"4.6", "Images have a health check", true, "upstream's images have none; each service gets one from the release, which is what runs"},
	{"4.7", "Updates are not alone in an image's step", false, byImage},
	{"4.8", "Images have no set-user-id programs", false, byHand + "; no-new-privileges makes them harmless"},
	{"4.9", "Images are built with COPY and not ADD", false, byImage},
	{"4.10", "Dockerfiles hold no secrets", false, byHand},
	{"4.11", "Only verified packages are installed", false, byHand},
	{"4.12", "Signed artifacts are validated", false, byHand},

	{"5.1", "Swarm is off", false, ""},
	{"5.2", "An AppArmor profile is in force", false, ""},
	{"5.3", "SELinux options are set", false, "Debian and Ubuntu confine by AppArmor; docker-bench is content with any security option"},
	{"5.4", "Capabilities are few", false, ""},
	{"5.5", "No container is privileged", false, ""},
	{"5.6", "No container has the host's folders", false, ""},
	{"5.7", "No container runs sshd", false, ""},
	{"5.8", "No privileged port is published", true, "the edge proxy answers on 80 and 443, which is what it is for; containers.published-ports allows nobody else"},
	{"5.9", "Only needed ports are open", false, ""},
	{"5.10", "The host's network is not shared", false, ""},
	{"5.11", "Memory is limited", false, ""},
	{"5.12", "Processor time is limited", true, "docker-bench asks for relative weights (CpuShares); containers.processors asks for a limit, which holds however busy the others are"},
	{"5.13", "The root file system is read-only", true, "the images that containers.read-only excepts write beside their volumes"},
	{"5.14", "Ports are bound to one address of the host", true, "the edge proxy takes all addresses, IPv6 too; everything else binds 127.0.0.1"},
	{"5.15", "Restarts are limited to five", true, "a service that gave up after five tries would stay down after a long outage of what it needs; containers.crash-loop reports it"},
	{"5.16", "The host's processes are not shared", false, ""},
	{"5.17", "The host's IPC is not shared", false, ""},
	{"5.18", "No host device is handed in", false, ""},
	{"5.19", "Default resource limits are not overridden", false, "docker-bench only notes it (INFO)"},
	{"5.20", "Mounts are not propagated to the host", false, ""},
	{"5.21", "The host's UTS namespace is not shared", false, ""},
	{"5.22", "Seccomp is not switched off", false, ""},
	{"5.23", "docker exec is not used with --privileged", false, byHand + "; only root can, and sudo logs it"},
	{"5.24", "docker exec is not used as root", false, byHand + "; only root can, and sudo logs it"},
	{"5.25", "Containers are in cgroups of the daemon", false, ""},
	{"5.26", "Containers can't gain privileges", false, ""},
	{"5.27", "Health is checked while running", false, ""},
	{"5.28", "Image versions are fixed", false, ""},
	{"5.29", "The number of processes is limited", false, ""},
	{"5.30", "The default bridge is not used", false, ""},
	{"5.31", "The host's user namespaces are not shared", false, ""},
	{"5.32", "The daemon's socket is not handed in", true, "the socket proxy of Trigger.dev has it, read-only, and lets through what starting a run needs; containers.docker-socket allows nobody else"},
}
