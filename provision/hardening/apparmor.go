package hardening

import "holdfast/provision"

// apparmor confines services and containers, as both distributions have it.
func apparmor(target) []provision.Resource {
	about := provision.About{Concern: "apparmor", Why: "AppArmor confines services and containers", OwnKernel: true}
	return []provision.Resource{
		provision.Packages{About: about, Names: []string{"apparmor"}},
		provision.Unit{About: about, Name: "apparmor.service", State: provision.Running},
	}
}
