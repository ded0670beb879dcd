package provision

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// local runs scripts on this machine, in folders of the test's own.
type local struct {
	t         *testing.T
	shell     string
	dir       string
	commands  map[string]string // name → script, found before the system's
	reconnect func() error
}

func (l *local) Run(ctx context.Context, script string, stdin io.Reader, stdout, stderr io.Writer) error {
	l.t.Helper()
	bin := filepath.Join(l.dir, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		l.t.Fatal(err)
	}
	for name, text := range l.commands {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			l.t.Fatal(err)
		}
	}
	var whole []byte
	if stdin != nil {
		var err error
		if whole, err = io.ReadAll(stdin); err != nil {
			return err
		}
	}
	inside := relocate(string(whole), l.dir)
	inside = strings.Replace(inside, "PATH=/usr/local/sbin", "PATH="+bin+":/usr/local/sbin", 1)
	cmd := exec.CommandContext(ctx, l.shell, "-c", "PATH="+bin+":$PATH\n"+relocate(script, l.dir))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(inside), stdout, stderr
	return cmd.Run()
}

func (l *local) Reconnect(context.Context) error {
	if l.reconnect == nil {
		return nil
	}
	return l.reconnect()
}

// nothing stands in for what a test machine must not do.
var nothing = map[string]string{"systemctl": "exit 0", "chown": "exit 0", "systemd-run": "exit 0", "nft": "exit 0", "logger": "exit 0"}

func file(dir, name, content string) File {
	return File{About: About{Concern: "test"}, Path: filepath.Join(dir, name), Content: content}
}

func TestAppliedFilesHaveContentAndModeAndAreJournalled(t *testing.T) {
	for _, sh := range shells {
		dir := t.TempDir()
		host := &local{t: t, shell: sh, dir: dir, commands: nothing}
		content := "it's $(id)\n\\n\x00\xff no newline"
		f := file(dir, "etc/sub/a.conf", content)
		f.Mode, f.Check = 0o640, "test -s %s"
		var events []string
		err := Apply(t.Context(), host, Diff([]Resource{f}, Facts{}), func(e Event) { events = append(events, e.String()) })
		if err != nil {
			t.Fatalf("%s: %v", sh, err)
		}
		got, err := os.ReadFile(f.Path)
		if err != nil || string(got) != content {
			t.Errorf("%s: got %q, %v", sh, got, err)
		}
		if info, err := os.Stat(f.Path); err != nil || info.Mode().Perm() != 0o640 {
			t.Errorf("%s: %v, %v", sh, info.Mode(), err)
		}
		if len(events) != 1 || !strings.HasPrefix(events[0], "write "+f.Path) {
			t.Errorf("%s: events %q", sh, events)
		}
		journal, err := os.ReadFile(filepath.Join(dir, "log", "journal.jsonl"))
		if err != nil || VerifyJournal(journal) != nil || !bytes.Contains(journal, []byte(`"file:`+f.Path+`"],"result":"done"`)) {
			t.Errorf("%s: journal %q, %v", sh, journal, err)
		}
	}
}

func TestAFailingStepIsNamedWithItsCommandAndStopsTheRun(t *testing.T) {
	for _, sh := range shells {
		dir := t.TempDir()
		host := &local{t: t, shell: sh, dir: dir, commands: nothing}
		good, bad, after := file(dir, "a", "1"), file(dir, "b", "2"), file(dir, "c", "3")
		bad.Check = "echo why it is bad; exit 9 # %s"
		bad.Actions = []string{"restart x.service"}
		facts := Facts{Units: map[string]UnitFacts{"x.service": {Load: "loaded"}}}
		err := Apply(t.Context(), host, Diff([]Resource{good, bad, after}, facts), func(Event) {})
		var failed *StepError
		if !errors.As(err, &failed) {
			t.Fatalf("%s: got %v", sh, err)
		}
		if failed.Code != 9 || failed.Step != "write "+bad.Path || failed.Output != "why it is bad" || !strings.HasPrefix(failed.Command, "echo why") {
			t.Errorf("%s: got %+v", sh, failed)
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if strings.Contains(e.Name(), ".b.") || e.Name() == "b" || e.Name() == "c" || strings.HasPrefix(e.Name(), "work.") {
				t.Errorf("%s: %s was left", sh, e.Name())
			}
		}
		// What the files need is remembered until it has been done.
		if pending, err := os.ReadFile(filepath.Join(dir, "lib", "pending")); err != nil || string(pending) != "restart x.service\n" {
			t.Errorf("%s: pending is %q, %v", sh, pending, err)
		}
	}
}

