package verify

// Server is one machine as observed by a read-only batch run as root.
type Server struct {
	Role     string `json:"role"`
	Address  string `json:"address"` // as the operator reaches it
	Hostname string `json:"hostname"`
	// DeployUser is the user that Holdfast logs in as.
	DeployUser string     `json:"deploy_user"`
	OS         *OS        `json:"os"`
	SSHD       *SSHD      `json:"sshd"`
	HostKeys   *HostKeys  `json:"host_keys"`
	Firewall   *Firewall  `json:"firewall"`
	Listening  *Listening `json:"listening"`
	Kernel     *Kernel    `json:"kernel"`
	Accounts   *Accounts  `json:"accounts"`
	Passwords  *Passwords `json:"passwords"`
	Shell      *Shell     `json:"shell"`
	Banners    *Banners   `json:"banners"`
	Banning    *Banning   `json:"banning"`
	Keys       *Keys      `json:"keys"`
	Sudo       *Sudo      `json:"sudo"`
	Files      *Files     `json:"files"`
	Packages   *Packages  `json:"packages"`
	Time       *Time      `json:"time"`
	Journald   *Journald  `json:"journald"`
	AppArmor   *AppArmor  `json:"apparmor"`
	Auditd     *Auditd    `json:"auditd"`
	Integrity  *Integrity `json:"integrity"`
	CoreDumps  *CoreDumps `json:"core_dumps"`
	Docker     *Docker    `json:"docker"`
	Units      *Units     `json:"units"`
	Reboot     *Reboot    `json:"reboot"`
	Disks      *Disks     `json:"disks"`
	Mounts     *Mounts    `json:"mounts"`
	Memory     *Memory    `json:"memory"`
	Release    *Release   `json:"release"`
}

// OS names the operating system (os-release(5)) and the running kernel.
type OS struct {
	ID             string `json:"id"`         // "debian", "ubuntu"
	VersionID      string `json:"version_id"` // "13", "24.04"
	Name           string `json:"name"`
	Kernel         string `json:"kernel"`
	Architecture   string `json:"architecture"`
	Virtualization string `json:"virtualization"` // systemd-detect-virt(1): "none", "kvm", "docker", …
}

// SSHD holds sshd's effective settings for the deploy user ("sshd -T -C"),
// named as sshd names them; see sshd_config(5).
type SSHD struct {
	Port                         []int    `json:"port"`
	PermitRootLogin              string   `json:"permitrootlogin"`
	PubkeyAuthentication         string   `json:"pubkeyauthentication"`
	PasswordAuthentication       string   `json:"passwordauthentication"`
	KbdInteractiveAuthentication string   `json:"kbdinteractiveauthentication"`
	PermitEmptyPasswords         string   `json:"permitemptypasswords"`
	HostbasedAuthentication      string   `json:"hostbasedauthentication"`
	GSSAPIAuthentication         string   `json:"gssapiauthentication"`
	AuthenticationMethods        string   `json:"authenticationmethods"`
	IgnoreRhosts                 string   `json:"ignorerhosts"`
	StrictModes                  string   `json:"strictmodes"`
	AllowUsers                   []string `json:"allowusers"`
	AllowGroups                  []string `json:"allowgroups"`
	MaxAuthTries                 int      `json:"maxauthtries"`
	MaxSessions                  int      `json:"maxsessions"`
	MaxStartups                  string   `json:"maxstartups"`
	LoginGraceTime               int      `json:"logingracetime"`      // seconds; 0 is unlimited
	ClientAliveInterval          int      `json:"clientaliveinterval"` // seconds
	ClientAliveCountMax          int      `json:"clientalivecountmax"`
	X11Forwarding                string   `json:"x11forwarding"`
	AllowAgentForwarding         string   `json:"allowagentforwarding"`
	AllowTCPForwarding           string   `json:"allowtcpforwarding"`
	AllowStreamLocalForwarding   string   `json:"allowstreamlocalforwarding"`
	PermitOpen                   []string `json:"permitopen"`
	PermitTunnel                 string   `json:"permittunnel"`
	GatewayPorts                 string   `json:"gatewayports"`
	PermitUserEnvironment        string   `json:"permituserenvironment"`
	LogLevel                     string   `json:"loglevel"`
	Banner                       string   `json:"banner"` // file shown before the login, or "none"
	KexAlgorithms                []string `json:"kexalgorithms"`
	Ciphers                      []string `json:"ciphers"`
	MACs                         []string `json:"macs"`
	HostKeyAlgorithms            []string `json:"hostkeyalgorithms"`
}

// HostKeys are the private keys sshd offers.
type HostKeys struct {
	Keys []HostKey `json:"keys"`
	// SmallestGroup is the size in bits of the smallest Diffie-Hellman group in
	// /etc/ssh/moduli, see moduli(5); 0 without such a file.
	SmallestGroup int `json:"smallest_group"`
}

