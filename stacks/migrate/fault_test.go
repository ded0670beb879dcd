package migrate

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast/internal/lab/pgtest"
)

// A cutting is a connection that breaks at the COMMIT.
type cutting struct {
	net.Conn
	armed  *atomic.Bool
	sends  bool // the COMMIT goes out before it breaks
	silent bool // the server is not told that the client has gone
}

func (c *cutting) Write(b []byte) (int, error) {
	if !c.armed.Load() || !bytes.Contains(b, []byte("commit\x00")) {
		return c.Conn.Write(b)
	}
	if c.sends {
		if _, err := c.Conn.Write(b); err != nil {
			return 0, err
		}
		time.Sleep(50 * time.Millisecond) // the network is slower to break than the server to commit
	}
	if !c.silent {
		c.Conn.Close()
	}
	return 0, net.ErrClosed
}

func (c *cutting) Close() error {
	if c.silent {
		return nil
	}
	return c.Conn.Close()
}

// cut connects so that the connection breaks at the first COMMIT.
func cut(t testing.TB, dsn string, sends, silent bool) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	armed := &atomic.Bool{}
	config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		t.Cleanup(func() { conn.Close() })
		return &cutting{Conn: conn, armed: armed, sends: sends, silent: silent}, err
	}
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	armed.Store(true)
	return conn
}

func TestAConnectionThatBreaksAtTheCommitIsReportedAsWhatTheDatabaseHasKept(t *testing.T) {
	for _, c := range []struct {
		name          string
		sends, silent bool
		reconnect     bool
		says          []string // nil: no error
	}{
		{"before it", false, false, true, []string{"the connection broke during the commit", "the database was asked: nothing of the 2 pending migrations was kept"}},
		{"before it, and the server does not notice", false, true, true, []string{"the database was asked: nothing of the 2 pending migrations was kept"}},
		{"behind it", true, false, true, nil},
		{"behind it, and nobody can ask", true, false, false, []string{"could not be asked what it has kept, all or nothing", "holdfast migrate status"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := pgtest.New(t)
			dsn := db.DSN("postgres")
			var told []string
			options := Options{Tell: func(line string) { told = append(told, line) }}
			if c.reconnect {
				options.Reconnect = func(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, dsn) }
			}
			result, err := Up(t.Context(), cut(t, dsn, c.sends, c.silent), folder(t, invoices...), options)
			conn := db.Connect(t, "postgres")
			kept := query(t, conn, "select to_regclass('public.invoices')::text") != "null"
			if kept != c.sends {
				t.Fatalf("the table is there: %v", kept)
			}
			if c.says == nil {
				if err != nil || len(result.Applied) != 2 || !strings.Contains(strings.Join(told, "\n"), "the database was asked and has committed") {
					t.Errorf("applied %v, told %q, %v", versions(result.Applied), told, err)
				}
			} else {
				mustSay(t, err, c.says...)
				if len(result.Applied) != 0 {
					t.Errorf("claims to have applied %v", versions(result.Applied))
				}
			}
			free(t, conn)
			if _, err := Up(t.Context(), conn, folder(t, invoices...), Options{}); err != nil {
				t.Errorf("the next run: %v", err)
			}
			if got := history(t, conn); got != "20260101000000 20260102000000" {
				t.Errorf("the history has %s", got)
			}
		})
	}
}

