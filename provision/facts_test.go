package provision

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast/internal/probe"
)

const system = "os.PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nos.VERSION_ID=\"13\"\nos.ID=debian\nhostname=one\nfree=9999999 /\nssh-port=22\n"

func outputs(system string) probe.Outputs {
	return probe.Outputs{probeSystem: {Stdout: system}}
}

func TestServersThatCannotBeProvisionedAreRefusedWithTheReason(t *testing.T) {
	for _, c := range []struct{ role, system, want string }{
		{"audit", strings.ReplaceAll(strings.ReplaceAll(system, "13", "41"), "debian", "fedora"), "is not supported"},
		{"audit", "hostname=x\n", "a system without a name"},
		{"production", strings.ReplaceAll(system, "13", "12"), "no Compose v2"},
	} {
		var unsupported *UnsupportedError
		_, err := ParseFacts(c.role, outputs(c.system))
		if !errors.As(err, &unsupported) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %q", c.system, err, c.want)
		}
	}
	if _, err := ParseFacts("audit", outputs(strings.ReplaceAll(system, "13", "12"))); err != nil {
		t.Errorf("Debian 12 as audit server: %v", err)
	}
	for _, from := range []string{"installed", "available"} {
		if _, err := ParseFacts("production", outputs(strings.ReplaceAll(system, "13", "12")+"compose="+from+"\n")); err != nil {
			t.Errorf("Debian 12 with Compose v2 %s: %v", from, err)
		}
	}
	for _, c := range []struct{ answer, want, hint string }{
		{"free=102400 /var\n", "/var has 100 MiB free, and 500 are needed", "du -xh --max-depth=2 /var"},
		{"inodes=12 /\n", "/ has room for 12 more files, and 10000 are needed", "--inodes"},
		{"read-only=/etc\nread-only=/usr\n", "/etc and /usr can't be written to", "dmesg"},
		{"missing=gzip\nmissing=base64\nmissing=flock\n", "the server lacks gzip, base64, flock", "--reinstall coreutils gzip util-linux"},
	} {
		_, err := ParseFacts("audit", outputs(system+c.answer))
		var hinted interface{ Hint() string }
		if !errors.As(err, &hinted) || !strings.Contains(err.Error(), c.want) || !strings.Contains(hinted.Hint(), c.hint) {
			t.Errorf("%q: got %v", c.answer, err)
		}
	}
}

func TestNoPortOfSSHIsGuessed(t *testing.T) {
	const fault = "ssh-fault=/etc/ssh/sshd_config line 9: Directive 'Port' is not allowed within a Match block\n"
	without := strings.ReplaceAll(system, "ssh-port=22\n", "")
	var none *NoSSHPortError
	if _, err := ParseFacts("audit", outputs(without+fault)); !errors.As(err, &none) || !strings.Contains(err.Error(), "line 9") {
		t.Errorf("got %v, want to hear what is wrong with sshd's settings", err)
	}
	// sshd goes on with what it read before, and tells by what it listens on.
	facts, err := ParseFacts("audit", outputs(without+fault+"ssh-port=2222\nssh-port=2222\n"))
	if err != nil || len(facts.SSHPorts) != 1 || facts.SSHPorts[0] != 2222 {
		t.Fatalf("got %v, %v", facts.SSHPorts, err)
	}
	if notes := Diff(nil, facts).Notes; len(notes) != 1 || !strings.Contains(notes[0], "line 9") {
		t.Errorf("the plan does not tell: %q", notes)
	}
}

func TestAnAnswerThatIsMissingOrFailedIsAnError(t *testing.T) {
	if _, err := ParseFacts("audit", probe.Outputs{}); err == nil {
		t.Error("no answer at all was taken for facts")
	}
	o := outputs(system)
	o[probeUnits] = probe.Output{Exit: 1, Stderr: "Failed to connect to bus"}
	if _, err := ParseFacts("audit", o); err == nil || !strings.Contains(err.Error(), "Failed to connect to bus") {
		t.Errorf("a failing probe: %v", err)
	}
}

func TestOnlyOurOwnWordsAreTakenForPendingActions(t *testing.T) {
	if f, err := ParseFacts("audit", outputs(system+"pending=daemon-reload\npending=restart docker.service\n")); err != nil || len(f.Pending) != 2 {
		t.Errorf("got %v, %v", f.Pending, err)
	}
	if _, err := ParseFacts("audit", outputs(system+"pending=restart x; reboot\n")); err == nil {
		t.Error("a foreign command was taken")
	}
}

func TestWhatARunLeftBehindIsInThePlan(t *testing.T) {
	facts, err := ParseFacts("audit", outputs(system+"guard-armed=yes\npending=reload ssh.service\nguard-reverted=2026-01-01T00:00:00Z\nguard-reverted=/etc/x\nreboot=linux-image linux-image dbus\n"))
	if err != nil {
		t.Fatal(err)
	}
	plan := Diff(nil, facts)
	if len(plan.Changes) != 1 || plan.Changes[0].Summary != "reload ssh.service; confirm its settings by a new login" || !plan.Changes[0].how.guarded {
		t.Errorf("changes: %+v", plan.Changes)
	}
	if len(plan.Notes) != 2 || !strings.Contains(plan.Notes[0], "/etc/x") || plan.Notes[1] != "a reboot is due: dbus, linux-image" {
		t.Errorf("notes: %q", plan.Notes)
	}
}

