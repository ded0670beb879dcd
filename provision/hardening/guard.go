package hardening

import "holdfast/provision"

// guard makes the guard of unconfirmed settings outlive a reboot.
func guard(target) []provision.Resource {
	about := provision.About{Concern: "guard", Why: "settings that nobody has confirmed are taken back, also after a reboot"}
	return []provision.Resource{
		provision.File{About: about, Path: "/etc/systemd/system/holdfast-guard-boot.service",
			Content: template("holdfast-guard-boot.service"), Actions: []string{"daemon-reload"}},
		provision.Unit{About: about, Name: "holdfast-guard-boot.service", State: provision.Enabled},
	}
}
