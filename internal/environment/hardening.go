package environment

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Hardening tunes what package hardening makes of the servers. All of it may be
// absent: the defaults are what the judges of docs/judges.md were shown.
type Hardening struct {
	// Off names concerns that are left alone, each with the reason, as in
	// `swap: "the provider's image has zram"`. What was applied before stays as
	// it is. The concerns are those of docs/hardening.md.
	Off map[string]string `yaml:"off,omitempty" check:"keys=concern,format=text"`
	// SSH tunes sshd.
	SSH HardenedSSH `yaml:"ssh,omitempty"`
	// Shells tunes the shells of people who log in.
	Shells HardenedShells `yaml:"shells,omitempty"`
	// Passwords tunes passwords, of which the deploy user has none.
	Passwords HardenedPasswords `yaml:"passwords,omitempty"`
	// Kernel tunes kernel settings and modules.
	Kernel HardenedKernel `yaml:"kernel,omitempty"`
	// Mounts tunes the temporary file systems.
	Mounts HardenedMounts `yaml:"mounts,omitempty"`
	// Firewall opens further ports, or bounds what leaves the audit server.
	Firewall HardenedFirewall `yaml:"firewall,omitempty"`
	// Banning tunes how long addresses that guess are kept out.
	Banning HardenedBanning `yaml:"banning,omitempty"`
	// Updates tunes unattended upgrades.
	Updates HardenedUpdates `yaml:"updates,omitempty"`
	// Time tunes the clock.
	Time HardenedTime `yaml:"time,omitempty"`
	// Journal bounds the systemd journal.
	Journal HardenedJournal `yaml:"journal,omitempty"`
	// AuditLog tunes the kernel's audit log.
	AuditLog HardenedAuditLog `yaml:"audit-log,omitempty"`
	// Docker tunes the engine.
	Docker HardenedDocker `yaml:"docker,omitempty"`
	// Swap tunes the swap file.
	Swap HardenedSwap `yaml:"swap,omitempty"`
	// Banner is what is shown before a login.
	Banner HardenedBanner `yaml:"banner,omitempty"`
	// Packages names packages that nothing here needs.
	Packages HardenedPackages `yaml:"packages,omitempty"`
	// Services names services that nothing here needs.
	Services HardenedServices `yaml:"services,omitempty"`
}

// HardenedSSH tunes sshd.
type HardenedSSH struct {
	// MaxAuthTries is how many keys a client may offer before it is cut off.
	MaxAuthTries int `yaml:"max-auth-tries,omitempty" check:"min=1,max=10" default:"3"`
	// Unresponsive is after how many seconds a client that does not answer is
	// dropped, so that nobody takes its session over.
	Unresponsive int `yaml:"unresponsive,omitempty" check:"min=10,max=3600" default:"600"`
	// PermitOpen are further loopback ports of production that an SSH tunnel may
	// reach, as in "127.0.0.1:9090".
	PermitOpen []string `yaml:"permit-open,omitempty" check:"format=endpoint"`
}

// HardenedShells tunes the shells of people who log in.
type HardenedShells struct {
	// Idle is after how many seconds a shell that waits for a command ends.
	Idle int `yaml:"idle,omitempty" check:"min=60,max=86400" default:"3600"`
}

// HardenedPasswords tunes passwords.
type HardenedPasswords struct {
	// MaxDays is the age in days at which the password of a new account must be
	// changed. The deploy user is exempt: it has none.
	MaxDays int `yaml:"max-days,omitempty" check:"min=1,max=99999" default:"365"`
	// MinDays is how many days a password of a new account stays before it may
	// be changed again.
	MinDays int `yaml:"min-days,omitempty" check:"min=1,max=365" default:"1"`
	// Tries is how many wrong passwords in 15 minutes lock an account.
	Tries int `yaml:"tries,omitempty" check:"min=3,max=100" default:"5"`
	// Locked is for how many seconds an account is locked then.
	Locked int `yaml:"locked,omitempty" check:"min=60,max=86400" default:"900"`
}