func TestGuardedChangesAreTakenBackWhenNobodyGetsIn(t *testing.T) {
	for _, sh := range shells {
		dir := t.TempDir()
		ctx, giveUp := context.WithCancel(t.Context())
		refused := errors.New("no answer")
		host := &local{t: t, shell: sh, dir: dir, commands: nothing, reconnect: func() error {
			giveUp() // no need to try for half a minute
			return refused
		}}
		old, added := file(dir, "old", "after"), file(dir, "added", "new")
		old.Guarded, added.Guarded = true, true
		if err := os.WriteFile(old.Path, []byte("before"), 0o600); err != nil {
			t.Fatal(err)
		}
		facts := Facts{Files: map[string]FileFacts{old.Path: {Kind: "file", Content: []byte("before")}}}
		err := Apply(ctx, host, Diff([]Resource{old, added}, facts), func(Event) {})
		var lockOut *LockOutError
		if !errors.As(err, &lockOut) || !lockOut.Reverted || !errors.Is(err, refused) {
			t.Errorf("%s: got %v", sh, err)
		}
		if got, err := os.ReadFile(old.Path); err != nil || string(got) != "before" {
			t.Errorf("%s: the old file holds %q, %v", sh, got, err)
		}
		if _, err := os.Stat(added.Path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the added file is still there: %v", sh, err)
		}
		if reverted, err := os.ReadFile(filepath.Join(dir, "lib/guard/reverted")); err != nil || !strings.Contains(string(reverted), old.Path) {
			t.Errorf("%s: the record holds %q, %v", sh, reverted, err)
		}
	}
}

func TestConfirmedChangesStayAndTheGuardIsGone(t *testing.T) {
	for _, sh := range shells {
		dir := t.TempDir()
		host := &local{t: t, shell: sh, dir: dir, commands: nothing}
		f := file(dir, "f", "new")
		f.Guarded = true
		if err := Apply(t.Context(), host, Diff([]Resource{f}, Facts{}), func(Event) {}); err != nil {
			t.Fatalf("%s: %v", sh, err)
		}
		if got, err := os.ReadFile(f.Path); err != nil || string(got) != "new" {
			t.Errorf("%s: got %q, %v", sh, got, err)
		}
		for _, name := range []string{"armed", "reverted", "kept", "index"} {
			if _, err := os.Stat(filepath.Join(dir, "lib/guard", name)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: guard/%s is still there", sh, name)
			}
		}
	}
}

// aptGet answers like apt-get in a bad moment, and counts its calls in $dir.
const aptGet = `
dir=%DIR%
echo "$*" >>$dir/calls
case "$*" in *" install "*) ;; *) exit 0 ;; esac
%MOOD%
`

func apt(dir, mood string) map[string]string {
	commands := map[string]string{"apt-get": strings.NewReplacer("%DIR%", dir, "%MOOD%", mood).Replace(aptGet)}
	for name, text := range nothing {
		commands[name] = text
	}
	return commands
}

func TestPackagesAreInstalledInABadMoment(t *testing.T) {
	for _, c := range []struct{ what, mood, said, calls string }{
		{"the lock is held for a while", `n=$(cat $dir/n 2>/dev/null || echo 0); echo $((n+1)) >$dir/n
[ "$n" -gt 1 ] || { echo 'E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 42 (python3)'; exit 100; }`,
			"held by process 42 (python3); 600 s left", "install,install,install"},
		{"dpkg was interrupted", `[ -e $dir/configured ] || { echo "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem."; exit 100; }`,
			"was interrupted", "install,install"},
		{"the lists do not know the package", `[ -e $dir/n ] || { echo 'E: Unable to locate package hello'; touch $dir/n; exit 100; }`,
			"refreshing the package lists", "install,update,install"},
	} {
		for _, sh := range shells {
			dir := t.TempDir()
			host := &local{t: t, shell: sh, dir: dir, commands: apt(dir, c.mood)}
			host.commands["dpkg"] = "touch " + dir + "/configured"
			plan := Diff([]Resource{Packages{Names: []string{"hello"}}}, Facts{})
			plan.staleLists = false
			var said strings.Builder
			if err := Apply(t.Context(), host, plan, func(e Event) { said.WriteString(e.String() + "\n") }); err != nil {
				t.Errorf("%s, %s: %v", sh, c.what, err)
			}
			if !strings.Contains(said.String(), c.said) {
				t.Errorf("%s, %s: it said %q", sh, c.what, said.String())
			}
			calls, err := os.ReadFile(filepath.Join(dir, "calls"))
			if err != nil {
				t.Fatal(err)
			}
			var verbs []string
			for line := range strings.Lines(string(calls)) {
				for _, verb := range []string{"install", "update"} {
					if strings.Contains(line, " "+verb) {
						verbs = append(verbs, verb)
					}
				}
			}
			if got := strings.Join(verbs, ","); got != c.calls {
				t.Errorf("%s, %s: apt-get was called for %s, want %s", sh, c.what, got, c.calls)
			}
		}
	}
}

