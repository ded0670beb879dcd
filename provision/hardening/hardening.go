// Package hardening says what a hardened server looks like: one file a concern,
// each returning resources for package provision. It holds no logic beyond what
// differs between the roles, and touches no server.
//
// The values follow the CIS Debian benchmark, ssh-audit and docker-bench where
// they do not break what runs here; where they do, a comment says so.
package hardening

import (
	"io/fs"
	"slices"
	"strings"

	"holdfast/internal/environment"
	"holdfast/provision"
	"holdfast/templates"
)

// production is the role that runs the stacks; the other is "audit".
const production = "production"

// Desired returns the declared state of the server in role, "production" or
// "audit". operatorKeys are authorized_keys lines.
func Desired(role string, cfg environment.Config, operatorKeys []string) []provision.Resource {
	return slices.Concat(
		guard(),
		access(cfg.Access.User, operatorKeys),
		sshd(role, cfg.Access.User),
		firewall(role, cfg.Access.SSHFrom),
		kernel(role),
		memory(),
		logs(),
		clock(),
		updates(),
		audits(role),
		docker(role),
	)
}

// template returns an embedded file with the values of pairs, name and value by
// turns, in place of @NAME@.
func template(name string, pairs ...string) string {
	text, err := fs.ReadFile(templates.FS, "server/files/"+name)
	if err != nil {
		panic(err) // embedded under a constant name, which a test reads
	}
	for i := range pairs {
		if i%2 == 0 {
			pairs[i] = "@" + pairs[i] + "@"
		}
	}
	return strings.NewReplacer(pairs...).Replace(string(text))
}

// guard makes the guard of unconfirmed settings outlive a reboot.
func guard() []provision.Resource {
	about := provision.About{Concern: "guard", Why: "settings that nobody has confirmed are taken back, also after a reboot"}
	return []provision.Resource{
		provision.File{About: about, Path: "/etc/systemd/system/holdfast-guard-boot.service",
			Content: template("holdfast-guard-boot.service"), Actions: []string{"daemon-reload"}},
		provision.Unit{About: about, Name: "holdfast-guard-boot.service", State: provision.Enabled},
	}
}