// HardenedKernel tunes kernel settings and modules.
type HardenedKernel struct {
	// Sysctls are further kernel settings, or other values for those of
	// Holdfast, as in `vm.swappiness: 1`.
	Sysctls map[string]string `yaml:"sysctls,omitempty" check:"keys=sysctl,format=plain"`
	// Modules are kernel modules that may be loaded although Holdfast denies
	// them, such as "udf".
	Modules []string `yaml:"modules,omitempty" check:"format=module"`
}

// HardenedMounts tunes the temporary file systems.
type HardenedMounts struct {
	// Exec are those on which programs may be run after all, of /tmp, /var/tmp
	// and /dev/shm.
	Exec []string `yaml:"exec,omitempty" check:"oneof=/tmp|/var/tmp|/dev/shm"`
}

// HardenedFirewall opens further ports.
type HardenedFirewall struct {
	// Production are further ports to open on the production server, as in
	// "tcp/9100 from 198.51.100.0/24", "udp/51820" or "tcp/8000-8010". They also
	// let in what containers publish.
	Production []string `yaml:"production,omitempty" check:"format=opening"`
	// Audit are further ports to open on the audit server.
	Audit []string `yaml:"audit,omitempty" check:"format=opening"`
	// Egress is all that the audit server may connect to besides names, time,
	// and the production server, as in "tcp/443" or "tcp/80 to
	// 198.51.100.0/24". It needs its package mirror here. When absent, the audit
	// server may connect to anything.
	Egress []string `yaml:"egress,omitempty" check:"format=egress"`
}

// HardenedBanning tunes how long addresses that guess are kept out.
type HardenedBanning struct {
	// Tries is how many failed logins within the window ban an address.
	Tries int `yaml:"tries,omitempty" check:"min=2,max=100" default:"5"`
	// Window is the time in seconds in which they are counted.
	Window int `yaml:"window,omitempty" check:"min=60,max=604800" default:"600"`
	// Ban is the time in seconds for which an address is banned; it doubles each
	// time, up to a week.
	Ban int `yaml:"ban,omitempty" check:"min=60,max=604800" default:"3600"`
	// Exempt are networks that are never banned, besides access.ssh-from, the
	// pair's own addresses and loopback.
	Exempt []string `yaml:"exempt,omitempty" check:"format=cidr"`
}

// HardenedUpdates tunes unattended upgrades.
type HardenedUpdates struct {
	// Install is "security" or "all": what is installed without being asked for.
	Install string `yaml:"install,omitempty" check:"oneof=security|all" default:"security"`
	// Reboot is "never", or the time of day, as in "03:30", at which a server
	// restarts itself when an update needs it.
	Reboot string `yaml:"reboot,omitempty" check:"format=reboot" default:"never"`
}

// HardenedTime tunes the clock.
type HardenedTime struct {
	// Servers are the NTP servers to ask. When absent: those of the distribution.
	Servers []string `yaml:"servers,omitempty" check:"format=host"`
}

// HardenedJournal bounds the systemd journal.
type HardenedJournal struct {
	// MaxMiB is how much of the disk the journal may take, in MiB.
	MaxMiB int `yaml:"max-mib,omitempty" check:"min=16,max=1048576" default:"1024"`
	// Days is how long entries are kept.
	Days int `yaml:"days,omitempty" check:"min=1,max=36500" default:"365"`
}

// HardenedAuditLog tunes the kernel's audit log.
type HardenedAuditLog struct {
	// Immutable keeps even root from changing the rules before the next reboot.
	Immutable bool `yaml:"immutable,omitempty" default:"false"`
}

// HardenedDocker tunes the engine.
type HardenedDocker struct {
	// LogMiB is the size in MiB at which a container's log is rotated.
	LogMiB int `yaml:"log-mib,omitempty" check:"min=1,max=10240" default:"10"`
	// LogFiles is how many files of a container's log are kept.
	LogFiles int `yaml:"log-files,omitempty" check:"min=1,max=100" default:"5"`
	// Mirrors are registries, by address, that are asked before Docker Hub.
	Mirrors []string `yaml:"mirrors,omitempty" check:"format=mirror"`
	// AddressPools are the networks that container networks are cut from, /24
	// each, as in "10.200.0.0/16". When absent: Docker's own.
	AddressPools []string `yaml:"address-pools,omitempty" check:"format=pool"`
}

