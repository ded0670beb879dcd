package provision

import (
	"strings"
	"testing"
)

func TestPermissionsBoundWhatIsGivenAwayAndNothingElse(t *testing.T) {
	f := Facts{Paths: map[string]PathFacts{}}
	if err := f.parsePaths("81a4 root root /a\n8180 root root /private\n41ed ada ada /folder\na1ff root root /link\n89ed root root /setuid\n"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		p       Permissions
		summary string
	}{
		{Permissions{Path: "/a", Mode: 0o600}, "give /a mode 0600, not 0644"},
		{Permissions{Path: "/a", Mode: 0o644, Owner: "root", Group: "root"}, ""},
		{Permissions{Path: "/private", Mode: 0o640}, ""},
		{Permissions{Path: "/folder", Mode: 0o700, Owner: "root", Group: "root"}, "give /folder to root:root, not ada:ada, and mode 0700, not 0755"},
		{Permissions{Path: "/setuid", Mode: 0o755}, "give /setuid mode 0755, not 4755"},
		{Permissions{Path: "/link", Mode: 0o600}, ""},
		{Permissions{Path: "/missing", Mode: 0o600, Owner: "root"}, ""},
	} {
		change, found := c.p.Change(f)
		if found != (c.summary != "") || change.Summary != c.summary {
			t.Errorf("%s: %t %q, want %q", c.p.Path, found, change.Summary, c.summary)
		}
		if found && strings.Contains(change.Summary, "mode") != strings.Contains(change.how.script, "chmod") {
			t.Errorf("%s: %s", change.Summary, change.how.script)
		}
	}
	for _, bad := range []string{"81a4 root root\n", "xyz root root /a\n"} {
		if err := f.parsePaths(bad); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}

func TestRemovedPackagesArePurgedOnlyWhenTheyAreThere(t *testing.T) {
	r := Removed{About: About{Concern: "packages", Guarded: true}, Names: []string{"telnet", "nis", "talk"}}
	c, found := r.Change(Facts{Packages: map[string]string{"telnet": "installed", "nis": "config-files", "talk": "half-installed"}})
	if !found || c.how.script != "apt purge telnet talk\n" || c.how.guarded {
		t.Errorf("%t %+v", found, c)
	}
	if _, found := r.Change(Facts{Packages: map[string]string{"nis": "not-installed"}}); found {
		t.Error("there is nothing to remove")
	}
}