func TestAPackageThatCannotBeHadFailsWithAptsWords(t *testing.T) {
	dir := t.TempDir()
	host := &local{t: t, shell: "dash", dir: dir, commands: apt(dir, "echo 'E: Unable to locate package hello'; exit 100")}
	err := Apply(t.Context(), host, Diff([]Resource{Packages{Names: []string{"hello"}}}, Facts{}), func(Event) {})
	var failed *StepError
	if !errors.As(err, &failed) || failed.Code != 100 || failed.Command != "apt-get install --no-remove hello" || !strings.Contains(err.Error(), "Unable to locate package hello") {
		t.Errorf("got %v", err)
	}
}

func TestATornScriptIsNotRun(t *testing.T) {
	dir := t.TempDir()
	script := relocate(stage{steps: []step{{title: "x", body: "touch " + dir + "/ran\n"}}}.script("N"), dir)
	for _, cut := range []int{0, 10, len(script) / 2, len(script) - 2} {
		cmd := exec.Command("dash", "-c", relocate(bootstrap, dir))
		cmd.Stdin = strings.NewReader(script[:cut])
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "incomplete") {
			t.Errorf("cut at %d: %v, %q", cut, err, out)
		}
	}
	if _, err := os.Stat(dir + "/ran"); err == nil {
		t.Error("it was run")
	}
}

func TestStepsFollowThePhasesAndActionsAreDoneOnce(t *testing.T) {
	one, two := file("/x", "one", "1"), file("/x", "two", "2")
	one.Actions, two.Actions = []string{"daemon-reload", "restart docker.service"}, []string{"restart docker.service", "daemon-reload"}
	facts := Facts{Units: map[string]UnitFacts{"docker.service": {Load: "loaded"}}}
	plan := Diff([]Resource{
		Unit{Name: "docker.service", State: Running},
		Packages{About: About{Concern: "a"}, Names: []string{"a"}},
		one,
		Packages{About: About{Concern: "b"}, Names: []string{"b", "a"}},
		User{Name: "deploy"}, two,
	}, facts)
	list, actions := steps(plan.Changes)
	var titles []string
	for _, s := range list {
		titles = append(titles, s.title)
	}
	want := "write /x/one; write /x/two; install a, b; create the user deploy; daemon-reload; enable and start docker.service; restart docker.service"
	if got := strings.Join(titles, "; "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if strings.Join(actions, "; ") != "daemon-reload; restart docker.service" {
		t.Errorf("actions: %q", actions)
	}
}

func TestAForeignServersFramesDoNotConfuseTheController(t *testing.T) {
	for _, text := range []string{"N ok 0\n", "N ok 99\n", "N fail -1 x\n", "N start\nN ok\n", "N out\nN command\nN fail 0 1\n", "N \n", "N note\n"} {
		p := &progress{stage: stage{steps: []step{{title: "x"}}}, nonce: "N", events: func(Event) {}}
		if _, err := p.Write([]byte(text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		p.stop()
	}
}

func TestWhatAKilledRunLeftWaitsForTheGuardedFilesItNeeds(t *testing.T) {
	for _, sh := range shells {
		dir := t.TempDir()
		done := filepath.Join(dir, "done")
		commands := maps.Clone(nothing)
		commands["systemctl"] = `case "$*" in
*restart*firewall*) [ -e ` + filepath.Join(dir, "firewall.nft") + ` ] && echo "firewall" >>` + done + ` ;;
*restart*journald*) echo journald >>` + done + ` ;;
esac`
		host := &local{t: t, shell: sh, dir: dir, commands: commands}
		rules := file(dir, "firewall.nft", "table inet holdfast {}\n")
		rules.Guarded = true
		rules.Actions = []string{"start firewall.service"}
		// Killed after it had noted what was to follow, and before it armed the guard.
		facts := Facts{Pending: []string{"start firewall.service", "restart systemd-journald.service"}}
		if err := Apply(t.Context(), host, Diff([]Resource{rules}, facts), func(Event) {}); err != nil {
			t.Fatalf("%s: %v", sh, err)
		}
		if got, err := os.ReadFile(done); err != nil || string(got) != "journald\nfirewall\n" {
			t.Errorf("%s: done was %q, %v", sh, got, err)
		}
	}
}
