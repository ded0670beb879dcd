package hardening

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"holdfast/internal/environment"
	"holdfast/internal/probe"
	"holdfast/provision"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ada"

func config(sshFrom ...string) environment.Config {
	return environment.Config{Access: environment.Access{User: "deploy", SSHFrom: sshFrom}}
}

// recorded reads the answers of a server that was observed once. The Ubuntu ones
// are Debian's with what differs written by hand.
func recorded(t *testing.T, name string) provision.Facts {
	t.Helper()
	outputs := probe.Outputs{}
	files, err := os.ReadDir(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join("testdata", name, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		outputs["provision/"+f.Name()] = probe.Output{Stdout: string(text)}
	}
	facts, err := provision.ParseFacts("production", outputs)
	if err != nil {
		t.Fatal(err)
	}
	return facts
}

func TestPlansOfRecordedServers(t *testing.T) {
	for _, name := range []string{"debian-13-fresh", "ubuntu-24.04-fresh"} {
		plan := provision.Diff(Desired("production", config("198.18.121.0/24"), []string{key}), recorded(t, name))
		var b strings.Builder
		for _, note := range plan.Notes {
			fmt.Fprintf(&b, "note: %s\n", note)
		}
		for _, c := range plan.Changes {
			fmt.Fprintf(&b, "%s: %s [%s]\n  %s\n%s", c.Concern, c.Summary, c.ID, c.Why, c.Diff)
		}
		golden := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if b.String() != string(want) {
			t.Errorf("the plan of %s differs from %s; look at it, then run with -update:\n%s", name, golden, b.String())
		}
	}
}

// The files of the converged server are not recorded but those that are declared
// now, so that a change of one does not make the record wrong.
func TestAConvergedServerHasAnEmptyPlan(t *testing.T) {
	desired := Desired("production", config("198.18.121.0/24"), []string{key})
	facts := recorded(t, "debian-13-converged")
	for _, r := range desired {
		if f, ok := r.(provision.File); ok {
			facts.Files[f.Path] = declared(f.Content, f.Mode)
			continue
		}
		// A ruleset and sysctls write a file too: the whole of it is in the diff.
		c, _ := r.Change(provision.Facts{SSHPorts: facts.SSHPorts, Sysctls: facts.Sysctls})
		header, text, ok := strings.Cut(c.Diff, "\n@@ ")
		if !ok || !strings.HasPrefix(header, "--- /dev/null\n+++ ") || strings.HasPrefix(c.ID, "user:") {
			continue
		}
		var content strings.Builder
		for line := range strings.Lines(text) {
			if added, ok := strings.CutPrefix(line, "+"); ok {
				content.WriteString(added)
			}
		}
		facts.Files[strings.TrimPrefix(header, "--- /dev/null\n+++ ")] = declared(content.String(), 0)
	}
	for _, c := range provision.Diff(desired, facts).Changes {
		t.Errorf("%s: %s\n%s", c.ID, c.Summary, c.Diff)
	}
}

func declared(content string, mode fs.FileMode) provision.FileFacts {
	if mode == 0 {
		mode = 0o644
	}
	return provision.FileFacts{Kind: "file", Mode: fmt.Sprintf("%04o", mode), Owner: "root", Group: "root", Content: []byte(content)}
}

// What can lock the operator out must be taken back unless it is confirmed.
func TestEveryChangeOfAccessSSHAndFirewallIsGuarded(t *testing.T) {
	for _, role := range []string{"production", "audit"} {
		for _, r := range Desired(role, config(), []string{key}) {
			var about provision.About
			switch r := r.(type) {
			case provision.File:
				about = r.About
				if r.Path == "/etc/logrotate.d/holdfast" {
					continue
				}
			case provision.User:
				about = r.About
			case provision.Unit:
				about = r.About
			case provision.Ruleset:
				about = r.About
			default:
				continue
			}
			if slices.Contains([]string{"access", "ssh", "firewall"}, about.Concern) != about.Guarded {
				t.Errorf("%s: %s of concern %s: guarded is %v", role, r.ID(), about.Concern, about.Guarded)
			}
		}
	}
}

func TestEveryResourceSaysWhyAndHasAnIDOfItsOwn(t *testing.T) {
	for _, role := range []string{"production", "audit"} {
		seen := map[string]bool{}
		for _, r := range Desired(role, config("2001:db8::/32"), []string{key}) {
			if seen[r.ID()] {
				t.Errorf("%s: two resources are %s", role, r.ID())
			}
			seen[r.ID()] = true
			if c, ok := r.Change(provision.Facts{}); ok && (c.Concern == "" || c.Why == "" || c.Summary == "") {
				t.Errorf("%s: %s: %+v", role, r.ID(), c)
			}
			if strings.Contains(fmt.Sprint(r), "@USER@") {
				t.Errorf("%s: %s has a blank that was not filled in", role, r.ID())
			}
		}
	}
}

func TestTheAuditServerHasNoDockerNorWebPortsNorForwarding(t *testing.T) {
	for _, r := range Desired("audit", config(), []string{key}) {
		text := fmt.Sprint(r)
		for _, word := range []string{"docker.io", "daemon.json", "tcp dport { 80, 443 } accept", "PermitOpen", "ip_forward"} {
			if strings.Contains(text, word) {
				t.Errorf("%s has %q", r.ID(), word)
			}
		}
	}
}

func TestSSHIsAcceptedFromTheDeclaredNetworksOnly(t *testing.T) {
	for _, c := range []struct {
		from []string
		want []string
		not  string
	}{
		{nil, []string{"meta nfproto ipv4 tcp dport $ssh accept", "meta nfproto ipv6 tcp dport $ssh accept", "10/minute"}, "300/minute"},
		{[]string{"198.51.100.7/24"}, []string{"ip saddr { 198.51.100.0/24 } tcp dport $ssh accept", "300/minute"}, "ipv6 tcp dport"},
		{[]string{"2001:db8::1/32", "2001:db9::/32"}, []string{"ip6 saddr { 2001:db8::/32, 2001:db9::/32 } tcp dport $ssh accept"}, "ip saddr {"},
	} {
		text := rules("production", c.from)
		for _, want := range c.want {
			if !strings.Contains(text, want) {
				t.Errorf("from %v there is no %q:\n%s", c.from, want, text)
			}
		}
		if strings.Contains(text, c.not) {
			t.Errorf("from %v there is %q:\n%s", c.from, c.not, text)
		}
	}
}