func TestASecretIsInNoDiffAndNoJSON(t *testing.T) {
	const old, new_ = "old-hunter2", "new-hunter2"
	f := File{About: About{Concern: "x"}, Path: "/etc/secret", Content: new_, Secret: true}
	facts := Facts{Files: map[string]FileFacts{f.Path: {Kind: "file", Mode: "0600", Content: []byte(old)}}}
	plan := Diff([]Resource{f}, facts)
	if len(plan.Changes) != 1 || plan.Changes[0].Diff == "" {
		t.Fatalf("%+v", plan.Changes)
	}
	for _, v := range []any{plan, facts} {
		text, err := json.Marshal(v)
		if err != nil || strings.Contains(string(text), "hunter2") {
			t.Errorf("%s, %v", text, err)
		}
	}
}

func TestChangesOfOneResource(t *testing.T) {
	keys := &Keys{FolderMode: "0700", Mode: "0600", Owner: "deploy", Text: "k\n"}
	facts := Facts{
		Packages: map[string]string{"chrony": "installed", "half": "half-configured"},
		Units: map[string]UnitFacts{
			"on.service":        {Load: "loaded", Active: "active", File: "enabled"},
			"off.service":       {Load: "loaded", Active: "inactive", File: "disabled"},
			"unneeded.service":  {Load: "loaded", Active: "inactive", File: "enabled", Inapplicable: true},
			"masked.service":    {Load: "masked", Active: "inactive", File: "masked"},
			"chrony.service":    {Load: "loaded", Active: "active", File: "enabled"},
			"timesyncd.service": {Load: "not-found", Active: "inactive"},
		},
		Files:     map[string]FileFacts{"/f": {Kind: "file", Mode: "0644", Owner: "root", Group: "root", Content: []byte("f")}, "/l": {Kind: "link", Mode: "0777", Owner: "root", Group: "root"}},
		Users:     map[string]UserFacts{"deploy": {Home: "/home/deploy", Password: "set", Groups: []string{"deploy", "adm"}, Keys: keys}},
		Sysctls:   map[string]string{"a.b": "1"},
		Container: "docker",
	}
	for _, c := range []struct {
		resource Resource
		want     string // the summary; "" for no change
	}{
		{File{Path: "/f", Content: "f"}, ""},
		{File{Path: "/f", Content: "g"}, "rewrite /f"},
		{File{Path: "/f", Content: "f", Mode: 0o600}, "give /f mode 0600 and owner root:root, not 0644 and root:root"},
		{File{Path: "/l", Content: ""}, "replace the link /l by a file"},
		{File{Path: "/n", About: About{OwnKernel: true}}, ""},
		{Packages{Names: []string{"timesyncd | chrony"}}, ""},
		{Packages{Names: []string{"half", "none | other"}}, "install half, none"},
		{Unit{Name: "on.service", State: Running}, ""},
		{Unit{Name: "on.service", State: Stopped}, "stop and disable on.service"},
		{Unit{Name: "off.service", State: Running}, "enable and start off.service"},
		{Unit{Name: "off.service", State: Stopped}, ""},
		{Unit{Name: "none.service", State: Stopped}, ""},
		{Unit{Name: "unneeded.service", State: Running}, ""},
		{Unit{Name: "masked.service", State: Enabled}, "unmask and enable masked.service"},
		{Unit{Name: "timesyncd.service | chrony.service", State: Running}, ""},
		{User{Name: "deploy", Keys: []string{"k"}}, ""},
		{User{Name: "deploy", Keys: []string{"k", "l"}}, "let the declared keys, 2 of them, and no others log in as deploy"},
		{User{Name: "deploy", Groups: []string{}}, "put deploy into no group but its own"},
		{User{Name: "deploy", Groups: []string{"adm"}}, ""},
		{User{Name: "deploy", NoPassword: true}, "lock the password of deploy"},
		{Sysctls{Path: "/s", Settings: []Setting{{Key: "a.b", Value: "2"}, {Key: "c.d", Value: "1", Optional: true}}}, "set 1 kernel settings, and keep them in /s"},
	} {
		change, ok := c.resource.Change(facts)
		if ok != (c.want != "") || change.Summary != c.want {
			t.Errorf("%s: got %q, want %q", c.resource.ID(), change.Summary, c.want)
		}
	}
}

func TestARebootIsDueForANewerKernelToo(t *testing.T) {
	newer := system + "kernel=6.12.43+deb13-amd64\nnewest-kernel=6.12.48+deb13-amd64\nboot=b\ninit=7\n"
	for _, c := range []struct{ system, want string }{
		{system, ""},
		{newer, "kernel 6.12.48+deb13-amd64 is installed, and 6.12.43+deb13-amd64 runs"},
		{newer + "container=docker\n", ""},
		{system + "reboot=\n", "an update asks for it"},
	} {
		f, err := ParseFacts("audit", outputs(c.system))
		if err != nil || f.RebootReason() != c.want {
			t.Errorf("%q, %v; want %q", f.RebootReason(), err, c.want)
		}
	}
	if f, _ := ParseFacts("audit", outputs(newer)); f.Started != "b+7" {
		t.Errorf("the boot is %q", f.Started)
	}
}

func TestAClockThatIsFarOffIsTold(t *testing.T) {
	at := func(offset time.Duration) []string {
		f, err := ParseFacts("audit", outputs(fmt.Sprintf("%stime=%d\n", system, time.Now().Add(offset).Unix())))
		if err != nil {
			t.Fatal(err)
		}
		return Diff(nil, f).Notes
	}
	if notes := at(-30 * time.Second); len(notes) != 0 {
		t.Errorf("%q", notes)
	}
	if notes := at(-2 * time.Hour); len(notes) != 1 || !strings.Contains(notes[0], "2h0m") {
		t.Errorf("%q", notes)
	}
}
