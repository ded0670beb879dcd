//go:build lab

package main

import (
	"bufio"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/stacks/secrets"
)

// retired are the values that rotations replaced or that were taken back: nothing
// may show them any more than those in force.
var retired []string

// opened reads the environment's secrets.
func opened(t *testing.T) *secrets.File {
	t.Helper()
	identities, err := secrets.Identities([]string{filepath.Join(stage.dir, ".holdfast", "identity.txt")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	file, err := secrets.Load(filepath.Join(stage.dir, "secrets.age"), identities)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// logsIn reports whether a role of a stack's database may log in with a password.
func logsIn(t *testing.T, container, role, database, password string) bool {
	t.Helper()
	out := onWith(t, "production", password+"\n", `docker exec -i `+container+` sh -c 'read -r PGPASSWORD; export PGPASSWORD; psql -X -w -h 127.0.0.1 -U `+role+` -d `+database+` -Atc "select 6*7" 2>&1' || true`)
	if !strings.Contains(out, "42") && !strings.Contains(out, "password authentication failed") {
		t.Fatalf("%s in %s: %s", role, container, out)
	}
	return strings.Contains(out, "42")
}

// admits reports whether the gateway takes a key.
func admits(t *testing.T, key string) bool {
	t.Helper()
	status := onWith(t, "production", key+"\n", `read -r key; exec 3<>/dev/tcp/127.0.0.1/8000
printf 'GET /rest/v1/invoices?select=id HTTP/1.1\r\nHost: api.lab.test\r\nConnection: close\r\napikey: %s\r\nAuthorization: Bearer %s\r\n\r\n' "$key" "$key" >&3; head -1 <&3`)
	if !strings.Contains(status, " 200 ") && !strings.Contains(status, " 401 ") {
		t.Fatalf("the gateway answered %q", status)
	}
	return strings.Contains(status, " 200 ")
}

// settled checks that all services are healthy and nothing is left to do.
func settled(t *testing.T) {
	t.Helper()
	holdfast(t, "status", "-C", stage.dir).want(t, 0)
	holdfast(t, "plan", "-C", stage.dir).want(t, 0, "nothing to change")
}

// Killed when the database has the new passwords and its services don't: nothing
// but the next run is needed.
func TestE5AKilledRotationOfTheDatabasesPasswordIsFinishedByTheNextRun(t *testing.T) {
	before := opened(t)
	retired = append(retired, before.Set.Values()...)
	old := before.Set["POSTGRES_PASSWORD"]

	cmd := command(t.Context(), nil, "secrets", "rotate", "POSTGRES_PASSWORD", "-C", stage.dir, "--yes")
	errs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for lines := bufio.NewScanner(errs); lines.Scan(); {
		text.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), "stop supavisor") {
			break
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	said = append(said, text.String())
	if !strings.Contains(text.String(), "stop supavisor") {
		t.Fatalf("it ended before it changed the database:\n%s", text.String())
	}
	pending := opened(t)
	if pending.Rotation == nil || pending.Set["POSTGRES_PASSWORD"] != old {
		t.Fatal("secrets.age does not say that a rotation is under way")
	}
	if logsIn(t, "supabase-db-1", "authenticator", "postgres", old) {
		t.Error("the database takes the old password: it was killed too early for this test")
	}
	holdfast(t, "plan", "-C", stage.dir).want(t, 2, "put new values of POSTGRES_PASSWORD in force")

	holdfast(t, "secrets", "rotate", "POSTGRES_PASSWORD", "-C", stage.dir, "--yes").want(t, 0, "An earlier rotation is not finished", "done:")
	after := opened(t)
	if after.Rotation != nil || after.Set["POSTGRES_PASSWORD"] != pending.Rotation.New["POSTGRES_PASSWORD"] || !after.Made["POSTGRES_PASSWORD"].After(before.Made["POSTGRES_PASSWORD"]) {
		t.Error("the new password is not the one in force")
	}
	for _, role := range []string{"postgres", "authenticator", "supabase_admin", "supabase_auth_admin", "supabase_storage_admin", "pgbouncer"} {
		if logsIn(t, "supabase-db-1", role, "postgres", old) || !logsIn(t, "supabase-db-1", role, "postgres", after.Set["POSTGRES_PASSWORD"]) {
			t.Errorf("%s does not log in with the new password alone", role)
		}
	}
	api := on(t, "production", `docker exec supabase-db-1 psql -X -U supabase_admin -d postgres -Atc "select rolname from pg_authid where rolname in ('anon', 'authenticated', 'service_role') and rolpassword is not null"`)
	if strings.TrimSpace(api) != "" {
		t.Errorf("roles of the API have passwords: %s", api)
	}
	settled(t)
}

func TestE6ARotationWhoseReleaseDoesNotGetHealthyIsTakenBack(t *testing.T) {
	before := opened(t)
	current := on(t, "production", "readlink /opt/holdfast/current")
	r := holdfast(t, "secrets", "rotate", "JWT_SECRET", "TRIGGER_POSTGRES_PASSWORD", "POSTGRES_PASSWORD", "AUDITOR_PASSWORD", "-C", stage.dir, "--yes", "--health-timeout", "7s")
	r.want(t, 1, "the rotation was taken back", "runs again")
	after := opened(t)
	if after.Rotation != nil || strings.Join(after.Set.Values(), " ") != strings.Join(before.Set.Values(), " ") {
		t.Error("secrets.age is not as it was")
	}
	if now := on(t, "production", "readlink /opt/holdfast/current"); now != current {
		t.Errorf("current moved from %s to %s", current, now)
	}
	if !admits(t, before.Set["ANON_KEY"]) {
		t.Error("the gateway refuses the anon key that is in force")
	}
	for container, login := range map[string][3]string{
		"supabase-db-1":      {"authenticator", "postgres", before.Set["POSTGRES_PASSWORD"]},
		"trigger-postgres-1": {"postgres", "main", before.Set["TRIGGER_POSTGRES_PASSWORD"]},
	} {
		if !logsIn(t, container, login[0], login[1], login[2]) {
			t.Errorf("%s refuses the password that is in force", container)
		}
	}
	settled(t)
}

func TestE7RotatingEverythingLeavesNothingOldInForce(t *testing.T) {
	before := opened(t)
	holdfast(t, "secrets", "rotate", "--all", "-C", stage.dir, "--dry-run").want(t, 0, "JWT_SECRET: every user's session", "trigger/postgres: change the passwords")
	holdfast(t, "secrets", "rotate", "--all", "-C", stage.dir).want(t, 3, "nobody is there to confirm")
	holdfast(t, "secrets", "rotate", "--all", "-C", stage.dir, "--yes").want(t, 0, "done:")
	after := opened(t)
	retired = append(retired, before.Set.Values()...)
	for _, name := range before.Rotatable() {
		if after.Set[name] == before.Set[name] {
			t.Errorf("%s is as before", name)
		}
	}
	if kept := "TRIGGER_ENCRYPTION_KEY"; after.Set[kept] != before.Set[kept] {
		t.Errorf("%s was rotated, and what it encrypted is lost", kept)
	}
	if admits(t, before.Set["ANON_KEY"]) || !admits(t, after.Set["ANON_KEY"]) {
		t.Error("the gateway does not take the new anon key alone")
	}
	for container, login := range map[string][3]string{
		"supabase-db-1":      {"authenticator", "postgres", "POSTGRES_PASSWORD"},
		"trigger-postgres-1": {"postgres", "main", "TRIGGER_POSTGRES_PASSWORD"},
	} {
		if logsIn(t, container, login[0], login[1], before.Set[login[2]]) || !logsIn(t, container, login[0], login[1], after.Set[login[2]]) {
			t.Errorf("%s does not take the new password alone", container)
		}
	}
	if !logsIn(t, "supabase-db-1", "holdfast_auditor", "postgres", after.Set["AUDITOR_PASSWORD"]) {
		t.Error("the auditor does not log in with the new password")
	}
	// No file of the server holds an old value, releases from before included.
	old := strings.Join(changed(before.Set, after.Set), "\n") + "\n"
	if found := onWith(t, "production", old, "umask 077; cat > /dev/shm/old; grep -rlF -f /dev/shm/old /opt/holdfast || true; rm -f /dev/shm/old"); strings.TrimSpace(found) != "" {
		t.Errorf("old values stand in %s", found)
	}
	settled(t)
}

// changed returns the values of before that after no longer has.
func changed(before, after secrets.Set) []string {
	var values []string
	for _, name := range before.Names() {
		if before[name] != after[name] {
			values = append(values, before[name])
		}
	}
	return values
}
