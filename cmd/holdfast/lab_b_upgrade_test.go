//go:build lab

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var copied = regexp.MustCompile(`/var/lib/holdfast/copies/\S+`)

func TestBB0AnUpgradeShowsTheWayCopiesTheDatabasesAndGoesBackWhenItFails(t *testing.T) {
	holdfast(t, "upgrade", "-C", stage.dir, "--yes", "--no-verify").want(t, 0, "nothing to upgrade")
	holdfast(t, "upgrade", "-C", stage.dir, "--to", "supabase-0.8.1-kong", "--dry-run").want(t, 0, "nothing to change")
	holdfast(t, "upgrade", "-C", stage.dir, "--to", "supabase-9").want(t, 3, "supabase-9", "supabase-0.8.1-kong")
	before, rest := current(t), image(t, "rest")

	// A new image of one service: it and what depends on it restart.
	containers := running(t)
	dir := variant(t, replace(rest, derived(t, rest, "LABEL test=newer")))
	holdfast(t, "upgrade", "-C", dir, "--dry-run").want(t, 2, "supabase: supabase-0.8.1-kong, other images", "~ rest: "+rest+" → ", "ship ")
	holdfast(t, "upgrade", "-C", dir).want(t, 3, "nothing was changed", "--yes")
	sql(t, "create table public.counted as select n from generate_series(1, 42) n")
	defer sql(t, "drop table public.counted")
	r := holdfast(t, "upgrade", "-C", dir, "--yes", "--no-verify")
	r.want(t, 0, "a copy of the databases", "recreated supabase-rest-1", "done: release ")
	recreated(t, containers, "supabase-rest-1", "supabase-storage-1")
	copyOfAll := copied.FindString(r.err)
	on(t, "production", `set -e
cd `+copyOfAll+`
sha256sum --check --quiet SHA256SUMS
[ "$(stat -c %a:%U . ../ | sort -u)" = 700:root ]
[ -z "$(find . -type f ! -perm 600)" ]
tar -tf supabase_db-config.tar >/dev/null
grep -q 'CREATE ROLE authenticator' supabase-roles.sql
docker exec -i supabase-db-1 pg_restore --list <supabase-postgres.dump | grep -q 'TABLE DATA public counted'
docker exec -i supabase-db-1 pg_restore --list <trigger-main.dump >/dev/null`)
	// It can be put back.
	got := on(t, "production", `docker exec supabase-db-1 createdb -U supabase_admin copied
docker exec -i supabase-db-1 pg_restore -U supabase_admin -d copied -t counted <`+copyOfAll+`/supabase-postgres.dump
docker exec supabase-db-1 psql -U supabase_admin -d copied -Atc 'select count(*) from public.counted'
docker exec supabase-db-1 dropdb -U supabase_admin copied`)
	if strings.TrimSpace(got) != "42" {
		t.Errorf("the copy has %s rows, the table had 42", got)
	}

	// One that does not get healthy goes back, and says what of.
	broken := variant(t, replace(rest, derived(t, rest, `ENTRYPOINT ["sh", "-c", "echo broken on purpose >&2; sleep 1; exit 1"]`)))
	r = holdfast(t, "upgrade", "-C", broken, "--yes", "--no-verify", "--health-timeout", "15s")
	r.want(t, 1, "service rest is not healthy", "broken on purpose", "runs again; no migration was applied", "the databases as they were before lie in /var/lib/holdfast/copies/")
	holdfast(t, "rollback", before, "-C", stage.dir, "--yes", "--no-verify").want(t, 0, "done: release "+before)
	holdfast(t, "plan", "-C", stage.dir).want(t, 0, "nothing to change")
}

func TestBB1AnUpgradeThatHasNoSpaceForACopyTouchesNothing(t *testing.T) {
	before, rest := current(t), image(t, "rest")
	dir := variant(t, replace(rest, derived(t, rest, "LABEL test=newest")))
	on(t, "production", "mount -t tmpfs -o size=1m tmpfs /var/lib/holdfast/copies")
	r := holdfast(t, "upgrade", "-C", dir, "--yes", "--no-verify")
	on(t, "production", "umount /var/lib/holdfast/copies")
	r.want(t, 1, "a copy of the databases may need", "MiB are free", "nothing that runs was touched")
	if current(t) != before {
		t.Errorf("%s runs", current(t))
	}
	if text, err := os.ReadFile(filepath.Join(dir, "holdfast.yml")); err != nil || !strings.Contains(string(text), "supabase-0.8.1-kong") {
		t.Errorf("the folder: %v", err)
	}
	holdfast(t, "plan", "-C", stage.dir).want(t, 0, "nothing to change")
}
