//go:build lab

package main

import (
	"bufio"
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
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

// holdfastUntil runs the binary and calls f, beside it, when it says text.
func holdfastUntil(t *testing.T, text string, f func(*exec.Cmd), args ...string) result {
	t.Helper()
	cmd := command(t.Context(), nil, args...)
	var out, errs bytes.Buffer
	cmd.Stdout = &out
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var beside sync.WaitGroup
	heard := false
	for lines := bufio.NewScanner(pipe); lines.Scan(); {
		errs.WriteString(lines.Text() + "\n")
		if !heard && strings.Contains(lines.Text(), text) {
			heard = true
			beside.Go(func() { f(cmd) })
		}
	}
	_ = cmd.Wait()
	beside.Wait()
	said = append(said, out.String(), errs.String())
	if !heard {
		t.Fatalf("it did not say %q\nstdout:\n%s\nstderr:\n%s", text, clip(out.String()), clip(errs.String()))
	}
	return result{out: out.String(), err: errs.String(), code: cmd.ProcessState.ExitCode()}
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
printf 'GET /rest/v1/no_such_table?select=id HTTP/1.1\r\nHost: api.lab.test\r\nConnection: close\r\napikey: %s\r\nAuthorization: Bearer %s\r\n\r\n' "$key" "$key" >&3; head -1 <&3`)
	// 404: the API let it in and has no such table.
	for _, code := range []string{" 200 ", " 404 ", " 401 "} {
		if strings.Contains(status, code) {
			return code != " 401 "
		}
	}
	t.Fatalf("the gateway answered %q", status)
	return false
}

// settled checks that all services are healthy and nothing is left to do.
func settled(t *testing.T) {
	t.Helper()
	holdfast(t, "status", "-C", stage.dir).want(t, 0)
	holdfast(t, "plan", "-C", stage.dir).want(t, 0, "nothing to change")
}

func TestE5ARotationWhoseReleaseDoesNotGetHealthyIsTakenBack(t *testing.T) {
	before := opened(t)
	current := on(t, "production", "readlink /opt/holdfast/current")
	// Storage goes on with the connection it has, and gets no new one.
	const psql = "docker exec supabase-db-1 psql -X -q -U supabase_admin -d postgres -c "
	on(t, "production", psql+"'alter role supabase_storage_admin nologin'")
	r := holdfastUntil(t, "go back to release", func(*exec.Cmd) {
		// The database restarts meanwhile, and takes the old password back.
		on(t, "production", "for i in $(seq 60); do "+psql+"'alter role supabase_storage_admin login' 2>/dev/null && exit; sleep 1; done; exit 1")
	}, "secrets", "rotate", "JWT_SECRET", "POSTGRES_PASSWORD", "TRIGGER_POSTGRES_PASSWORD", "AUDITOR_PASSWORD", "-C", stage.dir, "--yes", "--health-timeout", "8s")
	r.want(t, 1, "service storage is not healthy", "the rotation was taken back", "runs again")
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

// Killed when the database has the new passwords and its services don't: nothing
// but the next run is needed, and then nothing old is in force anywhere.
func TestE6AKilledRotationOfEverythingIsFinishedByTheNextRun(t *testing.T) {
	before := opened(t)
	holdfast(t, "secrets", "rotate", "--all", "-C", stage.dir).want(t, 3, "nobody is there to confirm")
	holdfastUntil(t, "stop supavisor", func(cmd *exec.Cmd) { _ = cmd.Process.Kill() }, "secrets", "rotate", "--all", "-C", stage.dir, "--yes")
	pending := opened(t)
	if pending.Rotation == nil || pending.Set["POSTGRES_PASSWORD"] != before.Set["POSTGRES_PASSWORD"] {
		t.Fatal("secrets.age does not say that a rotation is under way")
	}
	if logsIn(t, "supabase-db-1", "authenticator", "postgres", before.Set["POSTGRES_PASSWORD"]) {
		t.Error("the database takes the old password: it was killed too early for this test")
	}
	holdfast(t, "plan", "-C", stage.dir).want(t, 2, "put new values of ")
	holdfast(t, "deploy", "-C", stage.dir, "--yes", "--no-verify").want(t, 0, "done:")

	after := opened(t)
	retired = append(retired, before.Set.Values()...)
	if after.Rotation != nil {
		t.Error("the rotation is not finished")
	}
	for _, name := range before.Rotatable() {
		if after.Set[name] == before.Set[name] || after.Set[name] != pending.Rotation.New[name] || !after.Made[name].After(before.Made[name]) {
			t.Errorf("the value of %s is not the one of the rotation", name)
		}
	}
	if kept := "TRIGGER_ENCRYPTION_KEY"; after.Set[kept] != before.Set[kept] {
		t.Errorf("%s was rotated, and what it encrypted is lost", kept)
	}
	if admits(t, before.Set["ANON_KEY"]) || !admits(t, after.Set["ANON_KEY"]) {
		t.Error("the gateway does not take the new anon key alone")
	}
	for _, login := range []struct{ container, role, database, secret string }{
		{"supabase-db-1", "postgres", "postgres", "POSTGRES_PASSWORD"},
		{"supabase-db-1", "authenticator", "postgres", "POSTGRES_PASSWORD"},
		{"supabase-db-1", "supabase_admin", "postgres", "POSTGRES_PASSWORD"},
		{"supabase-db-1", "supabase_auth_admin", "postgres", "POSTGRES_PASSWORD"},
		{"supabase-db-1", "supabase_storage_admin", "postgres", "POSTGRES_PASSWORD"},
		{"supabase-db-1", "pgbouncer", "postgres", "POSTGRES_PASSWORD"},
		{"supabase-db-1", "holdfast_auditor", "postgres", "AUDITOR_PASSWORD"},
		{"trigger-postgres-1", "postgres", "main", "TRIGGER_POSTGRES_PASSWORD"},
	} {
		if logsIn(t, login.container, login.role, login.database, before.Set[login.secret]) || !logsIn(t, login.container, login.role, login.database, after.Set[login.secret]) {
			t.Errorf("%s of %s does not log in with the new password alone", login.role, login.container)
		}
	}
	api := on(t, "production", `docker exec supabase-db-1 psql -X -U supabase_admin -d postgres -Atc "select rolname from pg_authid where rolname in ('anon', 'authenticated', 'service_role') and rolpassword is not null"`)
	if strings.TrimSpace(api) != "" {
		t.Errorf("roles of the API have passwords: %s", api)
	}
	// No file of the server holds an old value, releases from before included.
	old := strings.Join(changed(before.Set, after.Set), "\n") + "\n"
	if found := onWith(t, "production", old, "umask 077; cat > /dev/shm/old; grep -rlF -f /dev/shm/old /opt/holdfast || true; rm -f /dev/shm/old"); strings.TrimSpace(found) != "" {
		t.Errorf("old values stand in %s", found)
	}
	if count := on(t, "production", "find /opt/holdfast/content -name registry.htpasswd | wc -l"); strings.TrimSpace(count) != "1" {
		t.Errorf("%s files with hashes of the registry's passwords are left", strings.TrimSpace(count))
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
