package lab

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOptionsAreCheckedBeforeAnythingIsDone(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	for _, test := range []struct {
		opts Options
		want string
	}{
		{Options{Name: "../other"}, "cannot name a lab"},
		{Options{Name: "Lab"}, "cannot name a lab"},
		{Options{Name: strings.Repeat("a", 41)}, "cannot name a lab"},
		{Options{Subnet: "198.51.100.0"}, "cannot be a lab's subnet"},
		{Options{Subnet: "198.51.100.0/25"}, "cannot be a lab's subnet"},
		{Options{Subnet: "2001:db8::/64"}, "cannot be a lab's subnet"},
		{Options{Private: "10.0.0.0/30"}, "cannot be a lab's subnet"},
		{Options{Private: "198.51.0.0/16"}, "overlaps its subnet"},
		{Options{System: "fedora-42"}, "there are debian-13, debian-12, ubuntu-24.04, ubuntu-22.04"},
	} {
		if _, err := Up(t.Context(), test.opts); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: got %v, want %q in it", test.opts, err, test.want)
		}
	}
	if err := Down(t.Context(), "../.."); err == nil {
		t.Error("Down took a path for a name")
	}
	if _, err := Open("../.."); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("Open took a path for a name: %v", err)
	}
}

func TestAddressesAreFixedForThePairAndFreeForTheRest(t *testing.T) {
	l := &Lab{Subnet: "203.0.113.0/24", Servers: map[string]Server{"other": {Address: "203.0.113.100"}}}
	got, err := l.addresses([]string{Audit, "scratch", Production, "another"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"203.0.113.20", "203.0.113.101", "203.0.113.10", "203.0.113.102"}
	for i := range want {
		if got[i].String() != want[i] {
			t.Errorf("address %d: %s, want %s", i, got[i], want[i])
		}
	}
	for i := range 151 {
		l.Servers[string(rune('a'+i))] = Server{Address: host(l.Subnet, 100+i)}
	}
	if _, err := l.addresses([]string{"one-more"}); err == nil {
		t.Error("a full network gave an address")
	}
}

func TestStateSurvivesAndIsForgotten(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	if _, err := Open("a-lab"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("open a lab that never was: %v", err)
	}
	l := &Lab{Name: "a-lab", Subnet: DefaultSubnet, Gateway: "198.51.100.1", Dir: "/somewhere", Servers: map[string]Server{
		Production: {Address: "198.51.100.10", HostKeyFingerprint: "SHA256:x", Container: "a-lab-production"},
	}}
	line, err := l.ensureKey()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.save(); err != nil {
		t.Fatal(err)
	}
	got, err := Open("a-lab")
	if err != nil {
		t.Fatal(err)
	}
	if got.Servers[Production] != l.Servers[Production] || got.Key != l.Key || got.Dir != l.Dir {
		t.Errorf("opened %+v, saved %+v", got, l)
	}
	if again, err := got.ensureKey(); err != nil || string(again) != string(line) {
		t.Errorf("the key changed: %v", err)
	}
	for _, file := range []string{l.Key, filepath.Join(filepath.Dir(l.Key), "lab.json")} {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o, want 600", file, info.Mode().Perm())
		}
	}
	if err := forget("a-lab"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open("a-lab"); !errors.Is(err, ErrNotFound) {
		t.Errorf("open a forgotten lab: %v", err)
	}
}

func TestBrokenStateSaysWhatToDo(t *testing.T) {
	state := t.TempDir()
	t.Setenv("XDG_STATE_HOME", state)
	dir := filepath.Join(state, "holdfast", "lab", "broken")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "lab.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open("broken"); err == nil || !strings.Contains(err.Error(), "take the lab down") {
		t.Errorf("got %v", err)
	}
}

func TestAStalePidFileOfTheEngineIsDroppedAndALiveOneKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "docker.pid")
	for _, content := range []string{"1\n", "99999999"} { // another program; nobody
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		dropStalePid(path)
		if _, err := os.Stat(path); err == nil {
			t.Errorf("pid file with %q is still there", content)
		}
	}
	if err := os.WriteFile(path, []byte("not a number"), 0o600); err != nil {
		t.Fatal(err)
	}
	dropStalePid(path)
	if _, err := os.Stat(path); err != nil {
		t.Error("a file that holds no pid was removed")
	}
}