// A HostKey is one host key of sshd, described from its public half.
type HostKey struct {
	Path        string `json:"path"`
	Type        string `json:"type"` // "ED25519", "RSA", "ECDSA"
	Bits        int    `json:"bits"`
	Fingerprint string `json:"fingerprint"` // "SHA256:…"
	Mode        string `json:"mode"`        // of the private file, four octal digits
	Owner       string `json:"owner"`
}

// Firewall is the live nftables ruleset, reduced to what filters.
type Firewall struct {
	Chains    []Chain  `json:"chains"`     // base chains: those attached to a hook
	BootUnits []string `json:"boot_units"` // enabled units that load a ruleset at boot
	// ConfigError is what "nft -c" says of /etc/nftables.conf and of the files
	// that BootUnits load; empty when they load or do not exist.
	ConfigError string `json:"config_error"`
	// FlushesRuleset is true when /etc/nftables.conf flushes every table, also
	// Docker's, whenever it is reloaded.
	FlushesRuleset bool `json:"flushes_ruleset"`
}

// A Chain is one nftables base chain.
type Chain struct {
	Family   string         `json:"family"` // "inet", "ip", "ip6"
	Table    string         `json:"table"`
	Name     string         `json:"name"`
	Hook     string         `json:"hook"`     // "input", "forward", "prerouting", …
	Priority int            `json:"priority"` // -100 is dstnat, 0 is filter
	Policy   string         `json:"policy"`   // "accept" or "drop"
	Rules    []FirewallRule `json:"rules"`
}

// A FirewallRule is what can be said of one nftables rule without running it.
// An empty list means the rule does not look at that property.
type FirewallRule struct {
	Verdict    string   `json:"verdict"`    // "accept", "drop", "reject", "jump", …; empty when the rule only counts or logs
	Protocol   string   `json:"protocol"`   // "tcp", "udp", "icmp", …
	Ports      []string `json:"ports"`      // destination ports: "22", "8000-8010"
	Except     bool     `json:"except"`     // true: every destination port but Ports
	Sources    []string `json:"sources"`    // source addresses and networks
	Interfaces []string `json:"interfaces"` // incoming interfaces
	States     []string `json:"states"`     // conntrack states
	ToLocal    bool     `json:"to_local"`   // only packets addressed to the server itself (fib daddr type local)
	Limited    bool     `json:"limited"`    // behind a rate limit or meter
	Partial    bool     `json:"partial"`    // looks at something else besides
}

// Listening is every TCP and UDP socket that waits for peers.
type Listening struct {
	Sockets []Socket `json:"sockets"`
}

// A Socket is one listening socket.
type Socket struct {
	Protocol string `json:"protocol"` // "tcp" or "udp"
	Address  string `json:"address"`  // "0.0.0.0", "::", "127.0.0.1", …
	Port     int    `json:"port"`
	Process  string `json:"process"`  // empty when the kernel does not say
	Loopback bool   `json:"loopback"` // reachable from the server itself only
}

// Kernel is what the kernel was told.
type Kernel struct {
	Sysctl  map[string]Sysctl `json:"sysctl"`  // the keys that rules ask for, by name
	Blocked []string          `json:"blocked"` // modules that modprobe.d forbids to load
	Loaded  []string          `json:"loaded"`  // modules loaded now
}

// A Sysctl is one kernel setting, now and after the next boot.
type Sysctl struct {
	Live      string `json:"live"`      // empty when this kernel has no such key
	Persisted string `json:"persisted"` // empty when no file under sysctl.d sets it
}

// Accounts are the users of the server, without their password hashes.
type Accounts struct {
	Users       []User   `json:"users"`
	DockerGroup []string `json:"docker_group"` // members are root in all but name
}

// A User is one account.
type User struct {
	Name     string `json:"name"`
	UID      int    `json:"uid"`
	Shell    string `json:"shell"`
	Home     string `json:"home"`
	Login    bool   `json:"login"`    // the shell is one that people use
	Password string `json:"password"` // "locked", "set" or "empty"
}

// Keys are SSH keys found on the server: who may come in, and what could be
// used to go out.
type Keys struct {
	Authorized []AuthorizedKeys `json:"authorized"`
	Private    []PrivateKey     `json:"private"`
	Declared   []string         `json:"declared"` // fingerprints of the keys that may come in; empty when nobody said
}

// AuthorizedKeys is one authorized_keys file.
type AuthorizedKeys struct {
	User         string   `json:"user"`
	Path         string   `json:"path"`
	Mode         string   `json:"mode"`
	Owner        string   `json:"owner"`
	Fingerprints []string `json:"fingerprints"` // "SHA256:…"
	Weak         []string `json:"weak"`         // fingerprints of DSA keys and RSA keys under 3072 bits
}

