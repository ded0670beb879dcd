package hardening

import (
	"strconv"

	"holdfast/provision"
)

// journal is the systemd journal: on disk, and bounded.
func journal(on target) []provision.Resource {
	tuned := on.Hardening.Journal
	return []provision.Resource{provision.File{
		About:   provision.About{Concern: "journal", Why: "the journal survives a reboot and can't fill the disk"},
		Path:    "/etc/systemd/journald.conf.d/holdfast.conf",
		Content: template("journald.conf", "MIB", strconv.Itoa(tuned.MaxMiB), "DAYS", strconv.Itoa(tuned.Days)),
		Actions: []string{"restart systemd-journald.service"},
	}}
}

// auditLog is the kernel's audit log: who changed accounts, access and Docker.
func auditLog(on target) []provision.Resource {
	about := provision.About{Concern: "audit-log", Why: "it can be told later who changed what", OwnKernel: true}
	rules := template("audit.rules")
	if on.role == production {
		rules += template("audit-docker.rules")
	}
	if on.Hardening.AuditLog.Immutable {
		rules += "\n# Nobody changes the rules before the next reboot.\n-e 2\n"
	}
	return []provision.Resource{
		provision.File{About: about, Path: "/etc/audit/rules.d/holdfast.rules", Content: rules, Mode: 0o640,
			// auditd refuses to be restarted by hand. Rules that were made immutable
			// wait for the next reboot.
			Expect: "! systemctl is-active --quiet auditd.service || auditctl -s | grep -qx 'enabled 2' || augenrules --load"},
		provision.Packages{About: about, Names: []string{"auditd"}},
		provision.Unit{About: about, Name: "auditd.service", State: provision.Running},
	}
}

// integrity notices changed programs and settings: AIDE compares them once a
// day and writes what has changed into the journal, each change once.
func integrity(target) []provision.Resource {
	about := provision.About{Concern: "integrity", Why: "a changed program or setting is in the journal within a day"}
	packaged := about
	packaged.Why = "a file that is not what its package brought is told of once a week"
	const service, timer = "holdfast-integrity.service", "holdfast-integrity.timer"
	return []provision.Resource{
		provision.Packages{About: about, Names: []string{"aide", "debsums"}},
		provision.File{About: packaged, Path: "/etc/default/debsums", Content: "# Written by Holdfast.\nCRON_CHECK=weekly\n"},
		provision.File{About: about, Path: "/etc/aide/aide.conf", Content: template("aide.conf"), Mode: 0o600},
		// The first look takes a minute of one processor; nobody waits for it.
		provision.File{About: about, Path: "/etc/systemd/system/" + service, Content: template(service),
			Actions: []string{"daemon-reload", "start-later " + service}},
		provision.File{About: about, Path: "/etc/systemd/system/" + timer, Content: template(timer), Actions: []string{"daemon-reload"}},
		provision.Unit{About: about, Name: timer, State: provision.Running},
	}
}
