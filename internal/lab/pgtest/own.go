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
	c, err := startIn(dir)
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

// Standby starts a hot standby of the cluster and returns the same database
// there. It ends with the test.
func (c *Cluster) Standby(t testing.TB) *Database {
	t.Helper()
	dir := c.cluster.dir + "/standby"
	port := freePort()
	run := func(program string, args ...string) {
		t.Helper()
		cmd := exec.Command(filepath.Join(c.cluster.bin, program), args...)
		cmd.SysProcAttr, cmd.Dir = c.cluster.attr, c.cluster.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", program, err, out)
		}
	}
	run("pg_basebackup", "-R", "-c", "fast", "-D", dir, "-h", c.cluster.dir, "-p", fmt.Sprint(c.cluster.port), "-U", "supabase_admin")
	run("pg_ctl", "start", "-w", "-D", dir, "-l", dir+".log", "-o", fmt.Sprintf("-p %d", port))
	t.Cleanup(func() { run("pg_ctl", "stop", "-w", "-D", dir, "-m", "immediate") })
	return &Database{Name: template, Port: port, dir: c.cluster.dir}
}
