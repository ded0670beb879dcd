package hardening

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"holdfast/provision"
)

// ssh is how the server lets people in.
func ssh(on target) []provision.Resource {
	user, tuned := on.Access.User, on.Hardening.SSH
	forwarding := "AllowTcpForwarding no"
	if on.role == production {
		// The database, the gateway, Studio and the registry listen on loopback.
		open := append([]string{"127.0.0.1:5432", "127.0.0.1:8000", "127.0.0.1:3001", "127.0.0.1:5000"}, tuned.PermitOpen...)
		forwarding = "AllowTcpForwarding local\nPermitOpen " + strings.Join(open, " ")
	}
	// All of a connection that a Match block may ask for, or sshd gives no answer.
	connection := fmt.Sprintf("user=%s,host=x,addr=198.51.100.1,laddr=198.51.100.2,lport=%d", user, cmp.Or(on.Access.Port, 22))
	expect := "sshd -t && settings=$(sshd -T -C " + connection + ") && echo \"$settings\" | grep -qix 'passwordauthentication no' && echo \"$settings\" | grep -qix 'allowusers " + user + "'"
	// Not a reload: that is over before sshd has read anything, and a new login
	// under the old settings would confirm the new ones. Sessions go on.
	actions := []string{"restart ssh.service"}
	port := ""
	if on.Access.Port != 0 {
		port = fmt.Sprintf("\nPort %d\n", on.Access.Port)
		// Ports add up: one that another file sets stays open.
		expect += fmt.Sprintf(" && { [ \"$(echo \"$settings\" | sed -n 's/^port //p')\" = %d ] || { echo 'another file sets Port as well: grep -ri ^port /etc/ssh' >&2; exit 1; }; }", on.Access.Port)
		// Where a socket starts sshd, the socket's ports are made of sshd's
		// settings when systemd reloads (sshd-socket-generator of Ubuntu).
		actions = []string{"daemon-reload", "restart ssh.socket", "restart ssh.service"}
	}
	if _, off := on.Hardening.Off["banner"]; !off {
		port += "\nBanner /etc/issue.net\n"
	}
	about := provision.About{Concern: "ssh", Why: "keys only, no root, strong algorithms, no detours", Guarded: true}
	exempt := about
	exempt.Why = "sshd slows nobody down whom the firewall lets in on purpose"
	exempt.Systems = []string{"debian 13"} // OpenSSH 9.8 and later; older ones do not start with an unknown word
	return []provision.Resource{
		provision.File{
			About: about, Path: "/etc/ssh/sshd_config.d/00-holdfast.conf", Mode: 0o600,
			Content: template("sshd.conf", "USER", user, "FORWARDING", forwarding, "FURTHER", port,
				"TRIES", strconv.Itoa(tuned.MaxAuthTries), "ALIVE", strconv.Itoa(max(1, tuned.Unresponsive/2))),
			// The file alone, and then sshd's whole configuration: an older
			// sshd_config may not include the folder, or settle things before it.
			// Where a socket starts sshd its folder in /run may be missing.
			Check: "mkdir -p /run/sshd && sshd -t -f %s", Expect: expect, Actions: actions,
		},
		provision.File{
			About: exempt, Path: "/etc/ssh/sshd_config.d/01-holdfast-penalties.conf", Mode: 0o600,
			Content: "# Written by Holdfast. sshd's penalties stay as they are for everyone else.\nPerSourcePenaltyExemptList " +
				strings.Join(slices.Concat(loopback, on.friends()), ",") + "\n",
			Check: "mkdir -p /run/sshd && sshd -t -f %s", Expect: "sshd -t", Actions: []string{"restart ssh.service"},
		},
	}
}
