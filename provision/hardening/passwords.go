package hardening

import (
	"strconv"

	"holdfast/provision"
)

// passwords is the policy for passwords, of which a server of Holdfast has none:
// it holds should someone set one. The deploy user enters by key, which PAM's
// password modules never see, and its account never expires.
func passwords(on target) []provision.Resource {
	tuned := on.Hardening.Passwords
	about := func(why string) provision.About { return provision.About{Concern: "passwords", Why: why} }
	pam := about("an account whose password is guessed at is locked for a while")
	pam.Guarded = true // a mistake in PAM keeps everyone out
	strong := about("a new password must be hard to guess")
	strong.Guarded = true
	return []provision.Resource{
		provision.Packages{About: about("a new password must be hard to guess"), Names: []string{"libpam-passwdqc"}},
		provision.File{About: about("a new password must be hard to guess"),
			Path: "/etc/passwdqc.conf", Content: template("passwdqc.conf")},
		provision.Directives{About: about("hashes take long to try, and what new accounts create is theirs alone"),
			Path: "/etc/login.defs", Separator: "\t", Values: []provision.Directive{
				{Key: "UMASK", Value: "027"},
				{Key: "HOME_MODE", Value: "0700"},
				{Key: "PASS_MAX_DAYS", Value: strconv.Itoa(tuned.MaxDays)},
				{Key: "PASS_MIN_DAYS", Value: strconv.Itoa(tuned.MinDays)},
				{Key: "PASS_WARN_AGE", Value: "7"},
				{Key: "LOGIN_RETRIES", Value: "3"},
				{Key: "SHA_CRYPT_MIN_ROUNDS", Value: "65536"},
				{Key: "SHA_CRYPT_MAX_ROUNDS", Value: "65536"},
			}},
		// After the package's own profile, which asks for the password and knows
		// the module's defaults only.
		provision.File{About: strong, Path: "/usr/share/pam-configs/holdfast-passwdqc", Content: template("pam-passwdqc"),
			Actions: []string{"pam-auth-update"}},
		provision.File{About: pam, Path: "/etc/security/faillock.conf", Content: template("faillock.conf",
			"TRIES", strconv.Itoa(tuned.Tries), "LOCKED", strconv.Itoa(tuned.Locked))},
		provision.File{About: pam, Path: "/etc/tmpfiles.d/holdfast-faillock.conf", Content: template("tmpfiles-faillock.conf"),
			Expect: "systemd-tmpfiles --create /etc/tmpfiles.d/holdfast-faillock.conf"},
		provision.File{About: pam, Path: "/usr/share/pam-configs/holdfast-faillock", Content: template("pam-faillock"),
			Actions: []string{"pam-auth-update"}},
		provision.File{About: pam, Path: "/usr/share/pam-configs/holdfast-faillock-first", Content: template("pam-faillock-first"),
			Actions: []string{"pam-auth-update"}},
	}
}
