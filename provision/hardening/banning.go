package hardening

import (
	"slices"
	"strconv"
	"strings"

	"holdfast/provision"
)

// banning keeps addresses out that fail to log in again and again.
func banning(on target) []provision.Resource {
	about := provision.About{Concern: "banning", Why: "who guesses is kept out before the guess is right"}
	guarded := about
	guarded.Guarded = true // who is not exempt any more may be banned
	tuned := on.Hardening.Banning
	return []provision.Resource{
		// Early: with Debian's own settings fail2ban exempts nobody, and bans the
		// operator for the logins that a first run tries as a user who is not there
		// yet.
		provision.File{About: guarded, Early: true, Path: "/etc/fail2ban/jail.d/zz-holdfast.local", Content: template("fail2ban.conf",
			"EXEMPT", strings.Join(slices.Concat(loopback, on.friends(), tuned.Exempt), " "),
			"TRIES", strconv.Itoa(tuned.Tries), "WINDOW", strconv.Itoa(tuned.Window), "BAN", strconv.Itoa(tuned.Ban)),
			Actions: []string{"start fail2ban.service"}},
		// It reads the journal through python3-systemd, and knows no other way.
		provision.Packages{About: about, Names: []string{"fail2ban", "python3-systemd"}},
		provision.Unit{About: about, Name: "fail2ban.service", State: provision.Running},
	}
}
