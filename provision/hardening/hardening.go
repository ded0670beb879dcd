// Package hardening says what a hardened server looks like: one table of
// concerns, one file a concern, each returning resources for package provision.
// It holds no logic beyond what differs between roles, systems and what
// holdfast.yml tunes, and touches no server.
//
// The values follow the CIS Debian benchmark, ssh-audit and docker-bench where
// they do not break what runs here; where they do, docs/hardening.md says so.
package hardening

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"holdfast/internal/environment"
	"holdfast/provision"
	"holdfast/templates"
)

// The roles of servers.
const (
	production = "production" // runs the stacks
	audit      = "audit"      // watches production, and keeps its backups
)

// A concern is one thing that hardening takes care of.
type concern struct {
	name      string // in plans, and under hardening.off
	roles     []string
	why       string
	resources func(target) []provision.Resource
}

// target is the server that is to be hardened.
type target struct {
	environment.Config
	role string
	keys []string // authorized_keys lines of the operators
}

var both = []string{production, audit}

// concerns is the whole of hardening, in the order of a plan.
var concerns = []concern{
	{"guard", both, "settings that nobody has confirmed are taken back, also after a reboot", guard},
	{"access", both, "people log in as one user, each with a key, and become root through sudo", access},
	{"ssh", both, "keys only, no root, strong algorithms, no detours", ssh},
	{"firewall", both, "only declared ports answer, also where containers publish more", firewall},
	{"banning", both, "who guesses is kept out before the guess is right", banning},
	{"passwords", both, "no password is weak, old or guessed, should one ever be set", passwords},
	{"shells", both, "what people create is not for everyone to read, and no shell waits for ever", shells},
	{"banner", both, "nobody can say that they were not told", banner},
	{"kernel", both, "the kernel tells little, trusts no redirects, and stays as it was booted", kernel},
	{"modules", both, "modules that nothing here needs are attack surface", modules},
	{"mounts", both, "what anyone may write can't be run", mounts},
	{"core-dumps", both, "a core dump holds the keys and passwords of its process", coreDumps},
	{"swap", both, "a server short of memory slows down before it kills a database", swap},
	{"apparmor", both, "services and containers are confined", apparmor},
	{"permissions", both, "what only root needs only root can read", permissions},
	{"packages", both, "what is not installed can't be attacked", packages},
	{"services", both, "what does not run can't be attacked", services},
	{"journal", both, "logs survive a reboot and can't fill the disk", journal},
	{"audit-log", both, "it can be told later who changed what", auditLog},
	{"integrity", both, "a changed program or setting is noticed within a day", integrity},
	{"time", both, "tokens expire and logs compare by the clock", clock},
	{"updates", both, "security updates install themselves within a day", updates},
	{"restarts", both, "updates never wait for an answer, and restart nothing unasked", restarts},
	{"docker", []string{production}, "the stacks run in containers, under a daemon with safe defaults", docker},
}

// Desired returns the declared state of the server in role, "production" or
// "audit". operatorKeys are authorized_keys lines. What holdfast.yml leaves open
// is at its default, also in a cfg that was not loaded.
func Desired(role string, cfg environment.Config, operatorKeys []string) []provision.Resource {
	cfg.Hardening = cfg.Hardening.Complete()
	on := target{Config: cfg, role: role, keys: operatorKeys}
	var all []provision.Resource
	for _, c := range concerns {
		if _, off := cfg.Hardening.Off[c.name]; off || !slices.Contains(c.roles, role) {
			continue
		}
		all = append(all, c.resources(on)...)
	}
	return all
}

// Off returns one line for each concern that holdfast.yml turns off, with the
// reason, for the notes of a plan: what is left out should not be forgotten.
func Off(cfg environment.Config) []string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(cfg.Hardening.Off)) {
		lines = append(lines, fmt.Sprintf("hardening leaves %s alone: %s", name, cfg.Hardening.Off[name]))
	}
	return lines
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
