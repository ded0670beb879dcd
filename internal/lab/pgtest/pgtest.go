// Package pgtest gives tests a real PostgreSQL with the roles, schemas and
// default privileges that Supabase's image sets up. It runs the newest server
// installed under /usr/lib/postgresql (Debian, Ubuntu), or the one whose bin
// folder HOLDFAST_POSTGRES_BIN names.
//
// A test binary has one cluster, started by the first test that asks for it;
// every test gets a database of its own. Roles belong to the cluster: a test
// that makes one should do so in a transaction it rolls back, or expect it to
// be seen by later tests.
package pgtest

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Password is what every login role of the cluster has; connections over TCP
// need it (SCRAM), those over the Unix socket don't.
const Password = "pgtest-0123456789abcdef"

// supabase is what makes an empty cluster look like Supabase's image.
//
//go:embed supabase.sql
var supabase string

// template is the database that those of the tests are copies of.
const template = "supabase_template"

var shared struct {
	once    sync.Once
	cluster *cluster
	err     error
	mu      sync.Mutex
	count   int
}

// A cluster is one running server.
type cluster struct {
	dir  string // data, socket and log
	bin  string // folder of the server's programs
	attr *syscall.SysProcAttr
	port int
	stop func()
}

// Run runs a package's tests and stops the cluster afterwards; call it from
// TestMain: os.Exit(pgtest.Run(m)).
func Run(m *testing.M) int {
	code := m.Run()
	if shared.cluster != nil {
		shared.cluster.stop()
	}
	return code
}

// A Database is one test's own database.
type Database struct {
	Name string
	Port int    // on 127.0.0.1
	dir  string // of the Unix socket
}

// New creates a database that looks like a fresh self-hosted Supabase. The
// test fails when there is no PostgreSQL to run.
func New(t testing.TB) *Database {
	t.Helper()
	shared.once.Do(func() { shared.cluster, shared.err = start() })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	// CREATE DATABASE locks its template: one at a time.
	shared.mu.Lock()
	defer shared.mu.Unlock()
	shared.count++
	db := &Database{Name: fmt.Sprintf("test_%d", shared.count), Port: shared.cluster.port, dir: shared.cluster.dir}
	admin := (&Database{Name: "postgres", Port: db.Port, dir: db.dir}).Connect(t, "supabase_admin")
	if _, err := admin.Exec(t.Context(), fmt.Sprintf("create database %s template %s owner postgres", db.Name, template)); err != nil {
		t.Fatalf("create a test database: %v", err)
	}
	return db
}

// Connect opens a connection as role over the Unix socket, closed with the test.
func (d *Database) Connect(t testing.TB, role string) *pgx.Conn {
	t.Helper()
	conn, err := connect(t.Context(), d.DSN(role))
	if err != nil {
		t.Fatalf("connect to the test database as %s: %v", role, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = conn.Close(ctx) // a test may have ended it by force
	})
	return conn
}

// DSN is how role connects over the Unix socket.
func (d *Database) DSN(role string) string {
	return fmt.Sprintf("host=%s port=%d user=%s dbname=%s application_name=pgtest", d.dir, d.Port, role, d.Name)
}

// URL is how the database is reached over TCP by role with password.
func (d *Database) URL(role, password string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(role, password),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(d.Port)), Path: "/" + d.Name, RawQuery: "sslmode=disable"}
	return u.String()
}

func connect(ctx context.Context, dsn string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, config)
}

// supervise starts the server ($1) on a data folder ($2) and ends both when its
// standard input closes: also when the test binary was killed.
const supervise = `"$1" -D "$2/data" >"$2/log" 2>&1 & p=$!
cat >/dev/null
kill -QUIT $p; wait $p; rm -rf "$2"`

func start() (*cluster, error) {
	dir, err := os.MkdirTemp("", "pgtest")
	if err != nil {
		return nil, err
	}
	return startIn(dir, "synchronous_commit = off\n")
}

// startIn makes a cluster with more settings in an empty folder, which goes with it.
func startIn(dir, settings string) (*cluster, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	attr := &syscall.SysProcAttr{}
	if os.Getuid() == 0 {
		// PostgreSQL refuses to be root's.
		credential, err := unprivileged()
		if err != nil {
			return nil, err
		}
		attr.Credential = credential
		if err := os.Chown(dir, int(credential.Uid), int(credential.Gid)); err != nil {
			return nil, err
		}
	}
	initdb := exec.Command(filepath.Join(bin, "initdb"), "--pgdata", dir+"/data", "--username=supabase_admin",
		"--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
	initdb.SysProcAttr, initdb.Dir = attr, dir
	if out, err := initdb.CombinedOutput(); err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}

	c := &cluster{dir: dir, bin: bin, attr: attr, port: freePort()}
	config := fmt.Sprintf(`
listen_addresses = '127.0.0.1'
port = %d
unix_socket_directories = '%s'
fsync = off
full_page_writes = off
autovacuum = off
wal_level = logical
max_connections = 50
%s`, c.port, dir, settings)
	for name, content := range map[string]string{
		"postgresql.conf": config,
		"pg_hba.conf":     "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n",
	} {
		// The files exist, so the server's user keeps owning them.
		if err := os.WriteFile(filepath.Join(dir, "data", name), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}

	server := exec.Command("sh", "-c", supervise, "sh", filepath.Join(bin, "postgres"), dir)
	server.SysProcAttr, server.Dir = attr, dir
	stdin, err := server.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := server.Start(); err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	c.stop = func() { stdin.Close(); _ = server.Wait() }
	if err := c.prepare(); err != nil {
		log, _ := os.ReadFile(dir + "/log")
		c.stop()
		return nil, fmt.Errorf("prepare the test cluster: %w\n%s", err, log)
	}
	return c, nil
}

// prepare waits for the server and makes the template database.
func (c *cluster) prepare() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	dsn := fmt.Sprintf("host=%s port=%d user=supabase_admin dbname=", c.dir, c.port)
	conn, err := connect(ctx, dsn+"postgres")
	for err != nil {
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
		conn, err = connect(ctx, dsn+"postgres")
	}
	_, err = conn.Exec(ctx, "create database "+template)
	if err := errors.Join(err, conn.Close(ctx)); err != nil {
		return err
	}
	conn, err = connect(ctx, dsn+template)
	if err != nil {
		return err
	}
	if _, err := conn.PgConn().Exec(ctx, supabase).ReadAll(); err != nil {
		return err
	}
	for _, role := range []string{"supabase_admin", "postgres", "authenticator", "supabase_auth_admin", "supabase_storage_admin"} {
		if _, err := conn.Exec(ctx, fmt.Sprintf("alter role %s password '%s'", role, Password)); err != nil {
			return err
		}
	}
	return conn.Close(ctx)
}

// binaries returns the folder of the newest installed server.
func binaries() (string, error) {
	if bin := os.Getenv("HOLDFAST_POSTGRES_BIN"); bin != "" {
		return bin, nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	best, newest := "", 0
	for _, path := range found {
		bin := filepath.Dir(path)
		if major, err := strconv.Atoi(filepath.Base(filepath.Dir(bin))); err == nil && major > newest {
			best, newest = bin, major
		}
	}
	if best == "" {
		return "", errors.New("no PostgreSQL server under /usr/lib/postgresql: apt-get install postgresql, or set HOLDFAST_POSTGRES_BIN")
	}
	return best, nil
}

func unprivileged() (*syscall.Credential, error) {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")
}

// freePort returns a TCP port that was free a moment ago.
func freePort() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 54329
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
