//go:build lab

package main

import (
	"strings"
	"testing"
)

// What asks for a reboot is played by the file that packages write; the reboot
// is a real one.
func TestD3ADueRebootIsToldAndDoneOneServerAtATime(t *testing.T) {
	for _, role := range []string{"production", "audit"} {
		on(t, role, "touch /run/reboot-required; echo linux-image-amd64 > /run/reboot-required.pkgs")
	}
	holdfast(t, "plan", "-C", stage.dir).want(t, 0, "a reboot is due", "linux-image-amd64", "nothing to change")
	r := holdfast(t, "deploy", "-C", stage.dir, "--yes", "--no-verify")
	r.want(t, 0, "a reboot is due", "linux-image-amd64", "holdfast deploy --reboot")

	before := on(t, "production", "docker ps -q --no-trunc | sort; cut -d' ' -f22 /proc/1/stat")
	r = holdfast(t, "deploy", "-C", stage.dir, "--yes", "--reboot", "--gate", "high")
	r.want(t, 0, "it is up again", "wait for stack supabase")
	if after := on(t, "production", "docker ps -q --no-trunc | sort; cut -d' ' -f22 /proc/1/stat"); after == before {
		t.Error("production was not restarted")
	}
	audit, production := strings.Index(r.err, "audit       reboot: "), strings.Index(r.err, "production  reboot: ")
	if audit < 0 || production < audit || !strings.Contains(r.err[audit:production], "it is up again") {
		t.Errorf("the audit server was not back before production was restarted:\n%s", clip(r.err))
	}
	holdfast(t, "plan", "-C", stage.dir).want(t, 0, "nothing to change")
	if r := holdfast(t, "deploy", "-C", stage.dir, "--yes", "--no-verify", "--reboot"); strings.Contains(r.err, "reboot") {
		t.Errorf("it restarts servers that are not due for it:\n%s", clip(r.err))
	}
}

// The port moves as one guarded change of sshd and firewall, from the one that
// the server is reached on to the one that is declared, and back.
func TestD4SshdMovesToTheDeclaredPortAndBack(t *testing.T) {
	moved := variant(t, replace("access:\n", "access:\n  port: 2222\n"))
	holdfast(t, "deploy", "-C", moved, "--yes", "--no-verify").want(t, 0, "done:")
	holdfast(t, "plan", "-C", moved).want(t, 0, "nothing to change")
	holdfast(t, "plan", "-C", stage.dir, "--connect-timeout", "3s").want(t, 4, "22")

	back := variant(t, func(s string) string {
		s = strings.Replace(s, "access:\n", "access:\n  port: 22\n", 1)
		return strings.ReplaceAll(s, "\n    address: ", "\n    port: 2222\n    address: ")
	})
	holdfast(t, "deploy", "-C", back, "--yes", "--no-verify").want(t, 0, "done:")
	holdfast(t, "deploy", "-C", stage.dir, "--yes", "--no-verify").want(t, 0)
	holdfast(t, "plan", "-C", stage.dir).want(t, 0, "nothing to change")
}
