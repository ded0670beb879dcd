package provision

import (
	"strings"
	"testing"
)

func TestAGroupHasTheDeclaredMembersAndNoOthers(t *testing.T) {
	for _, c := range []struct {
		facts   string
		members []string
		script  string // "" for no change
	}{
		{"", nil, ""},
		{"docker:x:110:\n", nil, ""},
		{"docker:x:110:debian,ubuntu\n", nil, "gpasswd --members '' docker"},
		{"docker:x:110:ci\n", []string{"ci"}, ""},
		{"docker:x:110:\n", []string{"deploy", "ci"}, "gpasswd --members ci,deploy docker"},
	} {
		facts := Facts{Groups: map[string][]string{}}
		if err := facts.parseGroups(c.facts); err != nil {
			t.Fatal(err)
		}
		change, ok := Group{Name: "docker", Members: c.members}.Change(facts)
		if ok != (c.script != "") || !strings.Contains(change.how.script, c.script) {
			t.Errorf("%q, wanted %v: %v %q", c.facts, c.members, ok, change.how.script)
		}
	}
	if (&Facts{Groups: map[string][]string{}}).parseGroups("docker\n") == nil {
		t.Error("a line that is no group was read")
	}
}

func TestAnAccountThatWouldExpireIsKept(t *testing.T) {
	facts := Facts{Users: map[string]UserFacts{}}
	text := "user\tdeploy\t1000\t/home/deploy\t/bin/bash\tlocked\tdeploy\nexpires\tdeploy\n"
	if err := facts.parseUsers(text); err != nil {
		t.Fatal(err)
	}
	deploy := User{Name: "deploy", NoExpiry: true}
	if c, ok := deploy.Change(facts); !ok || c.Summary != "keep deploy from expiring" {
		t.Errorf("%v %q", ok, c.Summary)
	}
	if c, _ := deploy.Change(Facts{}); !strings.Contains(c.how.script, "chage --mindays 0 --maxdays -1") {
		t.Errorf("a new account gets login.defs' expiry: %q", c.how.script)
	}
	if (&Facts{Users: map[string]UserFacts{}}).parseUsers("expires\tnobody\n") == nil {
		t.Error("the expiry of a user who is not there was read")
	}
}