// HardenedSwap tunes the swap file.
type HardenedSwap struct {
	// MiB is the size of the swap file on a server that has no swap at all.
	MiB int `yaml:"mib,omitempty" check:"min=64,max=65536" default:"1024"`
}

// HardenedBanner is what is shown before a login.
type HardenedBanner struct {
	// Text is shown before a login. It should name neither the owner nor the
	// system: anyone can read it.
	Text string `yaml:"text,omitempty" check:"format=text" default:"This is a private system. Access is restricted to authorized users. All activity is logged and monitored; unauthorized access or use is prohibited and may be prosecuted under criminal and civil law."`
}

// HardenedPackages names packages that nothing here needs.
type HardenedPackages struct {
	// Keep are packages that stay although Holdfast removes them.
	Keep []string `yaml:"keep,omitempty" check:"format=package"`
	// Remove are further packages to remove.
	Remove []string `yaml:"remove,omitempty" check:"format=package"`
}

// HardenedServices names services that nothing here needs.
type HardenedServices struct {
	// Keep are units that go on although Holdfast stops them, as in
	// "exim4.service".
	Keep []string `yaml:"keep,omitempty" check:"format=unit"`
	// Stop are further units to stop.
	Stop []string `yaml:"stop,omitempty" check:"format=unit"`
}

// Complete returns h with the defaults where it says nothing. A loaded one is
// complete.
func (h Hardening) Complete() Hardening {
	var complete func(reflect.Value)
	complete = func(v reflect.Value) {
		for i := range v.NumField() {
			if f := v.Field(i); f.Kind() == reflect.Struct {
				complete(f)
			} else if f.IsZero() {
				fill(f, rulesOf(v.Type().Field(i)))
			}
		}
	}
	complete(reflect.ValueOf(&h).Elem())
	return h
}

// Concerns returns the names that hardening.off may have, sorted.
func Concerns() []string { return slices.Clone(concerns) }

var concerns = []string{
	"apparmor", "audit-log", "banner", "banning", "core-dumps", "integrity", "journal", "kernel", "modules", "mounts",
	"packages", "passwords", "permissions", "restarts", "services", "shells", "swap", "time", "updates",
}

// Indispensable returns the concerns that can't be turned off, and why.
func Indispensable() map[string]string { return maps.Clone(indispensable) }

var indispensable = map[string]string{
	"access":   "without the deploy user and its keys the next run could not log in",
	"docker":   "the stacks run in it",
	"firewall": "it alone keeps what containers publish from the internet; open ports under hardening.firewall",
	"guard":    "it is what lets you in again after a mistake",
	"ssh":      "its settings are what the guard tests before it lets a change stand; tune it under hardening.ssh",
}

func hintConcern(name string) string {
	if why, fixed := indispensable[name]; fixed {
		return name + " can't be turned off: " + why
	}
	return suggest(name, concerns)
}

// inconsistentHardening notes what each value alone can't show.
func (e *Environment) inconsistentHardening(wrong func(path, hint, message string, args ...any)) {
	h := e.Hardening
	for _, key := range []string{"net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding"} {
		if value, ok := h.Kernel.Sysctls[key]; ok && value != "1" {
			wrong("hardening.kernel.sysctls."+key, "", "the production server's containers need it to be 1")
		}
	}
	if len(h.Firewall.Egress) > 0 && !slices.ContainsFunc(h.Firewall.Egress, func(s string) bool { return strings.HasPrefix(s, "tcp/") }) {
		wrong("hardening.firewall.egress", `add "tcp/443", or the mirror's port and network`, "no TCP port is listed: security updates could not be fetched")
	}
	for i, name := range h.Packages.Keep {
		if slices.Contains(h.Packages.Remove, name) {
			wrong(fmt.Sprintf("hardening.packages.keep[%d]", i), "", "%s is under `remove:` too", name)
		}
	}
	for i, name := range h.Services.Stop {
		path := fmt.Sprintf("hardening.services.stop[%d]", i)
		if slices.Contains(h.Services.Keep, name) {
			wrong(path, "", "%s is under `keep:` too", name)
		}
		if name, _, _ = strings.Cut(name, "."); slices.Contains([]string{"ssh", "sshd", "docker", "containerd", "holdfast-firewall", "holdfast-guard-boot"}, name) {
			wrong(path, "", "Holdfast needs it")
		}
	}
}
