package hardening

import (
	"slices"

	"holdfast/provision"
)

// mounts keep what anyone may write from being run. /var/lib/docker is not
// among them: containers run from there.
func mounts(on target) []provision.Resource {
	about := func(why string) provision.About { return provision.About{Concern: "mounts", Why: why} }
	options := func(where string) []string {
		if slices.Contains(on.Hardening.Mounts.Exec, where) {
			return []string{"nosuid", "nodev"}
		}
		return []string{"nosuid", "nodev", "noexec"}
	}
	const why = "what anyone may write can't be run, nor raise anyone's rights"
	return []provision.Resource{
		// Before the mounts: packages are asked about from a folder where their
		// scripts can run (apt-extracttemplates(1)).
		provision.File{About: about("apt runs packages' scripts elsewhere than in /tmp"),
			Path: "/etc/apt/apt.conf.d/52holdfast-templates", Content: "// Written by Holdfast: programs can't be run in /tmp.\nAPT::ExtractTemplates::TempDir \"/var/cache/debconf\";\n"},
		provision.Mount{About: about(why), Where: "/dev/shm", Options: options("/dev/shm")},
		provision.Mount{About: about(why), Where: "/tmp", What: "tmpfs", Type: "tmpfs", Options: options("/tmp")},
		provision.Mount{About: about(why), Where: "/var/tmp", What: "/var/tmp", Type: "none", Options: append(options("/var/tmp"), "bind")},
	}
}
