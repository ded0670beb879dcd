package hardening

import "holdfast/provision"

// clock is the time: kept by one service, whichever the server has.
func clock() []provision.Resource {
	about := provision.About{Concern: "time", Why: "tokens expire and logs compare by the clock"}
	return []provision.Resource{
		provision.Packages{About: about, Names: []string{"systemd-timesyncd | chrony"}},
		provision.Unit{About: about, Name: "systemd-timesyncd.service | chrony.service", State: provision.Running},
	}
}
