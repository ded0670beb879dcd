package database

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"holdfast/internal/lab/pgtest"
	"holdfast/verify"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

var options = Options{Schemas: []string{"public"}}

// sample is a small project: one table of each kind of protection.
const sample = `
create table public.invoices (id bigint primary key, owner uuid not null, amount numeric);
alter table public.invoices enable row level security;
create policy own on public.invoices to authenticated using (owner = (select auth.uid()));
create table public.locked (id int);
alter table public.locked enable row level security;
create table public.open (id int);
create table public.ungranted (id int);
revoke all on public.ungranted from anon, authenticated;
create table public.partly (id int, secret text);
revoke all on public.partly from anon, authenticated;
grant select (id), update (id) on public.partly to anon;
create table public.looped (id int);
alter table public.looped enable row level security;
create policy loop on public.looped using (exists (select from public.looped l where l.id = 1));
create view public.totals as select owner, sum(amount) from public.invoices group by owner;
create view public.mine with (security_invoker) as select * from public.invoices;
create table public.parts (id int) partition by range (id);
create table public.parts_1 partition of public.parts for values from (0) to (10);
alter table public.parts enable row level security;
create policy few on public.parts for select using (id < 5);
create policy anyone on public.parts for insert with check (true);
`

func collect(t testing.TB, conn Querier) *verify.Database {
	t.Helper()
	facts, err := Collect(t.Context(), conn, options)
	if err != nil {
		t.Fatal(err)
	}
	return facts
}

func exec(t testing.TB, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
		t.Fatalf("%s\n%v", sql, err)
	}
}

// matrixText prints an access matrix one line a cell.
func matrixText(facts *verify.Database) string {
	var b strings.Builder
	for _, a := range facts.Access {
		fmt.Fprintf(&b, "%s %s: %s %s %s %s %s%s\n", a.Name, a.Role, a.Select, a.Insert, a.Update, a.Delete, a.Filter, a.Error)
	}
	return b.String()
}

func TestTheMatrixSaysWhatThePlannerSays(t *testing.T) {
	db := pgtest.New(t)
	exec(t, db.Connect(t, "postgres"), sample)
	facts := collect(t, db.Connect(t, "postgres"))
	want := map[string]string{
		"invoices anon":          "nothing nothing nothing nothing",
		"invoices authenticated": "filtered filtered filtered filtered",
		"invoices service_role":  "everything everything everything everything",
		"locked anon":            "nothing nothing nothing nothing",
		"open anon":              "everything everything everything everything",
		"ungranted anon":         "denied denied denied denied",
		"partly anon":            "everything denied everything denied",
		"looped authenticated":   "error error error error",
		"totals anon":            "everything denied denied denied",
		"mine anon":              "nothing nothing nothing nothing",
		"mine authenticated":     "filtered filtered filtered filtered",
		"parts anon":             "filtered everything nothing nothing",
		"parts_1 anon":           "everything everything everything everything",
	}
	for _, a := range facts.Access {
		key := a.Name + " " + a.Role
		got := strings.Join([]string{a.Select, a.Insert, a.Update, a.Delete}, " ")
		if w, ok := want[key]; ok && got != w {
			t.Errorf("%s: got %s, want %s %s", key, got, w, a.Error)
		}
		delete(want, key)
		if key == "invoices authenticated" && !strings.Contains(a.Filter, "owner = ") {
			t.Errorf("the filter is %q", a.Filter)
		}
		if key == "looped authenticated" && !strings.HasPrefix(a.Error, "42P17 infinite recursion") {
			t.Errorf("the error is %q", a.Error)
		}
	}
	if len(want) > 0 {
		t.Errorf("not in the matrix: %v", want)
	}
}

