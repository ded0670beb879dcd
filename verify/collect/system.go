package collect

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"holdfast/verify"
)

// sysctls are the kernel settings observed, live and persisted.
var sysctls = []string{
	"fs.protected_fifos", "fs.protected_hardlinks", "fs.protected_regular", "fs.protected_symlinks", "fs.suid_dumpable",
	"kernel.dmesg_restrict", "kernel.kexec_load_disabled", "kernel.kptr_restrict", "kernel.perf_event_paranoid",
	"kernel.randomize_va_space", "kernel.sysrq", "kernel.unprivileged_bpf_disabled", "kernel.yama.ptrace_scope",
	"kernel.apparmor_restrict_unprivileged_userns",
	"net.core.bpf_jit_harden",
	"net.ipv4.conf.all.accept_redirects", "net.ipv4.conf.default.accept_redirects",
	"net.ipv4.conf.all.accept_source_route", "net.ipv4.conf.default.accept_source_route",
	"net.ipv4.conf.all.log_martians",
	"net.ipv4.conf.all.rp_filter", "net.ipv4.conf.default.rp_filter",
	"net.ipv4.conf.all.secure_redirects", "net.ipv4.conf.default.secure_redirects",
	"net.ipv4.conf.all.send_redirects", "net.ipv4.conf.default.send_redirects",
	"dev.tty.ldisc_autoload", "dev.tty.legacy_tiocsti", "kernel.unprivileged_userns_clone", "vm.mmap_min_addr", "vm.unprivileged_userfaultfd",
	"net.ipv4.conf.default.log_martians", "net.ipv4.tcp_rfc1337",
	"net.ipv4.icmp_echo_ignore_broadcasts", "net.ipv4.icmp_ignore_bogus_error_responses",
	"net.ipv4.ip_forward", "net.ipv4.tcp_syncookies",
	"net.ipv6.conf.all.accept_redirects", "net.ipv6.conf.default.accept_redirects",
	"net.ipv6.conf.all.accept_source_route", "net.ipv6.conf.default.accept_source_route",
}

// sensitiveFiles are the files whose mode and owner are observed.
var sensitiveFiles = []string{
	"/etc/passwd", "/etc/passwd-", "/etc/group", "/etc/group-", "/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-",
	"/etc/ssh/sshd_config", "/etc/sudoers", "/etc/crontab", "/etc/nftables.conf", "/etc/docker/daemon.json",
	"/etc/cron.d", "/etc/cron.hourly", "/etc/cron.daily", "/etc/cron.weekly", "/etc/cron.monthly", "/etc/sudoers.d",
	"/boot/grub/grub.cfg", "/swapfile", "/root", "/root/.ssh", "/opt/holdfast", "/opt/holdfast/releases",
	// What CIS Docker 1.1 wants to be watched.
	"/usr/sbin/dockerd", "/usr/bin/dockerd", "/usr/bin/docker", "/run/containerd", "/var/lib/docker", "/etc/docker",
	"/usr/lib/systemd/system/docker.service", "/usr/lib/systemd/system/docker.socket", "/run/containerd/containerd.sock",
	"/etc/default/docker", "/etc/containerd/config.toml", "/usr/bin/containerd", "/usr/bin/containerd-shim",
	"/usr/bin/containerd-shim-runc-v1", "/usr/bin/containerd-shim-runc-v2", "/usr/bin/runc", "/usr/sbin/runc",
}

func readOS(a answers, s *verify.Server) error {
	text, err := a.ok("os")
	if err != nil {
		return err
	}
	values := assignments(text)
	s.Hostname = values["HOLDFAST_HOSTNAME"]
	s.OS = &verify.OS{
		ID: values["ID"], VersionID: values["VERSION_ID"], Name: values["PRETTY_NAME"],
		Kernel: values["HOLDFAST_KERNEL"], Architecture: values["HOLDFAST_ARCHITECTURE"],
		Virtualization: values["HOLDFAST_VIRTUALIZATION"],
	}
	return nil
}

// assignments reads lines of the form NAME=value, quoted or not, as in
// os-release(5). The last one of a name wins.
func assignments(text string) map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || strings.HasPrefix(name, "#") || strings.HasPrefix(name, ";") {
			continue
		}
		values[strings.TrimSpace(name)] = strings.Trim(strings.TrimSpace(value), `"'`)
	}
	return values
}

func readListening(a answers, s *verify.Server) error {
	text, err := a.ok("listening")
	if err != nil {
		return err
	}
	s.Listening, err = parseSockets(text)
	return err
}

