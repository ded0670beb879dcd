package transport

import (
	"bufio"
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const lockScript = `exec 9>"$LOCK"; flock -n 9 || { echo "held by somebody" >&2; exit 9; }
echo ready; echo observed; cat >/dev/null; echo bye`

func lock(file string) Command {
	return Command{Sudo: true, Script: "LOCK=" + file + "\n" + lockScript}
}

func TestALockIsHeldUntilItIsReleasedAndReportsMeanwhile(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *Conn) {
		command := lock(filepath.Join(folder(t), "lock"))
		held, err := c.Hold(t.Context(), command)
		if err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(held.Stdout).ReadString('\n')
		if line != "observed\n" || err != nil {
			t.Errorf("read %q, %v", line, err)
		}
		_, err = c.Hold(t.Context(), command)
		var exit *ExitError
		if !errors.As(err, &exit) || exit.Code != 9 || !strings.Contains(exit.Stderr, "held by somebody") {
			t.Errorf("a second lock: %v", err)
		}
		select {
		case <-held.Lost():
			t.Error("it is lost")
		default:
		}
		if err := held.Release(); err != nil {
			t.Error(err)
		}
		if held, err = c.Hold(t.Context(), command); err != nil {
			t.Fatalf("after the release: %v", err)
		}
		held.Release()
		held.Release()
	})
}

func TestALockDiesWithItsConnection(t *testing.T) {
	t.Parallel()
	server := startSSHD(t, []string{"ed25519"})
	u := accounts(t)
	first, second := dial(t, server.target(u.free), Options{}), dial(t, server.target("root"), Options{})
	command := lock(filepath.Join(folder(t), "lock"))
	held, err := first.Hold(t.Context(), command)
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	select {
	case <-held.Lost():
	case <-time.After(5 * time.Second):
		t.Error("the loss is not noticed")
	}
	if _, err := io.ReadAll(held.Stdout); err == nil {
		t.Error("the report of a lost lock ends as if it were whole")
	}
	for range 100 {
		var again *Held
		if again, err = second.Hold(t.Context(), command); err == nil {
			again.Release()
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("still held: %v", err)
}

func TestAHoldingScriptThatIsNotReadyIsStopped(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *Conn) {
		_, err := c.Hold(t.Context(), Command{Sudo: true, Script: "echo steady; cat >/dev/null"})
		wants(t, err, nil, `"steady"`)
		_, err = c.Hold(t.Context(), Command{Sudo: true, Script: "true"})
		wants(t, err, nil, "without holding")
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if _, err = c.Hold(ctx, Command{Sudo: true, Script: "cat >/dev/null"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("not ready in time: %v", err)
		}
	})
}

func TestAReportThatNobodyReadsDoesNotBlockTheRelease(t *testing.T) {
	t.Parallel()
	c := dial(t, startSSHD(t, []string{"ed25519"}).target("root"), Options{})
	held, err := c.Hold(t.Context(), Command{Script: "echo ready; yes | head -c 8000000; cat >/dev/null"})
	if err != nil {
		t.Fatal(err)
	}
	if err := held.Release(); err != nil {
		t.Error(err)
	}
}