// A PrivateKey is a file in a user's .ssh folder that holds a private key.
type PrivateKey struct {
	Path string `json:"path"`
	Mode string `json:"mode"`
}

// Sudo is who may become root, and how.
type Sudo struct {
	Error      string   `json:"error"` // what "visudo -c" complains of; empty when valid
	Files      []File   `json:"files"`
	NoPassword []string `json:"no_password"` // users and %groups with a NOPASSWD grant
	Defaults   []string `json:"defaults"`    // Defaults settings: "use_pty", "logfile=…"
}

// Files are the modes of files that carry the server's security.
type Files struct {
	Paths map[string]File `json:"paths"` // those that exist, by path
}

// A File is a file's owner and permissions.
type File struct {
	Path  string `json:"path"`
	Mode  string `json:"mode"` // four octal digits: "0640"
	Owner string `json:"owner"`
	Group string `json:"group"`
}

// Packages is the state of apt.
type Packages struct {
	SecurityUpdates []string `json:"security_updates"` // packages with a pending security update
	SecuritySource  bool     `json:"security_source"`  // a security archive is configured
	Unattended      bool     `json:"unattended"`       // unattended-upgrades is installed and its daily run is on
	RefreshesLists  bool     `json:"refreshes_lists"`  // APT::Periodic::Update-Package-Lists is on
	SecurityOrigin  bool     `json:"security_origin"`  // unattended-upgrades takes security updates
	AutoReboot      bool     `json:"auto_reboot"`      // Unattended-Upgrade::Automatic-Reboot
	AutoRebootTime  string   `json:"auto_reboot_time"` // when: "now" when not set, or a time of day such as "03:30"
	Installed       []string `json:"installed"`        // which of the packages rules ask for are installed
	// RestartMode is what needrestart(1) does with services that use replaced
	// files: "l" list, "i" ask, "a" restart; empty when it is not installed.
	RestartMode string `json:"restart_mode"`
}

// Time says whether the clock is kept right.
type Time struct {
	Synchronized bool     `json:"synchronized"`
	Services     []string `json:"services"` // active time services
}

// Journald is journald's effective configuration.
type Journald struct {
	Storage      string `json:"storage"` // "auto" when not set
	SystemMaxUse string `json:"system_max_use"`
	Compress     string `json:"compress"`
	Persistent   bool   `json:"persistent"` // the journal's folder on disk exists
}

// AppArmor is the state of the AppArmor module in the running kernel.
type AppArmor struct {
	Enabled  bool     `json:"enabled"`
	Enforce  int      `json:"enforce"`  // count of enforcing profiles
	Complain []string `json:"complain"` // profiles that only complain
}

// Auditd is the state of the kernel's audit system.
type Auditd struct {
	Active  bool     `json:"active"`  // the daemon runs
	Rules   []string `json:"rules"`   // lines of /etc/audit/rules.d
	Enabled int      `json:"enabled"` // of the kernel: 0 off, 1 on, 2 on and rules are fixed until a reboot
	Lost    int      `json:"lost"`    // records that the kernel could not deliver
	Loaded  []string `json:"loaded"`  // rules in the kernel
}

// CoreDumps says where the memory of a crashed process could end up.
type CoreDumps struct {
	HardLimitZero bool   `json:"hard_limit_zero"` // "* hard core 0" in limits.conf(5)
	Storage       string `json:"storage"`         // coredump.conf(5) Storage=; "" when systemd-coredump is not installed
	Pattern       string `json:"pattern"`         // kernel.core_pattern
	ServiceLimit  string `json:"service_limit"`   // systemd's DefaultLimitCORE: "0", "infinity", bytes
}

// Docker is the running Docker daemon.
type Docker struct {
	Installed       bool              `json:"installed"`
	Version         string            `json:"version"`
	LiveRestore     bool              `json:"live_restore"`
	SecurityOptions []string          `json:"security_options"` // "name=seccomp,profile=builtin", "name=no-new-privileges", …
	LoggingDriver   string            `json:"logging_driver"`
	InsecureRemotes []string          `json:"insecure_remotes"` // registries reached without TLS, loopback left out
	Experimental    bool              `json:"experimental"`
	Swarm           bool              `json:"swarm"`
	Config          map[string]string `json:"config"`       // daemon.json, one level: booleans, numbers and text as text, the rest as JSON
	LogOptions      map[string]string `json:"log_options"`  // daemon.json "log-opts"
	Proxies         int               `json:"proxies"`      // docker-proxy processes
	SocketMode      string            `json:"socket_mode"`  // of /run/docker.sock
	SocketGroup     string            `json:"socket_group"` // of /run/docker.sock
	SocketOwner     string            `json:"socket_owner"` // of /run/docker.sock
	StorageDriver   string            `json:"storage_driver"`
	// SSHServers counts the processes named sshd that run in containers.
	SSHServers int `json:"ssh_servers"`
	// Files are those whose permissions CIS Docker 3 looks at, as far as they
	// exist: units, sockets, configuration, certificates of registries.
	Files []File `json:"files"`
}