func TestWhatIsUnfilteredIsReallyReadableAndTheRestIsNot(t *testing.T) {
	// The matrix against the truth: one row in each table, read by each role.
	db := pgtest.New(t)
	conn := db.Connect(t, "postgres")
	exec(t, conn, sample+`
		insert into public.invoices values (1, gen_random_uuid(), 1); insert into public.locked values (1); insert into public.open values (1);
		insert into public.ungranted values (1); insert into public.partly values (1, 's'); insert into public.parts values (7);`)
	for _, a := range collect(t, conn).Access {
		if a.Role == "service_role" || a.Name == "looped" {
			continue
		}
		tx, err := conn.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		exec(t, conn, "set local role "+a.Role)
		var count int
		err = tx.QueryRow(t.Context(), "select count(*) from "+a.Schema+"."+a.Name).Scan(&count)
		if (err != nil) != (a.Select == "denied") {
			t.Errorf("%s on %s: the matrix says %s, reading %v", a.Role, a.Name, a.Select, err)
		}
		if err == nil && (count > 0) != (a.Select == "everything") {
			t.Errorf("%s on %s: the matrix says %s, %d rows are read", a.Role, a.Name, a.Select, count)
		}
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestATransactionIsSeenAndLeftAsItWas(t *testing.T) {
	db := pgtest.New(t)
	conn := db.Connect(t, "postgres")
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	exec(t, conn, "create table public.fresh (id int); set local search_path = public; set local role postgres")
	facts := collect(t, tx)
	if !slices.ContainsFunc(facts.Tables, func(t verify.Table) bool { return t.Name == "fresh" }) {
		t.Error("the transaction's own table is not seen")
	}
	var path, user string
	if err := tx.QueryRow(t.Context(), "select current_setting('search_path'), current_user from fresh right join (select 1) x on true").Scan(&path, &user); err != nil {
		t.Fatal(err)
	}
	if path != "public" || user != "postgres" {
		t.Errorf("afterwards search_path is %q and the role %q", path, user)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestUnknownSchemasAreAnErrorNotAnEmptyAnswer(t *testing.T) {
	db := pgtest.New(t)
	for _, schemas := range [][]string{nil, {}, {" "}} {
		if _, err := Collect(t.Context(), db.Connect(t, "postgres"), Options{Schemas: schemas}); err == nil || !strings.Contains(err.Error(), "PGRST_DB_SCHEMAS") {
			t.Errorf("%q: %v", schemas, err)
		}
	}
}

func TestARoleThatMayNotAskIsAnError(t *testing.T) {
	db := pgtest.New(t)
	exec(t, db.Connect(t, "postgres"), "create table public.a ()")
	conn := db.Connect(t, "pgbouncer")
	_, err := Collect(t.Context(), conn, options)
	if err == nil || !strings.Contains(err.Error(), "the role pgbouncer may neither become anon nor call holdfast.explain_as_anon") {
		t.Fatalf("got %v", err)
	}
	// The connection is good for another try.
	if status := conn.PgConn().TxStatus(); status != 'I' {
		t.Errorf("the connection is left in state %q", status)
	}
}

func TestALockedTableIsAnErrorNotAnAnswer(t *testing.T) {
	db := pgtest.New(t)
	exec(t, db.Connect(t, "postgres"), sample)
	exec(t, db.Connect(t, "postgres"), "begin; lock table public.open in access exclusive mode")
	conn := db.Connect(t, "postgres")
	_, err := Collect(t.Context(), conn, options)
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != "55P03" {
		t.Errorf("got %v", err)
	}
	if status := conn.PgConn().TxStatus(); status != 'I' {
		t.Errorf("the connection is left in state %q", status)
	}
}

func TestFactsHaveNoNullLists(t *testing.T) {
	db := pgtest.New(t)
	conn := db.Connect(t, "postgres")
	exec(t, conn, sample)
	text, err := json.Marshal(collect(t, conn))
	if err != nil {
		t.Fatal(err)
	}
	if i := strings.Index(string(text), ":null"); i >= 0 {
		t.Errorf("…%s…", text[max(0, i-80):min(len(text), i+20)])
	}
}

func TestCollectIsQuickOnAHundredTables(t *testing.T) {
	db := pgtest.New(t)
	conn := db.Connect(t, "postgres")
	exec(t, conn, `do $$ begin for i in 1..100 loop
		execute format('create table public.t%1$s (id int primary key, owner uuid, a text, b text, c int references public.t%2$s); alter table public.t%1$s enable row level security;
			create policy own on public.t%1$s to authenticated using (owner = (select auth.uid()))', i, greatest(1, i - 1));
		end loop; end $$`)
	start := time.Now()
	facts := collect(t, conn)
	took := time.Since(start)
	t.Logf("100 tables: %v, %d cells", took, len(facts.Access)*4)
	if took > 5*time.Second { // generous: other tests run beside this one
		t.Errorf("100 tables took %v", took)
	}
}

// many fills a database with n tables under row level security, as a project has
// them: an owner column, policies, an index, foreign keys.
func many(t testing.TB, n int) *pgtest.Database {
	t.Helper()
	db := pgtest.New(t)
	conn := db.Connect(t, "postgres")
	for from := 1; from <= n; from += 500 { // in several transactions: each table takes locks
		exec(t, conn, fmt.Sprintf(`do $$ begin for i in %d..%d loop
			execute format('create table public.t%%1$s (id int primary key, owner uuid, a text, b text, c int references public.t%%2$s); alter table public.t%%1$s enable row level security;
				create policy own on public.t%%1$s to authenticated using (owner = (select auth.uid()))', i, greatest(1, i - 1));
			if i %% 3 = 0 then execute format('revoke all on public.t%%1$s from anon', i); end if;
			end loop; end $$`, from, min(from+499, n)))
	}
	exec(t, conn, "vacuum analyze")
	return db
}

// BenchmarkCollect observes a database of 1,000 and, with HOLDFAST_BENCH_LARGE
// set, of 10,000 tables, and compares that with the time PostgreSQL takes for
// the EXPLAINs alone.
func BenchmarkCollect(b *testing.B) {
	sizes := []int{1000}
	if os.Getenv("HOLDFAST_BENCH_LARGE") != "" {
		sizes = append(sizes, 10000)
	}
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			conn := many(b, n).Connect(b, "postgres")
			plain := explains(b, conn, n)
			peak := make(chan uint64)
			stop := make(chan struct{})
			go func() { peak <- watchHeap(stop) }()
			for b.Loop() {
				if facts := collect(b, conn); len(facts.Access) < 3*n {
					b.Fatalf("%d rows", len(facts.Access))
				}
			}
			close(stop)
			took := b.Elapsed() / time.Duration(b.N)
			b.ReportMetric(float64(took)/float64(plain), "×EXPLAIN")
			b.ReportMetric(float64(<-peak)/(1<<20), "MB-peak")
		})
	}
}

// explains times the same EXPLAINs as plain statements, sent in one pipeline.
func explains(b *testing.B, conn *pgx.Conn, n int) time.Duration {
	b.Helper()
	begin := time.Now()
	for _, role := range apiRoles {
		for from := 1; from <= n; from += 500 {
			batch := &pgconn.Batch{}
			add := func(sql string) { batch.ExecParams(sql, nil, nil, nil, nil) }
			add("begin")
			add("set local role " + role)
			for i := from; i < from+500; i++ {
				if role == "anon" && i%3 == 0 {
					continue // refused, which would end the pipeline
				}
				for _, sql := range []string{"select 1 from public.t%d", "insert into public.t%d default values", "update public.t%d set id = default where true", "delete from public.t%d where true"} {
					add("explain (format json, costs off, verbose) " + fmt.Sprintf(sql, i))
				}
			}
			add("rollback")
			if _, err := conn.PgConn().ExecBatch(b.Context(), batch).ReadAll(); err != nil {
				b.Fatal(err)
			}
		}
	}
	return time.Since(begin)
}

// watchHeap returns the largest heap seen until stop is closed.
func watchHeap(stop <-chan struct{}) (peak uint64) {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	for {
		metrics.Read(sample)
		peak = max(peak, sample[0].Value.Uint64())
		select {
		case <-stop:
			return peak
		case <-time.After(2 * time.Millisecond):
		}
	}
}
