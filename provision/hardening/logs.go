package hardening

import "holdfast/provision"

// logs is the systemd journal: on disk, and bounded.
func logs() []provision.Resource {
	return []provision.Resource{provision.File{
		About: provision.About{Concern: "logs", Why: "the journal survives a reboot and can't fill the disk"},
		Path:  "/etc/systemd/journald.conf.d/holdfast.conf", Content: template("journald.conf"),
		Actions: []string{"restart systemd-journald.service"},
	}}
}

// audits is the kernel's audit log: who changed accounts, access and Docker.
func audits(role string) []provision.Resource {
	about := provision.About{Concern: "audit log", Why: "it can be told later who changed what", OwnKernel: true}
	rules := template("audit.rules")
	if role == production {
		rules += "-w /etc/docker -p wa -k docker\n"
	}
	return []provision.Resource{
		provision.File{About: about, Path: "/etc/audit/rules.d/holdfast.rules", Content: rules, Mode: 0o640,
			// auditd refuses to be restarted by hand.
			Expect: "! systemctl is-active --quiet auditd.service || augenrules --load"},
		provision.Packages{About: about, Names: []string{"auditd"}},
		provision.Unit{About: about, Name: "auditd.service", State: provision.Running},
	}
}
