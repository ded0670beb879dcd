package pgtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// A Cluster is a server of one test's own, to be stopped, filled up or copied.
type Cluster struct {
	cluster *cluster
	running bool
}

// Own starts a cluster for one test, in dir or, when that is empty, in a
// temporary folder. It ends with the test.
func Own(t testing.TB, dir string) *Cluster {
	t.Helper()
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "pgtest"); err != nil {
			t.Fatal(err)
		}
	}
	c, err := startIn(dir, "") // a commit is in the log before it is reported: Crash must not lose it
	if err != nil {
		t.Fatal(err)
	}
	own := &Cluster{cluster: c, running: true}
	t.Cleanup(func() {
		if own.running {
			own.control(t, "stop", "-m", "immediate")
		}
		c.stop()
	})
	// As New's databases, so that the role postgres may create schemas.
	if _, err := own.Database().Connect(t, "supabase_admin").Exec(t.Context(), "alter database "+template+" owner to postgres"); err != nil {
		t.Fatal(err)
	}
	return own
}

// Database is the one that looks like a fresh Supabase.
func (c *Cluster) Database() *Database {
	return &Database{Name: template, Port: c.cluster.port, dir: c.cluster.dir}
}

// Crash ends the server at once, as a power cut does; Start brings it back.
func (c *Cluster) Crash(t testing.TB) {
	t.Helper()
	c.control(t, "stop", "-m", "immediate")
	c.running = false
}

// Start starts the server again after Crash, and waits until it answers.
func (c *Cluster) Start(t testing.TB) {
	t.Helper()
	c.control(t, "start")
	c.running = true
}

func (c *Cluster) control(t testing.TB, verb string, more ...string) {
	t.Helper()
	args := append([]string{verb, "-w", "-D", c.cluster.dir + "/data", "-l", c.cluster.dir + "/log"}, more...)
	cmd := exec.Command(filepath.Join(c.cluster.bin, "pg_ctl"), args...)
	cmd.SysProcAttr, cmd.Dir = c.cluster.attr, c.cluster.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("pg_ctl %s: %v\n%s", verb, err, out)
	}
}

// Standby starts a copy of the cluster as a hot standby and returns the same
// database there. The cluster itself is stopped meanwhile. It ends with the test.
func (c *Cluster) Standby(t testing.TB) *Database {
	t.Helper()
	c.control(t, "stop", "-m", "fast")
	copied := &cluster{dir: c.cluster.dir + "/standby", bin: c.cluster.bin, attr: c.cluster.attr, port: freePort()}
	script := `mkdir "$2" && cp -a "$1/data" "$2/" && touch "$2/data/standby.signal" && rm -f "$2/data/postmaster.pid" && printf 'port = %s\nunix_socket_directories = %s\n' "$3" "'$2'" >> "$2/data/postgresql.conf"`
	cmd := exec.Command("sh", "-c", script, "sh", c.cluster.dir, copied.dir, fmt.Sprint(copied.port))
	cmd.SysProcAttr, cmd.Dir = c.cluster.attr, c.cluster.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("copy the cluster: %v\n%s", err, out)
	}
	standby := &Cluster{cluster: copied}
	standby.Start(t)
	t.Cleanup(func() { standby.Crash(t) })
	c.Start(t)
	return standby.Database()
}
