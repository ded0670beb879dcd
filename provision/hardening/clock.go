package hardening

import (
	"strings"

	"holdfast/provision"
)

// clock is the time: kept by one service, whichever the server has.
func clock(on target) []provision.Resource {
	about := provision.About{Concern: "time", Why: "tokens expire and logs compare by the clock"}
	var all []provision.Resource
	if servers := on.Hardening.Time.Servers; len(servers) > 0 {
		sources := "# Written by Holdfast.\n"
		for _, server := range servers {
			sources += "server " + server + " iburst\n"
		}
		// For either service; the other one's file lies there unread.
		all = append(all,
			provision.File{About: about, Path: "/etc/systemd/timesyncd.conf.d/holdfast.conf",
				Content: "# Written by Holdfast.\n[Time]\nNTP=" + strings.Join(servers, " ") + "\n", Actions: []string{"restart systemd-timesyncd.service"}},
			provision.File{About: about, Path: "/etc/chrony/sources.d/holdfast.sources", Content: sources, Actions: []string{"restart chrony.service"}})
	}
	return append(all,
		provision.Packages{About: about, Names: []string{"systemd-timesyncd | chrony"}},
		provision.Unit{About: about, Name: "systemd-timesyncd.service | chrony.service", State: provision.Running})
}