// free waits until no session holds the lock.
func free(t testing.TB, conn *pgx.Conn) {
	t.Helper()
	for range 1000 {
		if query(t, conn, "select count(*)::text from pg_locks where locktype = 'advisory'") == "0" {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the lock is not freed")
}

func TestALostConnectionBehindTheCommitChangesNothing(t *testing.T) {
	db := pgtest.New(t)
	conn := db.Connect(t, "postgres")
	files := folder(t, append(invoices, "20260103000000_end.sql", "select 1")...)
	// The commit has gone through when its trigger's session is ended.
	pid := conn.PgConn().PID()
	_, err := Up(t.Context(), conn, files, Options{Gate: func(ctx context.Context, tx pgx.Tx, _ []File) error {
		go func() {
			watch, _ := pgx.Connect(context.Background(), db.DSN("supabase_admin"))
			defer watch.Close(context.Background())
			for range 1000 {
				var committed bool
				_ = watch.QueryRow(context.Background(), "select to_regclass('public.invoices') is not null").Scan(&committed)
				if committed {
					_, _ = watch.Exec(context.Background(), "select pg_terminate_backend($1)", pid)
					return
				}
			}
		}()
		return nil
	}})
	if err != nil {
		t.Errorf("what was committed is reported as %v", err)
	}
	if got := history(t, db.Connect(t, "postgres")); !strings.HasSuffix(got, "20260103000000") {
		t.Errorf("the history has %s", got)
	}
}

func TestAServerThatCrashesInTheMiddleIsWaitedForAndAsked(t *testing.T) {
	server := pgtest.Own(t, "")
	db := server.Database()
	dsn := db.DSN("postgres")
	reconnect := func(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, dsn) }
	conn := db.Connect(t, "postgres")

	_, err := Up(t.Context(), conn, folder(t, invoices...), Options{Reconnect: reconnect, Gate: func(context.Context, pgx.Tx, []File) error {
		server.Crash(t)
		go func() { time.Sleep(300 * time.Millisecond); server.Start(t) }()
		return nil
	}})
	mustSay(t, err, "nothing of the 2 pending migrations was kept")
	var again *pgx.Conn
	for range 100 {
		if again, err = pgx.Connect(t.Context(), dsn); err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close(t.Context())
	nothingLeft(t, db, "public.invoices")

	// A statement that runs alone, cut off by a crash: the next run finds what is left.
	files := folder(t, "1_many.sql", "create table public.many as select i as id from generate_series(1, 300000) i", "2_index.sql", "create index concurrently many_id on public.many (id)")
	done := make(chan error, 1)
	go func() {
		_, err := Up(context.Background(), again, files, Options{Reconnect: reconnect})
		done <- err
	}()
	watch := db.Connect(t, "supabase_admin")
	for range 500 {
		if query(t, watch, "select count(*)::text from pg_index where not indisvalid") != "0" {
			break
		}
		time.Sleep(2 * time.Millisecond)
	}
	server.Crash(t)
	server.Start(t)
	err = <-done
	conn = db.Connect(t, "postgres")
	valid := query(t, conn, "select coalesce((select indisvalid::text from pg_index where indexrelid = to_regclass('public.many_id')), 'missing')")
	switch {
	case err == nil && valid != "true":
		t.Errorf("no error, and the index is %s", valid)
	case err != nil:
		want := map[string]string{"missing": "this one is not; the next run goes on here", "false": "half done; the next run clears that away"}[valid]
		mustSay(t, err, want)
	}
	free(t, conn)
	if _, err := Up(t.Context(), conn, files, Options{}); err != nil {
		t.Fatal(err)
	}
	if got := query(t, conn, "select indisvalid::text from pg_index where indexrelid = 'public.many_id'::regclass") + " " + history(t, conn); got != "true 1 2" {
		t.Errorf("valid and history: %s", got)
	}
}

func TestAHotStandbyIsRefusedAtOnce(t *testing.T) {
	standby := pgtest.Own(t, "").Standby(t)
	_, err := Up(t.Context(), standby.Connect(t, "postgres"), folder(t, invoices...), Options{})
	mustSay(t, err, "this server is a read-only replica: migrate its primary", untouched)
	_, err = baseline().Up(t.Context(), standby.Connect(t, "supabase_admin"))
	mustSay(t, err, "this server is a read-only replica")
}

func TestAFullDiskKeepsNothingAndSaysSo(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=160m,mode=0755"); err != nil {
		t.Skipf("a small file system can't be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	server := pgtest.Own(t, filepath.Join(mkdir(t, dir, "pg")))
	db := server.Database()
	conn := db.Connect(t, "postgres")
	files := folder(t, "1_first.sql", "create table public.first (id int)", "2_big.sql", "select 1;\ncreate unlogged table public.big as select repeat(md5(i::text), 30) as text from generate_series(1, 400000) i")
	_, err := Up(t.Context(), conn, files, Options{})
	mustSay(t, err, "2_big.sql:2:1: could not extend file", "No space left on device", "nothing of the 2 pending migrations was kept", "free space on the database's disk")
	nothingLeft(t, db, "public.first")
	if _, err := Up(t.Context(), conn, files[:1], Options{}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func mkdir(t testing.TB, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	// The folders above are the test's alone; the server's user has to get through.
	for parent := dir; strings.HasPrefix(parent, os.TempDir()+"/"); parent = filepath.Dir(parent) {
		if err := os.Chmod(parent, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// victimVariable makes the test binary a process to be killed: it migrates the
// database of that DSN when a line comes in.
const victimVariable = "HOLDFAST_TEST_MIGRATE"

// killed are migrations of every kind of step.
func killed(t testing.TB) []File {
	var pairs []string
	for i := 1; i <= 8; i++ {
		sql := fmt.Sprintf("create table public.t%[1]d as select i as id from generate_series(1, 20000) i; create table public.u%[1]d (id int);", i)
		if i%3 == 0 {
			sql += fmt.Sprintf("\ncreate index concurrently i%[1]d on public.t%[1]d (id);\ninsert into public.u%[1]d values (%[1]d);", i)
		}
		pairs = append(pairs, fmt.Sprintf("%d_m.sql", i), sql)
	}
	return folder(t, pairs...)
}

func victim(dsn string) {
	Warm()
	conn, err := pgx.Connect(context.Background(), dsn)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	var files []File
	for _, f := range strings.Split(os.Getenv(victimVariable+"_FILES"), "\x01") {
		version, sql, _ := strings.Cut(f, "\x02")
		files = append(files, File{Path: version + "_m.sql", Version: version, Name: "m", SQL: sql})
	}
	if _, err := Up(context.Background(), conn, files, Options{}); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// TestKilledAtAnyPointHistoryAndSchemaAgree kills a run at random points: 6, or
// as many as HOLDFAST_TEST_KILLS says.
func TestKilledAtAnyPointHistoryAndSchemaAgree(t *testing.T) {
	points := 6
	if n, err := strconv.Atoi(os.Getenv("HOLDFAST_TEST_KILLS")); err == nil {
		points = n
	}
	files := killed(t)
	var texts []string
	for _, f := range files {
		texts = append(texts, f.Version+"\x02"+f.SQL)
	}
	// How long a whole run takes here.
	db := pgtest.New(t)
	Warm()
	begin := time.Now()
	if _, err := Up(t.Context(), db.Connect(t, "postgres"), files, Options{}); err != nil {
		t.Fatal(err)
	}
	whole := time.Since(begin)
	reached := map[string]int{}
	for point := range points {
		t.Run(strconv.Itoa(point), func(t *testing.T) {
			db := pgtest.New(t)
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), victimVariable+"="+db.DSN("postgres"), victimVariable+"_FILES="+strings.Join(texts, "\x01"))
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewReader(stdout)
			if line, err := lines.ReadString('\n'); line != "ready\n" {
				t.Fatalf("the process said %q, %v", line, err)
			}
			delay := time.Duration(rand.Int64N(int64(whole) + int64(whole)/5))
			if _, err := io.WriteString(stdin, "\n"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(delay)
			_ = cmd.Process.Kill()
			_ = cmd.Wait()

			conn := db.Connect(t, "postgres")
			free(t, conn)
			recorded := agree(t, conn, files)
			reached[fmt.Sprint(recorded)]++
			if _, err := Up(t.Context(), conn, files, Options{}); err != nil {
				t.Fatalf("killed after %v, the next run: %v", delay, err)
			}
			if n := agree(t, conn, files); n != len(files) {
				t.Errorf("the next run recorded %d of %d", n, len(files))
			}
		})
	}
	t.Logf("a run takes %v; killed at %d points; files recorded by then: %v", whole, points, reached)
}

// agree compares the history with the schema and returns how many files are recorded.
func agree(t testing.TB, conn *pgx.Conn, files []File) int {
	t.Helper()
	status, err := ReadStatus(t.Context(), conn, files)
	if err != nil {
		t.Fatal(err)
	}
	exists := func(relation string) bool {
		return query(t, conn, "select to_regclass($1)::text", relation) != "null"
	}
	for _, f := range files {
		_, begun := status.partial(f.Version)
		recorded := strings.Contains(" "+strings.Join(versions(status.Applied), " ")+" ", " "+f.Version+" ")
		// A file is there from its first statement on; it is recorded when it is
		// complete, and noted as begun in between.
		if got := exists("public.t" + f.Version); got != (recorded || begun) || recorded && begun {
			t.Errorf("file %s: table there %v, recorded %v, begun %v", f.Version, got, recorded, begun)
		}
		if !strings.Contains(f.SQL, "concurrently") {
			continue
		}
		if recorded && query(t, conn, "select indisvalid::text from pg_index where indexrelid = to_regclass($1)", "public.i"+f.Version) != "true" {
			t.Errorf("file %s is recorded without a valid index", f.Version)
		}
		if exists("public.u" + f.Version) {
			if n := query(t, conn, "select count(*)::text from public.u"+f.Version); (n == "1") != recorded {
				t.Errorf("file %s: recorded %v, its last statement ran %s times", f.Version, recorded, n)
			}
		}
	}
	return len(status.Applied)
}
