package hardening

import "holdfast/provision"

// updates is how security updates get onto the server without anyone.
func updates() []provision.Resource {
	about := provision.About{Concern: "updates", Why: "security updates install themselves within a day"}
	return []provision.Resource{
		// Started once by hand: what a new server's image lacks is installed with
		// the first deploy and not in the night after it.
		provision.File{About: about, Path: "/etc/apt/apt.conf.d/52holdfast", Content: template("unattended.conf"),
			Actions: []string{"start apt-daily-upgrade.service"}},
		provision.Packages{About: about, Names: []string{"unattended-upgrades", "ca-certificates"}},
		provision.Unit{About: about, Name: "apt-daily.timer", State: provision.Running},
		provision.Unit{About: about, Name: "apt-daily-upgrade.timer", State: provision.Running},
	}
}
