//go:build lab

package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestA7StatusShowsWhatRunsAndFailsWhenSomethingDoesNot(t *testing.T) {
	holdfast(t, "status", "-C", stage.dir).want(t, 0, "supabase/rest", "as declared", "Debian GNU/Linux 13", "release ")
	on(t, "production", "docker stop app-app-1")
	r := holdfast(t, "status", "-C", stage.dir, "-o", "json")
	if r.code != 1 {
		t.Errorf("exit code %d with a stopped service, want 1", r.code)
	}
	var status struct {
		Servers []struct {
			Services []struct {
				Stack, Service, State string
				Healthy               bool
			}
		}
	}
	if err := json.Unmarshal([]byte(r.out), &status); err != nil {
		t.Fatal(err)
	}
	bad := 0
	for _, s := range status.Servers[0].Services {
		if !s.Healthy {
			bad++
			if s.Stack != "app" || !strings.Contains(s.State, "Exited") {
				t.Errorf("%s/%s is said to be %q", s.Stack, s.Service, s.State)
			}
		}
	}
	if bad != 1 {
		t.Errorf("%d services are not healthy, want 1", bad)
	}
	holdfast(t, "deploy", "-C", stage.dir, "--yes", "--no-verify").want(t, 0, "done:")
}

func TestA8LogsExecAndSSHReachInside(t *testing.T) {
	holdfast(t, "logs", "-C", stage.dir, "supabase/db", "-n", "3").want(t, 0, "db-1")
	holdfast(t, "logs", "-C", stage.dir, "ssh.service", "--on", "audit", "-n", "5").want(t, 0, "sshd")
	holdfast(t, "logs", "-C", stage.dir, "rset").want(t, 3, "did you mean rest?")
	holdfast(t, "exec", "-C", stage.dir, "db", "--", "psql", "-U", "postgres", "-Atc", "select 6*7, '$HOME', 'it''s'").want(t, 0, "42|$HOME|it's\n")
	holdfast(t, "exec", "-C", stage.dir, "supabase/db", "sh", "-c", "echo out; echo err >&2; exit 7").want(t, 7, "out\n", "err\n")
	holdfast(t, "ssh", "-C", stage.dir, "--on", "audit", "--", "sh", "-c", "id -un; hostname").want(t, 0, "deploy\naudit\n")
	holdfast(t, "ssh", "-C", stage.dir).want(t, 3, "there is no terminal")
}

// following starts the binary, waits for a first line of output, and returns
// what ends it with Ctrl-C.
func following(t *testing.T, args ...string) (first string, end func()) {
	t.Helper()
	cmd := command(t.Context(), nil, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	if first, err = lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, lines) }()
	return first, func() {
		t.Helper()
		_ = cmd.Process.Signal(syscall.SIGINT)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v ended with %v", args, err)
		}
	}
}

func TestA9FollowingEndsWithCtrlCAndLeavesNothingRunning(t *testing.T) {
	_, end := following(t, "logs", "-C", stage.dir, "-f", "db", "rest")
	time.Sleep(500 * time.Millisecond)
	end()
	time.Sleep(time.Second)
	if left := on(t, "production", "pgrep -af 'compose.*logs' | grep -v pgrep || true"); strings.TrimSpace(left) != "" {
		t.Errorf("it goes on on the server: %s", left)
	}

	first, end := following(t, "ssh", "-C", stage.dir, "--studio")
	url := regexp.MustCompile(`http://\S+`).FindString(first)
	answer, err := http.Get(url)
	if err != nil {
		t.Fatalf("Studio does not answer at %s: %v", url, err)
	}
	answer.Body.Close()
	end()
}

// running returns the containers of production by name.
func running(t *testing.T) map[string]string {
	t.Helper()
	containers := map[string]string{}
	for line := range strings.Lines(on(t, "production", "docker ps --no-trunc --format '{{.Names}} {{.ID}}'")) {
		name, id, _ := strings.Cut(strings.TrimSpace(line), " ")
		containers[name] = id
	}
	return containers
}

// recreated fails the test unless the named containers are others than before, and
// all the rest are the same. It returns what runs now.
func recreated(t *testing.T, before map[string]string, wanted ...string) map[string]string {
	t.Helper()
	after := running(t)
	for name, id := range before {
		if recreated := after[name] != id; recreated != slices.Contains(wanted, name) {
			t.Errorf("%s: recreated is %t", name, recreated)
		}
	}
	return after
}

func TestB0AChangeOfServicesRecreatesThoseAlone(t *testing.T) {
	before := running(t)
	two := named(t, "Two")
	edit(t, filepath.Join(two, "holdfast.yml"), replace("    set: supabase-0.8.1-kong\n", "    set: supabase-0.8.1-kong\n    sign-up: true\n"))
	for _, dir := range []string{two, stage.dir} {
		holdfast(t, "deploy", "-C", dir, "--yes", "--no-verify").want(t, 0, "done:")
		before = recreated(t, before, "app-app-1", "supabase-auth-1")
	}
}
