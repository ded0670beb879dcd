//go:build lab

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestA1PlanOfBareServersSaysWhatWouldChangeAndChangesNothing(t *testing.T) {
	r := holdfast(t, "plan", "-C", stage.dir)
	r.want(t, 2, "production", "audit", "ssh", "firewall", "docker", "start ", "+++ ")
	plan := planJSON(t, stage.dir)
	changes := 0
	for _, s := range plan.Servers {
		changes += len(s.Changes)
		for _, c := range s.Changes {
			if !strings.Contains(r.out, c.ID) {
				t.Errorf("%s: %s is in the JSON and not in the text", s.Role, c.ID)
			}
		}
	}
	if len(plan.Servers) != 2 || changes < 30 {
		t.Errorf("%d servers and %d changes; two bare servers need more", len(plan.Servers), changes)
	}
	if got := on(t, "production", "ls /opt; command -v docker || true; getent passwd deploy || true"); strings.TrimSpace(got) != "" {
		t.Errorf("plan left something on the server: %s", got)
	}
}

func TestA1bAFirstDeployThatFailsSaysWhyAndLeavesTheRestToTheNext(t *testing.T) {
	// Without what it needs, this program ends as soon as it starts.
	dir := variant(t, replace("    image: "+image(t, "app"), "    image: "+image(t, "rest")))
	r := holdfast(t, "deploy", "-C", dir, "--yes", "--no-verify", "--health-timeout", "60s")
	r.want(t, 1, "service app is not healthy", "PGRST_DB_URI", "continues from here")
	if strings.Contains(r.err, "runs again") {
		t.Errorf("nothing ran before, and it says\n%s", clip(r.err))
	}
	holdfast(t, "releases", "-C", stage.dir).want(t, 0, "starting", "never")
	holdfast(t, "rollback", "-C", stage.dir, "--yes").want(t, 1, "there is no release that ran before")
	holdfast(t, "upgrade", "-C", stage.dir, "--yes").want(t, 1, "`holdfast deploy` first")
}

func TestA2DeployMakesTwoBareServersAVerifiedStack(t *testing.T) {
	holdfast(t, "deploy", "-C", stage.dir).want(t, 3, "nothing was changed", "--yes")
	r := holdfast(t, "deploy", "-C", stage.dir, "--yes")
	t.Logf("first deploy, verification included: %s", r.took)
	r.want(t, 0, "done:", "report.html", "baseline-report.md")
	for _, name := range []string{"report.html", "baseline-report.md", "report.json", "facts.json"} {
		if info, err := os.Stat(filepath.Join(stage.dir, "reports", name)); err != nil || info.Size() < 1000 {
			t.Errorf("report %s: %v", name, err)
		}
	}
}

func TestA3ASecondDeployHasNothingToChange(t *testing.T) {
	before := on(t, "production", "docker ps -q --no-trunc | sort; readlink /opt/holdfast/current; stat -c %Y /etc/ssh/sshd_config.d/*")
	r := holdfast(t, "deploy", "-C", stage.dir, "--yes")
	r.want(t, 0, "nothing to change")
	after := on(t, "production", "docker ps -q --no-trunc | sort; readlink /opt/holdfast/current; stat -c %Y /etc/ssh/sshd_config.d/*")
	if before != after {
		t.Errorf("the second run changed something:\nbefore: %s\nafter: %s", before, after)
	}
	holdfast(t, "plan", "-C", stage.dir).want(t, 0, "nothing to change")
}

func TestA4NothingIsFoundThatIsNotWaivedWithAReason(t *testing.T) {
	r := holdfast(t, "verify", "-C", stage.dir, "--gate", "low")
	r.want(t, 0)
	t.Logf("verify: %s", r.took)
}

func TestA5AHandEditIsFoundShownAndUndone(t *testing.T) {
	on(t, "production", "echo 'PermitRootLogin yes' > /etc/ssh/sshd_config.d/00-holdfast.conf")
	holdfast(t, "plan", "-C", stage.dir).want(t, 2, "-PermitRootLogin yes", "00-holdfast.conf")
	on(t, "production", "rm /opt/holdfast/current/supabase/kong.yml")
	holdfast(t, "plan", "-C", stage.dir).want(t, 2, "supabase/kong.yml")
	holdfast(t, "deploy", "-C", stage.dir, "--yes", "--no-verify").want(t, 0, "done:")
	holdfast(t, "plan", "-C", stage.dir).want(t, 0, "nothing to change")
}

func TestA6ComposeItselfAcceptsEachRenderedProject(t *testing.T) {
	for _, stack := range []string{"supabase", "trigger", "app", "edge"} {
		on(t, "production", "cd /opt/holdfast/current && docker compose -f "+stack+"/compose.yml config -q")
	}
	out := filepath.Join(t.TempDir(), "rendered")
	holdfast(t, "render", "-C", stage.dir, "--out", out).want(t, 0, "release ")
	dir := variant(t, replace("public: {NEXT_PUBLIC_SITE_NAME: Lab}", "public: {NEXT_PUBLIC_SITE_NAME: Lab}\n    port: 3000"))
	edit(t, filepath.Join(dir, "holdfast.yml"), func(s string) string {
		lines := strings.Split(s, "\n")
		for i, l := range lines {
			if strings.HasPrefix(l, "    image: ") {
				lines[i] = "    image: registry.example.com/web:latest"
			}
		}
		return strings.Join(lines, "\n")
	})
	holdfast(t, "render", "-C", dir, "--out", out+"2").want(t, 3, "latest")
}
