package hardening

import "holdfast/provision"

// kernel is what the kernel shows, allows and believes.
func kernel(role string) []provision.Resource {
	settings := []provision.Setting{
		{Key: "kernel.kptr_restrict", Value: "2"},
		{Key: "kernel.dmesg_restrict", Value: "1"},
		{Key: "kernel.randomize_va_space", Value: "2"},
		{Key: "kernel.perf_event_paranoid", Value: "3", Optional: true},
		{Key: "kernel.yama.ptrace_scope", Value: "1", Optional: true},
		{Key: "kernel.unprivileged_bpf_disabled", Value: "1", Optional: true},
		{Key: "kernel.kexec_load_disabled", Value: "1", Optional: true},
		{Key: "kernel.sysrq", Value: "0", Optional: true},
		{Key: "net.core.bpf_jit_harden", Value: "2", Optional: true},
		{Key: "fs.protected_hardlinks", Value: "1"},
		{Key: "fs.protected_symlinks", Value: "1"},
		{Key: "fs.protected_fifos", Value: "2"},
		{Key: "fs.protected_regular", Value: "2"},
		{Key: "fs.suid_dumpable", Value: "0"},
		{Key: "net.ipv4.icmp_echo_ignore_broadcasts", Value: "1"},
		{Key: "net.ipv4.icmp_ignore_bogus_error_responses", Value: "1"},
		{Key: "net.ipv4.tcp_syncookies", Value: "1"},
	}
	// "default" is for interfaces to come. accept_ra stays: without it a server
	// whose IPv6 route is announced loses it.
	for _, scope := range []string{"all", "default"} {
		settings = append(settings,
			provision.Setting{Key: "net.ipv4.conf." + scope + ".accept_redirects", Value: "0"},
			provision.Setting{Key: "net.ipv4.conf." + scope + ".secure_redirects", Value: "0"},
			provision.Setting{Key: "net.ipv4.conf." + scope + ".send_redirects", Value: "0"},
			provision.Setting{Key: "net.ipv4.conf." + scope + ".accept_source_route", Value: "0"},
			provision.Setting{Key: "net.ipv4.conf." + scope + ".rp_filter", Value: "1"},
			// A kernel may be booted without IPv6.
			provision.Setting{Key: "net.ipv6.conf." + scope + ".accept_redirects", Value: "0", Optional: true},
			provision.Setting{Key: "net.ipv6.conf." + scope + ".accept_source_route", Value: "0", Optional: true},
		)
	}
	if role == production {
		// Docker sets it when it starts, and "sysctl --system" would undo that.
		settings = append(settings, provision.Setting{Key: "net.ipv4.ip_forward", Value: "1"})
	}
	return []provision.Resource{
		provision.Sysctls{
			About: provision.About{Concern: "kernel", Why: "the kernel tells little, trusts no redirects, and stays as it was booted"},
			// After 99-sysctl.conf, which is /etc/sysctl.conf: the last value counts.
			Path: "/etc/sysctl.d/zz-holdfast.conf", Settings: settings,
		},
		provision.File{
			About: provision.About{Concern: "kernel", Why: "modules that nothing here needs are attack surface"},
			Path:  "/etc/modprobe.d/holdfast.conf", Content: template("modules.conf"),
		},
		provision.Packages{
			About: provision.About{Concern: "kernel", Why: "AppArmor confines services and containers", OwnKernel: true},
			Names: []string{"apparmor"},
		},
	}
}

// memory is what processes leave behind: no core dumps, and no files that
// everyone can read.
func memory() []provision.Resource {
	about := provision.About{Concern: "memory", Why: "a core dump holds the keys and passwords of its process"}
	return []provision.Resource{
		provision.File{About: about, Path: "/etc/security/limits.d/holdfast.conf", Content: template("limits.conf")},
		provision.File{About: about, Path: "/etc/systemd/coredump.conf.d/holdfast.conf", Content: template("coredump.conf")},
		provision.File{About: about, Path: "/etc/systemd/system.conf.d/holdfast.conf", Content: template("system.conf"),
			Actions: []string{"daemon-reload"}},
		provision.File{About: provision.About{Concern: "memory", Why: "what people create is not for everyone to read"},
			Path: "/etc/profile.d/holdfast-umask.sh", Content: template("umask.sh")},
	}
}
