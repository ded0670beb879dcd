//go:build lab

// The end-to-end tests: the real binary against the lab's two servers. They run
// in the order of this folder's files, because a pair of servers is a history:
// bare, deployed, broken, repaired. `go test -tags lab ./cmd/holdfast`.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/internal/lab"
)

// The tests' lab has a name and a network of its own, so that a demo lab on
// the same machine is left alone; those who test side by side on one machine
// give each run others.
var (
	testLab    = cmp.Or(os.Getenv("HOLDFAST_TEST_LAB"), "holdfast-test")
	testSubnet = cmp.Or(os.Getenv("HOLDFAST_TEST_SUBNET"), "198.18.120.0/24")
)

// stage is what the tests of this package share: one built binary, one lab,
// one environment folder.
var stage struct {
	binary string
	dir    string
	lab    *lab.Lab
}

func TestMain(m *testing.M) { os.Exit(setUp(m)) }

func setUp(m *testing.M) int {
	ctx := context.Background()
	temp, err := os.MkdirTemp("", "holdfast-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(temp)
	stage.binary, stage.dir = filepath.Join(temp, "holdfast"), filepath.Join(temp, "env")
	if out, err := exec.Command("go", "build", "-o", stage.binary, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	// Fresh servers, whatever an earlier run left.
	if err := lab.Down(ctx, testLab); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = lab.Down(ctx, testLab) }()
	up := exec.Command(stage.binary, "lab", "up", "-C", stage.dir, "--name", testLab, "--subnet", testSubnet)
	up.Stderr = os.Stderr
	if err := up.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "lab up:", err)
		return 1
	}
	if stage.lab, err = lab.Open(testLab); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// result is how one run of the binary ended.
type result struct {
	out, err string
	code     int
	took     time.Duration
}

// holdfast runs the binary to its end.
func holdfast(t *testing.T, args ...string) result {
	t.Helper()
	return holdfastEnv(t, nil, args...)
}

func holdfastEnv(t *testing.T, env []string, args ...string) result {
	t.Helper()
	cmd := command(t.Context(), env, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	began := time.Now()
	err := cmd.Run()
	r := result{out: out.String(), err: errs.String(), took: time.Since(began)}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		r.code = exit.ExitCode()
	case err != nil:
		t.Fatal(err)
	}
	said = append(said, r.out, r.err)
	return r
}

// said is everything the binary printed in all tests, for the search for secrets.
var said []string

func command(ctx context.Context, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, stage.binary, args...)
	// A home of its own: no key, no known host of whoever runs the tests.
	cmd.Env = append(os.Environ(), "HOME="+filepath.Dir(stage.binary), "HOLDFAST_IDENTITY=", "NO_COLOR=1")
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

// want fails the test unless the run ended with code and said all of texts.
func (r result) want(t *testing.T, code int, texts ...string) {
	t.Helper()
	if r.code != code {
		t.Fatalf("exit code %d, want %d\nstdout:\n%s\nstderr:\n%s", r.code, code, clip(r.out), clip(r.err))
	}
	for _, text := range texts {
		if !strings.Contains(r.out+r.err, text) {
			t.Fatalf("it did not say %q\nstdout:\n%s\nstderr:\n%s", text, clip(r.out), clip(r.err))
		}
	}
}

func clip(s string) string {
	if len(s) > 6000 {
		return s[:3000] + "\n[…]\n" + s[len(s)-3000:]
	}
	return s
}

// on runs a script as root inside one of the lab's servers, past Holdfast.
func on(t *testing.T, role, script string) string {
	t.Helper()
	return onWith(t, role, "", script)
}

// onWith is on with something for the script to read.
func onWith(t *testing.T, role, stdin, script string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "docker", "exec", "-i", stage.lab.Servers[role].Container, "bash", "-c", script)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("on %s: %v\n%s", role, err, out)
	}
	return string(out)
}

// variant copies the environment folder and changes its holdfast.yml.
func variant(t testing.TB, change func(string) string) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("cp", "-a", stage.dir+"/.", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	edit(t, filepath.Join(dir, "holdfast.yml"), change)
	return dir
}

func edit(t testing.TB, path string, change func(string) string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := change(string(text))
	if changed == string(text) {
		t.Fatalf("the edit of %s changed nothing", path)
	}
	if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
}

func replace(old, with string) func(string) string {
	return func(s string) string { return strings.Replace(s, old, with, 1) }
}

// planJSON runs plan --output json and decodes it.
func planJSON(t *testing.T, dir string) (plan struct {
	Servers []struct {
		Role    string
		Changes []struct{ ID, Concern, Summary, Why, Diff string }
	}
}) {
	t.Helper()
	r := holdfast(t, "plan", "-C", dir, "-o", "json")
	if r.code != 0 && r.code != 2 {
		t.Fatalf("plan: exit %d: %s", r.code, r.err)
	}
	if err := json.Unmarshal([]byte(r.out), &plan); err != nil {
		t.Fatalf("plan's JSON: %v\n%s", err, clip(r.out))
	}
	return plan
}
