package hardening

import (
	"strings"

	"holdfast/provision"
)

// updates is how updates get onto the server without anyone.
func updates(on target) []provision.Resource {
	about := provision.About{Concern: "updates", Why: "security updates install themselves within a day"}
	tuned := on.Hardening.Updates
	further := ""
	if tuned.Install == "all" {
		further = `    "origin=Debian,codename=${distro_codename},label=Debian";
    "origin=Debian,codename=${distro_codename}-updates";
    "origin=Ubuntu,archive=${distro_codename}";
    "origin=Ubuntu,archive=${distro_codename}-updates";
`
	}
	reboot := `"false";`
	if tuned.Reboot != "never" {
		reboot = "\"true\";\nUnattended-Upgrade::Automatic-Reboot-WithUsers \"true\";\nUnattended-Upgrade::Automatic-Reboot-Time \"" + tuned.Reboot + "\";"
	}
	return []provision.Resource{
		// Started once by hand: what a new server's image lacks is installed with
		// the first deploy, behind its back, and not in the night after it.
		provision.File{About: about, Path: "/etc/apt/apt.conf.d/52holdfast",
			Content: template("unattended.conf", "FURTHER", strings.TrimSuffix(further, "\n"), "REBOOT", reboot),
			Actions: []string{"start-later apt-daily-upgrade.service"}},
		provision.Packages{About: about, Names: []string{"unattended-upgrades", "ca-certificates"}},
		provision.Unit{About: about, Name: "apt-daily.timer", State: provision.Running},
		provision.Unit{About: about, Name: "apt-daily-upgrade.timer", State: provision.Running},
	}
}

// restarts is needrestart, which names what still runs on replaced libraries.
// Ubuntu has it ask questions in the middle of an installation, or restart
// services unasked.
func restarts(target) []provision.Resource {
	about := provision.About{Concern: "restarts", Why: "what still runs on old libraries is named, and nothing is asked or restarted unasked"}
	return []provision.Resource{
		provision.File{About: about, Path: "/etc/needrestart/conf.d/holdfast.conf", Content: template("needrestart.conf")},
		provision.Packages{About: about, Names: []string{"needrestart"}},
	}
}