var socketProcess = regexp.MustCompile(`users:\(\("([^"]*)"`)

// parseSockets reads "ss -H -ltnup": netid, state, two queues, local address,
// peer address, process.
func parseSockets(text string) (*verify.Listening, error) {
	sockets := []verify.Socket{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) < 6 {
			return nil, fmt.Errorf("unreadable socket %q", line)
		}
		colon := strings.LastIndexByte(fields[4], ':')
		if colon < 0 {
			return nil, fmt.Errorf("unreadable socket address %q", fields[4])
		}
		port, err := strconv.Atoi(fields[4][colon+1:])
		if err != nil || port < 0 || port > 65535 {
			return nil, fmt.Errorf("unreadable socket port in %q", fields[4])
		}
		address, _, _ := strings.Cut(strings.Trim(fields[4][:colon], "[]"), "%") // without the interface
		address = strings.Trim(address, "[]")
		if address == "*" {
			address = "::"
		}
		socket := verify.Socket{Protocol: fields[0], Address: address, Port: port, Loopback: loopback(address)}
		if m := socketProcess.FindStringSubmatch(line); m != nil {
			socket.Process = m[1]
		}
		sockets = append(sockets, socket)
	}
	if len(sockets) == 0 { // sshd at least is there, or nobody could have asked
		return nil, errors.New("ss lists no socket at all")
	}
	return &verify.Listening{Sockets: sockets}, nil
}

// loopback reports whether an address is the machine's own. An empty or
// unreadable one is taken to be reachable.
func loopback(address string) bool {
	ip, err := netip.ParseAddr(address)
	return err == nil && ip.Unmap().IsLoopback()
}

func readKernel(a answers, s *verify.Server) error {
	live, err := a.ok("sysctl-live")
	if err != nil {
		return err
	}
	persisted, err := a.ok("sysctl-persisted")
	if err != nil {
		return err
	}
	blocked, err := a.ok("modules-blocked")
	if err != nil {
		return err
	}
	loaded, err := a.ok("modules-loaded")
	if err != nil {
		return err
	}
	s.Kernel = &verify.Kernel{
		Sysctl: parseSysctl(live, persisted), Blocked: parseBlocked(blocked), Loaded: append([]string{}, strings.Fields(loaded)...),
	}
	return nil
}

// parseSysctl joins live values ("net/ipv4/ip_forward=1") with what the files
// of sysctl.d say, in the order they are applied; see sysctl.d(5).
func parseSysctl(live, persisted string) map[string]verify.Sysctl {
	type setting struct{ key, value string }
	var exact, globs []setting
	for line := range strings.Lines(persisted) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		key, value, ok := strings.Cut(strings.TrimPrefix(line, "-"), "=")
		if !ok {
			continue
		}
		// The first separator decides which of "." and "/" parts the key.
		if key = strings.TrimSpace(key); strings.IndexByte(key, '/') < 0 || strings.IndexByte(key, '.') >= 0 && strings.IndexByte(key, '.') < strings.IndexByte(key, '/') {
			key = strings.ReplaceAll(key, ".", "/")
		}
		s := setting{key, strings.Join(strings.Fields(value), " ")}
		if strings.ContainsAny(key, "*?[") {
			globs = append(globs, s)
		} else {
			exact = append(exact, s)
		}
	}
	now := assignments(live)
	all := map[string]verify.Sysctl{}
	for _, name := range sysctls {
		key := strings.ReplaceAll(name, ".", "/")
		value := verify.Sysctl{Live: strings.Join(strings.Fields(now[key]), " ")}
		for _, s := range globs {
			if matched, _ := path.Match(s.key, key); matched {
				value.Persisted = s.value
			}
		}
		for _, s := range exact { // an exact key beats a pattern, wherever it stands
			if s.key == key {
				value.Persisted = s.value
			}
		}
		all[name] = value
	}
	return all
}

// parseBlocked reads modprobe.d "install" lines: a module whose install command
// does nothing can't be loaded; see modprobe.d(5).
func parseBlocked(text string) []string {
	blocked := []string{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[0] != "install" {
			continue
		}
		switch path.Base(fields[2]) {
		case "false", "true":
			blocked = append(blocked, strings.ReplaceAll(fields[1], "_", "-"))
		}
	}
	slices.Sort(blocked)
	return slices.Compact(blocked)
}

func readAccounts(a answers, s *verify.Server) error {
	text, err := a.ok("accounts")
	if err != nil {
		return err
	}
	s.Accounts, err = parseAccounts(text)
	return err
}

