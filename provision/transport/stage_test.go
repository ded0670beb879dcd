package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTwoHundredFilesAreStagedForNobodyElseToRead(t *testing.T) {
	t.Parallel()
	u := accounts(t)
	c := dial(t, startSSHD(t, []string{"ed25519"}).target(u.free), Options{})
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB
	files := []Upload{{Path: "images/web.tar", Reader: bytes.NewReader(big)}, {Path: "empty"}}
	for i := range 200 {
		files = append(files, Upload{Path: fmt.Sprintf("supabase/%d/file-%d.yml", i%7, i), Content: fmt.Appendf(nil, "content %d", i)})
	}
	dir, err := c.Stage(t.Context(), files)
	if err != nil {
		t.Fatal(err)
	}
	if want := "/home/" + u.free + "/" + stagingFolder + "/"; !strings.HasPrefix(dir, want) {
		t.Errorf("staged in %s", dir)
	}
	for i := range 200 {
		content, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("supabase/%d/file-%d.yml", i%7, i)))
		if err != nil || string(content) != fmt.Sprintf("content %d", i) {
			t.Errorf("file %d: %q, %v", i, content, err)
		}
	}
	if got, err := os.ReadFile(dir + "/images/web.tar"); err != nil || !bytes.Equal(got, big) {
		t.Errorf("the big file has %d bytes, %v", len(got), err)
	}
	out, err := exec.Command("find", dir, "-type", "f", "!", "-perm", "600").CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("wrong modes: %s %v", out, err)
	}
	if info, err := os.Stat(filepath.Dir(dir)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("others may enter: %v, %v", info.Mode(), err)
	}

	stale := filepath.Join(filepath.Dir(dir), "stale")
	other, err := c.Stage(t.Context(), files[1:2])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(stale, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(stale, time.Time{}, time.Now().Add(-48*time.Hour)); err != nil {
		t.Fatal(err)
	}
	os.Chown(stale, int(statUID(t, dir)), -1)
	if err := c.Unstage(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{dir, stale} {
		if _, err := os.Stat(gone); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", gone, err)
		}
	}
	if _, err := os.Stat(other); err != nil {
		t.Errorf("the folder of another run is gone: %v", err)
	}
}

func TestUnsafePathsAreRefused(t *testing.T) {
	t.Parallel()
	c := dial(t, startSSHD(t, []string{"ed25519"}).target("root"), Options{})
	for _, path := range []string{"", ".", "/etc/passwd", "../up", "a/../b", "a//b"} {
		if _, err := c.Stage(t.Context(), []Upload{{Path: path}}); err == nil {
			t.Errorf("%q was staged", path)
		}
	}
	if _, err := c.Stage(t.Context(), []Upload{{Path: "a"}, {Path: "a"}}); err == nil {
		t.Error("a path that is there twice was staged")
	}
	for _, dir := range []string{"/", "/root", "/root/" + stagingFolder, "/root/" + stagingFolder + "/..", "/root/" + stagingFolder + "/"} {
		if err := c.Unstage(t.Context(), dir); err == nil {
			t.Errorf("%q was removed", dir)
		}
	}
}

func TestStagingThatFailsSaysWhereAndWhy(t *testing.T) {
	t.Parallel()
	u := accounts(t)
	server := startSSHD(t, []string{"ed25519"})
	home := "/home/" + u.none
	if err := os.Chmod(home, 0o500); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(home, 0o700)
	_, err := dial(t, server.target(u.none), Options{}).Stage(t.Context(), []Upload{{Path: "a"}})
	if err == nil || !strings.Contains(err.Error(), "production as "+u.none) || !strings.Contains(err.Error(), "ermission denied") {
		t.Error(err)
	}
	forced := startSSHD(t, []string{"ed25519"}, "ForceCommand echo no files today")
	if _, err = dial(t, forced.target("root"), Options{}).Stage(t.Context(), []Upload{{Path: "a"}}); err == nil ||
		!strings.Contains(err.Error(), "Subsystem sftp") || !strings.Contains(err.Error(), "no files today") {
		t.Error(err)
	}
}

// An sftp-server that is run by the login shell answers with what that shell's
// startup files print first: "Received message too long", as sftp(1) puts it.
func TestFilesAreStagedWithoutASubsystemAndBehindAShellThatGreets(t *testing.T) {
	t.Parallel()
	greeter, _ := account(t, "/bin/bash", "")
	greet(t, greeter)
	for _, subsystem := range []string{"Subsystem sftp /no/such/server", "Subsystem other /bin/true", "Subsystem sftp /usr/lib/openssh/sftp-server"} {
		server := startSSHD(t, []string{"ed25519"}, subsystem, "MaxSessions 1")
		for _, user := range []string{"root", greeter} {
			c := dial(t, server.target(user), Options{})
			dir, err := c.Stage(t.Context(), []Upload{{Path: "a", Content: []byte("content")}})
			if err != nil {
				t.Errorf("%s as %s: %v", subsystem, user, err)
				continue
			}
			if content, err := os.ReadFile(dir + "/a"); err != nil || string(content) != "content" {
				t.Errorf("%s as %s: %q, %v", subsystem, user, content, err)
			}
			os.RemoveAll(dir)
		}
	}
}

func TestStagingCanBeCancelledAndTheConnectionLivesOn(t *testing.T) {
	t.Parallel()
	u := accounts(t)
	c := dial(t, startSSHD(t, []string{"ed25519"}).target(u.free), Options{})
	ctx, cancel := context.WithCancel(t.Context())
	endless := writerToReader{cancel: cancel}
	_, err := c.Stage(ctx, []Upload{{Path: "endless", Reader: &endless}})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := c.Stage(t.Context(), []Upload{{Path: "a"}}); err != nil {
		t.Error(err)
	}
}

// writerToReader gives zeros for ever, and cancels after the first MiB.
type writerToReader struct {
	given  int
	cancel func()
}

func (r *writerToReader) Read(p []byte) (int, error) {
	if r.given += len(p); r.given > 1<<20 {
		r.cancel()
	}
	return len(p), nil
}
