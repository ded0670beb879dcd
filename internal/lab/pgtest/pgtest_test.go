package pgtest

import (
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestMain(m *testing.M) { os.Exit(Run(m)) }

func TestDatabaseHasSupabasesRolesAndIsFreshForEachTest(t *testing.T) {
	for range 2 {
		conn := New(t).Connect(t, "postgres")
		var anon, exists bool
		err := conn.QueryRow(t.Context(), `select pg_has_role('postgres', 'anon', 'member'), to_regclass('public.leftover') is not null`).Scan(&anon, &exists)
		if err != nil {
			t.Fatal(err)
		}
		if !anon || exists {
			t.Errorf("postgres is a member of anon: %v, a table of an earlier test is there: %v", anon, exists)
		}
		if _, err := conn.Exec(t.Context(), "create table public.leftover ()"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTCPNeedsThePassword(t *testing.T) {
	db := New(t)
	conn, err := pgx.Connect(t.Context(), db.URL("postgres", Password))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close(t.Context())
	if conn, err := pgx.Connect(t.Context(), db.URL("postgres", "wrong")); err == nil {
		conn.Close(t.Context())
		t.Error("a wrong password was accepted")
	}
}
