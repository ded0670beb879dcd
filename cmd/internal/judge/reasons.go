package main

// reason is why something that Lynis says of a Holdfast server stays as it is;
// "" when nobody has given one.
func reason(s Suggestion) string {
	if why, ok := reasons[s.Test+" "+s.Details]; ok {
		return why
	}
	return reasons[s.Test]
}

// reasons are kept by test, or by test and details where a test has several.
var reasons = map[string]string{
	"LYNIS":     "the age of Lynis' own release, as Debian ships it",
	"AUTH-9284": "the locked accounts are those of the distribution's services",
	"ACCT-9622": "the kernel's audit log and sudo's say who did what; process accounting counts without saying why",
	"ACCT-9626": "load over time is for monitoring, not for hardening",
	"ACCT-9628": "Holdfast installs auditd with its rules on a server of its own; a container is not allowed to have it",
	"BOOT-5180": "a lab server boots without a runlevel that Lynis can find",
	"BOOT-5264": "units of the distribution are its own to confine; the unit that Holdfast adds is confined, and the stacks run in containers",
	"CONT-8104": "the engine misses the lab's memory and processor controllers; a rented server has them",
	"DEB-0280":  "the folder per user that it sets is closed to services which packages' scripts run under other users; services have a /tmp of their own already",
	"DEB-0810":  "it asks a person about bugs; updates install themselves here",
	"DEB-0811":  "it shows changes to a person; updates install themselves here",
	"DEB-0880":  "Holdfast's settings are in jail.d, so that jail.local stays free for the operator's own; updates touch neither",
	"FILE-6310": "a running server can't be repartitioned safely; the journal, logs and Docker's logs are bounded instead",
	"FIRE-4513": "the unused rules are Docker's, for containers that do not run yet",
	"HRDN-7230": "scanners look for what has no way onto these servers; AIDE and debsums tell of changed files",
	"KRNL-6000": "containers need forwarding (the lab's audit server has it from the machine it runs on, and its firewall forwards nothing), and Docker's networks need modules",
	"LOGG-2154": "logs stay on the server, in a bounded journal; where they should be sent is the operator's choice",
	"NAME-4028": "the lab's servers have no domain",
	"PKGS-7388": "the source is declared, in the form that Debian 13 has for it, and unattended upgrades install from it; Lynis does not find it there",
	"PKGS-7394": "`apt list --upgradable` says the same without a cache of its own",
	"SSH-7408 AllowTcpForwarding (set LOCAL to NO)": "Studio and the database are reached through a tunnel, to the listed loopback ports alone",
	"SSH-7408 MaxSessions (set 10 to 2)":            "one connection carries observation, changes and the lock side by side",
	"SSH-7408 Port (set 22 to )":                    "another port keeps nobody out; access.port sets one",
	"TOOL-5002":                                     "Holdfast is one, and leaves no agent that Lynis could find",
	"KRNL-5788":                                     "a container has no kernel of its own; a rented server has",
}