// parseAccounts reads the accounts probe: lines of passwd(5), the state of each
// password, and the docker group.
func parseAccounts(text string) (*verify.Accounts, error) {
	accounts := &verify.Accounts{Users: []verify.User{}, DockerGroup: []string{}}
	passwords := map[string]string{}
	for line := range strings.Lines(text) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		switch {
		case fields[0] == "passwd" && len(fields) == 8:
			uid, err := strconv.Atoi(fields[3])
			if err != nil {
				return nil, fmt.Errorf("user %q has the id %q", fields[1], fields[3])
			}
			accounts.Users = append(accounts.Users, verify.User{
				Name: fields[1], UID: uid, Home: fields[6], Shell: fields[7], Login: loginShell(fields[7]),
			})
			if fields[2] == "" { // no entry in shadow(5) is asked for: no password at all
				passwords[fields[1]] = "empty"
			}
		case fields[0] == "shadow" && len(fields) == 3:
			passwords[fields[1]] = fields[2]
		case fields[0] == "group" && len(fields) == 5:
			accounts.DockerGroup = strings.FieldsFunc(fields[4], func(r rune) bool { return r == ',' })
		default:
			return nil, fmt.Errorf("unreadable account line %q", line)
		}
	}
	if !slices.ContainsFunc(accounts.Users, func(u verify.User) bool { return u.UID == 0 }) {
		return nil, errors.New("no account has the id 0")
	}
	for i := range accounts.Users {
		user := &accounts.Users[i]
		if user.Password = passwords[user.Name]; user.Password == "" {
			user.Password = "locked" // no shadow entry: no password matches
		}
	}
	return accounts, nil
}

// loginShell reports whether a shell is one that people get a prompt from. An
// empty field means /bin/sh; see passwd(5).
func loginShell(shell string) bool {
	switch path.Base(shell) {
	case "nologin", "false", "true", "sync", "shutdown", "halt":
		return false
	}
	return true
}

func readSudo(a answers, s *verify.Server) error {
	check, ran := a.Outputs["sudo-check"]
	if !ran {
		_, err := a.ok("sudo-check")
		return err
	}
	stats, err := a.ok("sudo-files")
	if err != nil {
		return err
	}
	rules, err := a.ok("sudo-rules")
	if err != nil {
		return err
	}
	sudo := parseSudoers(rules)
	if check.Exit != 0 {
		sudo.Error, _, _ = strings.Cut(strings.TrimSpace(check.Stdout), "\n")
	}
	if sudo.Files, err = parseFiles(stats); err != nil {
		return err
	}
	s.Sudo = sudo
	return nil
}

// parseSudoers reads from sudoers(5) who needs no password, and the Defaults.
func parseSudoers(text string) *verify.Sudo {
	sudo := &verify.Sudo{NoPassword: []string{}, Defaults: []string{}, Files: []verify.File{}}
	text = strings.ReplaceAll(text, "\\\n", " ")
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		who, rest, _ := strings.Cut(line, " ")
		switch {
		case strings.HasPrefix(line, "Defaults"):
			_, settings, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
			for _, setting := range strings.Split(settings, ",") {
				if setting = strings.TrimSpace(setting); setting != "" {
					sudo.Defaults = append(sudo.Defaults, setting)
				}
			}
		case strings.Contains(rest, "NOPASSWD"):
			sudo.NoPassword = append(sudo.NoPassword, who)
		}
	}
	slices.Sort(sudo.NoPassword)
	sudo.NoPassword = slices.Compact(sudo.NoPassword)
	return sudo
}

func readFiles(a answers, s *verify.Server) error {
	text, err := a.ok("files")
	if err != nil {
		return err
	}
	files, err := parseFiles(text)
	if err != nil {
		return err
	}
	s.Files = &verify.Files{Paths: map[string]verify.File{}}
	for _, f := range files {
		s.Files.Paths[f.Path] = f
	}
	if _, ok := s.Files.Paths["/etc/passwd"]; !ok {
		s.Files = nil
		return errors.New("not even /etc/passwd was seen")
	}
	return nil
}

// parseFiles reads lines of "mode owner group path".
func parseFiles(text string) ([]verify.File, error) {
	files := []verify.File{}
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 4)
		if len(fields) != 4 {
			return nil, fmt.Errorf("unreadable file line %q", line)
		}
		files = append(files, verify.File{Mode: octal(fields[0]), Owner: fields[1], Group: fields[2], Path: fields[3]})
	}
	return files, nil
}