// Units are systemd's units.
type Units struct {
	Active []string `json:"active"`
	Failed []string `json:"failed"`
}

// Reboot says whether an update waits for one.
type Reboot struct {
	Required bool     `json:"required"`
	Packages []string `json:"packages"`
}

// Disks are the local file systems.
type Disks struct {
	Mounts []Mount `json:"mounts"`
}

// A Mount is one mounted local file system.
type Mount struct {
	Path       string `json:"path"`
	UsedPct    int    `json:"used_pct"`   // of the blocks root can use, 0 to 100
	InodesPct  int    `json:"inodes_pct"` // 0 where the file system does not count inodes
	FreeMiB    int    `json:"free_mib"`
	FileSystem string `json:"file_system"`
}

// Release is what Holdfast keeps under /opt/holdfast on the server.
type Release struct {
	Current string `json:"current"` // release the current link points at; empty when there is none
	Secrets []File `json:"secrets"` // files below a folder named secrets
	Open    []File `json:"open"`    // files of the release that others than their owner may write
	// PublishedSecrets names secret files that hold a value printed in an
	// upstream example; such a value is known to everyone.
	PublishedSecrets []string `json:"published_secrets"`
}

// Passwords is what the server asks of passwords: login.defs(5) and PAM.
type Passwords struct {
	MaxDays     int    `json:"max_days"`     // PASS_MAX_DAYS for new accounts; 99999 is for ever
	MinDays     int    `json:"min_days"`     // PASS_MIN_DAYS for new accounts
	Umask       string `json:"umask"`        // UMASK, four octal digits; "" when not set
	HomeMode    string `json:"home_mode"`    // HOME_MODE, four octal digits; "" when not set, which leaves it to Umask
	Hash        string `json:"hash"`         // what PAM hashes new passwords with: "yescrypt", "sha512", …
	Quality     string `json:"quality"`      // PAM module that new passwords must please; "" without one
	LockAfter   int    `json:"lock_after"`   // failed attempts after which an account is locked; 0 is never
	LockSeconds int    `json:"lock_seconds"` // for how long; 0 is until someone unlocks it
}

// Shell is what the deploy user's login shell starts with.
type Shell struct {
	Umask string `json:"umask"` // four octal digits
	Idle  int    `json:"idle"`  // seconds after which a shell that waits ends (TMOUT); 0 is never
}

// Banners are the texts shown before a login, by file: /etc/issue at the
// console, /etc/issue.net over the network. Missing files are left out.
type Banners struct {
	Files map[string]string `json:"files"` // up to 4096 bytes of each
}

// Banning is the service that keeps addresses out which fail to log in.
type Banning struct {
	Service string `json:"service"` // "fail2ban", "sshguard"; "" when none answers
	Jails   []Jail `json:"jails"`   // of fail2ban, as the running server has them
}

// A Jail is what fail2ban watches for and what it does then.
type Jail struct {
	Name     string   `json:"name"`
	Tries    int      `json:"tries"`    // failures that ban
	Window   int      `json:"window"`   // seconds in which they are counted
	Ban      int      `json:"ban"`      // seconds of a ban; negative is for ever
	Exempt   []string `json:"exempt"`   // addresses and networks never banned
	Actions  []string `json:"actions"`  // that can ban: those with a command for it
	Watching bool     `json:"watching"` // has a log to read, the journal or files
}

// Integrity is what notices changed files.
type Integrity struct {
	Tool   string   `json:"tool"`   // "aide"; "" without one
	Timers []string `json:"timers"` // active timers that start it
	// AgeHours is the time since the last look or, before the first one, since
	// the tool was installed.
	AgeHours int `json:"age_hours"`
}

// Mounts are how the file systems are mounted that anyone may write to or that
// Docker lives on. A folder that is no mount point, now or after the next boot,
// is left out.
type Mounts struct {
	Points map[string]MountPoint `json:"points"`
}

// A MountPoint is one mounted file system.
type MountPoint struct {
	Path       string   `json:"path"`
	Mounted    bool     `json:"mounted"`     // now
	FileSystem string   `json:"file_system"` // of what is mounted now
	Options    []string `json:"options"`     // in force now
	Boot       []string `json:"boot"`        // after the next boot: of fstab(5) or of its unit
}

// Memory is the server's memory and what it can be swapped to.
type Memory struct {
	TotalMiB int `json:"total_mib"`
	SwapMiB  int `json:"swap_mib"`
}
