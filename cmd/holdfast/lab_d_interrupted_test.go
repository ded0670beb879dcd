//go:build lab

package main

import (
	"math/rand/v2"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Killed at any moment: the next run observes what is there and finishes it.
func TestD1ARunKilledAtAnyMomentIsFinishedByTheNext(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 4 {
		dir := variant(t, replace("NEXT_PUBLIC_SITE_NAME: Lab", "NEXT_PUBLIC_SITE_NAME: Lab"+string(rune('a'+i))))
		// Something of each kind to do: a file of the guarded group, a release.
		on(t, "production", "echo '# touched' >> /etc/ssh/sshd_config.d/00-holdfast.conf")
		cmd := command(t.Context(), nil, "deploy", "-C", dir, "--yes", "--no-verify")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		after := time.Duration(random.IntN(9000)) * time.Millisecond
		time.Sleep(after)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.Logf("killed after %s", after)
		holdfast(t, "deploy", "-C", dir, "--yes", "--no-verify").want(t, 0)
		holdfast(t, "plan", "-C", dir).want(t, 0, "nothing to change")
	}
	holdfast(t, "deploy", "-C", stage.dir, "--yes", "--no-verify").want(t, 0)
}

func TestD2CtrlCStopsBetweenStepsAndExitsWith130(t *testing.T) {
	cmd := command(t.Context(), nil, "deploy", "-C", variant(t, replace("NEXT_PUBLIC_SITE_NAME: Lab", "NEXT_PUBLIC_SITE_NAME: Stop")), "--yes", "--no-verify")
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second)
	_ = cmd.Process.Signal(syscall.SIGINT)
	err := cmd.Wait()
	exit, ok := err.(*exec.ExitError)
	if !ok || exit.ExitCode() != 130 {
		t.Errorf("it ended with %v, want exit code 130\n%s", err, said.String())
	}
	holdfast(t, "deploy", "-C", stage.dir, "--yes", "--no-verify").want(t, 0)
}
