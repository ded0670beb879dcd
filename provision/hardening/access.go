package hardening

import "holdfast/provision"

// access is who may become root: the deploy user with the operators' keys, and
// nobody with a password.
func access(on target) []provision.Resource {
	about := func(why string) provision.About {
		return provision.About{Concern: "access", Why: why, Guarded: true}
	}
	user := on.Access.User
	return []provision.Resource{
		provision.Packages{About: about("the deploy user becomes root through sudo"), Names: []string{"sudo", "logrotate"}},
		provision.User{About: about("people log in as one user without root's rights, each with a key of their own"),
			Name: user, Groups: []string{}, Keys: on.keys, NoExpiry: true},
		provision.File{About: about("root only through sudo, which writes down who did what"),
			Path: "/etc/sudoers.d/holdfast", Content: template("sudoers", "USER", user), Mode: 0o440, Check: "visudo -c -q -f %s"},
		provision.File{About: provision.About{Concern: "access", Why: "sudo's log does not grow without end"},
			Path: "/etc/logrotate.d/holdfast", Content: template("logrotate")},
		provision.User{About: about("a password of root's could be guessed"), Name: "root", NoPassword: true},
	}
}
