package hardening

import "holdfast/provision"

// coreDumps are what processes would leave behind of their memory.
func coreDumps(target) []provision.Resource {
	about := provision.About{Concern: "core-dumps", Why: "a core dump holds the keys and passwords of its process"}
	return []provision.Resource{
		provision.File{About: about, Path: "/etc/security/limits.d/holdfast.conf", Content: template("limits.conf")},
		provision.File{About: about, Path: "/etc/systemd/coredump.conf.d/holdfast.conf", Content: template("coredump.conf")},
		provision.File{About: about, Path: "/etc/systemd/system.conf.d/holdfast.conf", Content: template("system.conf"),
			Actions: []string{"daemon-reload"}},
		provision.File{About: about, Path: "/etc/profile.d/holdfast-core.sh", Content: template("core.sh")},
	}
}

// swap is a swap file where there is no swap at all.
func swap(on target) []provision.Resource {
	return []provision.Resource{provision.Swap{
		About: provision.About{Concern: "swap", Why: "a server short of memory slows down before it kills a database", OwnKernel: true},
		Path:  "/swapfile", MiB: on.Hardening.Swap.MiB,
	}}
}
