package hardening

import (
	"strconv"

	"holdfast/provision"
)

// shells is what the shells of people who log in start with.
func shells(on target) []provision.Resource {
	return []provision.Resource{
		provision.File{About: provision.About{Concern: "shells", Why: "what people create is not for everyone to read"},
			Path: "/etc/profile.d/holdfast-umask.sh", Content: template("umask.sh")},
		provision.File{About: provision.About{Concern: "shells", Why: "a shell that someone walked away from ends by itself"},
			Path: "/etc/profile.d/holdfast-idle.sh", Content: template("idle.sh", "SECONDS", strconv.Itoa(on.Hardening.Shells.Idle))},
	}
}
