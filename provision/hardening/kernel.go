package hardening

import (
	"slices"

	"holdfast/provision"
)

// kernel is what the kernel shows, allows and believes. Some keys are missing
// in some kernels, or where IPv6 was turned off at boot.
func kernel(on target) []provision.Resource {
	set := func(key, value string) provision.Setting { return provision.Setting{Key: key, Value: value} }
	optional := func(key, value string) provision.Setting {
		return provision.Setting{Key: key, Value: value, Optional: true}
	}
	settings := []provision.Setting{
		set("kernel.kptr_restrict", "2"),
		set("kernel.dmesg_restrict", "1"),
		set("kernel.randomize_va_space", "2"),
		set("kernel.ctrl-alt-del", "0"),
		set("kernel.core_uses_pid", "1"),
		optional("kernel.perf_event_paranoid", "3"),
		optional("kernel.yama.ptrace_scope", "1"),
		optional("kernel.unprivileged_bpf_disabled", "1"),
		optional("kernel.kexec_load_disabled", "1"),
		optional("kernel.sysrq", "0"),
		// The two ways in which Debian's and Ubuntu's kernels keep user namespaces,
		// and with them most of the kernel's own attack surface, from everyone.
		optional("kernel.unprivileged_userns_clone", "0"),
		optional("kernel.apparmor_restrict_unprivileged_userns", "1"),
		optional("dev.tty.ldisc_autoload", "0"),
		optional("dev.tty.legacy_tiocsti", "0"),
		optional("vm.unprivileged_userfaultfd", "0"),
		optional("vm.mmap_min_addr", "65536"),
		optional("net.core.bpf_jit_harden", "2"),
		set("fs.protected_hardlinks", "1"),
		set("fs.protected_symlinks", "1"),
		set("fs.protected_fifos", "2"),
		set("fs.protected_regular", "2"),
		set("fs.suid_dumpable", "0"),
		set("net.ipv4.icmp_echo_ignore_broadcasts", "1"),
		set("net.ipv4.icmp_ignore_bogus_error_responses", "1"),
		set("net.ipv4.tcp_syncookies", "1"),
		set("net.ipv4.tcp_rfc1337", "1"),
	}
	// "default" is for interfaces to come. accept_ra stays: without it a server
	// whose IPv6 route is announced loses it.
	for _, scope := range []string{"all", "default"} {
		settings = append(settings,
			set("net.ipv4.conf."+scope+".accept_redirects", "0"),
			set("net.ipv4.conf."+scope+".secure_redirects", "0"),
			set("net.ipv4.conf."+scope+".send_redirects", "0"),
			set("net.ipv4.conf."+scope+".accept_source_route", "0"),
			set("net.ipv4.conf."+scope+".rp_filter", "1"),
			set("net.ipv4.conf."+scope+".log_martians", "1"),
			optional("net.ipv6.conf."+scope+".accept_redirects", "0"),
			optional("net.ipv6.conf."+scope+".accept_source_route", "0"),
		)
	}
	if on.role == production {
		// Docker sets it when it starts, and "sysctl --system" would undo that.
		settings = append(settings, set("net.ipv4.ip_forward", "1"))
	}
	tuned := on.Hardening.Kernel.Sysctls
	for i := range settings {
		if value, ok := tuned[settings[i].Key]; ok {
			settings[i].Value = value
		}
	}
	for _, key := range sortedKeys(tuned) {
		if !slices.ContainsFunc(settings, func(s provision.Setting) bool { return s.Key == key }) {
			settings = append(settings, set(key, tuned[key]))
		}
	}
	return []provision.Resource{
		provision.Sysctls{
			// rp_filter cuts a server off whose answers take another way than what
			// they answer.
			About: provision.About{Concern: "kernel", Why: "the kernel tells little, trusts no redirects, and stays as it was booted", Guarded: true},
			// After 99-sysctl.conf, which is /etc/sysctl.conf: the last value counts.
			Path: "/etc/sysctl.d/zz-holdfast.conf", Settings: settings,
		},
	}
}
