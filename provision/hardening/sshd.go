package hardening

import "holdfast/provision"

// sshd is how the server lets people in.
func sshd(role, user string) []provision.Resource {
	forwarding := "AllowTcpForwarding no"
	if role == production {
		// The database, the gateway, Studio and the registry listen on loopback.
		forwarding = "AllowTcpForwarding local\nPermitOpen 127.0.0.1:5432 127.0.0.1:8000 127.0.0.1:3001 127.0.0.1:5000"
	}
	return []provision.Resource{
		provision.File{
			About: provision.About{Concern: "ssh", Why: "keys only, no root, strong algorithms, no detours", Guarded: true},
			Path:  "/etc/ssh/sshd_config.d/00-holdfast.conf", Mode: 0o600,
			Content: template("sshd.conf", "USER", user, "FORWARDING", forwarding),
			// The file alone, and then sshd's whole configuration: an older
			// sshd_config may not include the folder, or settle things before it.
			// Where a socket starts sshd its folder in /run may be missing.
			Check:   "mkdir -p /run/sshd && sshd -t -f %s",
			Expect:  "sshd -t && sshd -T -C user=" + user + ",host=x,addr=198.51.100.1 | grep -qix 'passwordauthentication no' && sshd -T | grep -qix 'allowusers " + user + "'",
			Actions: []string{"reload ssh.service"},
		},
	}
}
