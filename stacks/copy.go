package stacks

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"holdfast/internal/shell"
)

// CopyRoot is the folder on the production server that holds safety copies.
const CopyRoot = "/var/lib/holdfast/copies"

// keptCopies is how many safety copies stay.
const keptCopies = 3

// A Copy is a safety copy of the databases on the production server itself. It is
// for going back after an upgrade, and no backup: it dies with the server.
type Copy struct {
	Path  string
	Bytes int64
}

// copyScript makes the copy in a hidden folder, which gets its name when everything
// in it was read back. Nothing of it can be read by anyone but root.
const copyScript = `set -eu
umask 077
mkdir -p "$root"
chmod 0700 "$root"
rm -rf "$root"/.*.new
container() {
  docker ps -q --filter "label=com.docker.compose.project=$1" --filter "label=com.docker.compose.service=$2" | grep . ||
    { echo "the database $1/$2 does not run, so it can't be copied" >&2; return 1; }
}
ask() { docker exec "$1" psql -X -U "$2" -d postgres -Atc "$3" </dev/null; }
need=0
size() {
  c=$(container "$1" "$2")
  need=$((need + $(ask "$c" "$3" 'select coalesce(sum(pg_database_size(oid)), 0)::bigint from pg_database where datallowconn')))
}
fits() {
  free=$(df -B1 --output=avail "$root" | tail -n 1)
  [ "$free" -gt $((need + 268435456)) ] || {
    echo "a copy of the databases may need $(((need + 268435456) >> 20)) MiB, and $((free >> 20)) MiB are free in $root" >&2
    exit 1
  }
}
dump() {
  c=$(container "$1" "$2")
  ask "$c" "$3" 'select datname from pg_database where datallowconn and not datistemplate order by 1' >"$new/$1.databases"
  while IFS= read -r database; do
    file="$new/$1-$(printf %s "$database" | tr -c 'A-Za-z0-9_.-' _).dump"
    docker exec "$c" pg_dump -U "$3" -Fc -d "$database" </dev/null >"$file"
    docker exec -i "$c" pg_restore --list <"$file" >"$new/list"
    grep -q '^; *Dumped from database version' "$new/list" || { echo "the copy of $1's database $database can't be read back" >&2; exit 1; }
  done <"$new/$1.databases"
  rm -f "$new/list"
  docker exec "$c" pg_dumpall -U "$3" --globals-only </dev/null >"$new/$1-roles.sql"
  grep -q 'PostgreSQL database cluster dump complete' "$new/$1-roles.sql"
}
volume() {
  from=$(docker volume inspect --format '{{.Mountpoint}}' "$1")
  tar -C "$from" -cf "$new/$1.tar" .
  tar -tf "$new/$1.tar" >/dev/null
}
finish() {
  (cd "$new" && sha256sum -- * >SHA256SUMS && sha256sum --check --quiet SHA256SUMS >&2)
  sync -f "$new"
  mv "$new" "$root/$name"
  ls -1 "$root" | grep '^20[0-9]\{6\}T[0-9]\{6\}Z-' | sort -r | tail -n +$((keep + 1)) | while IFS= read -r old; do rm -rf "${root:?}/$old"; done
  echo "$(du -sb "$root/$name" | cut -f 1) $root/$name"
}
name=$(date -u +%Y%m%dT%H%M%SZ)-$id
new=$root/.$name.new
mkdir "$new"
`

// Copy makes a safety copy of the databases of the named stacks: each database in
// pg_dump's custom format, the roles, and the volume with the key that the vault's
// secrets are encrypted with. It checks for space before, reads everything back,
// writes checksums, and removes all but the last three copies.
func (l Launch) Copy(ctx context.Context, stacks []string) (Copy, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "root=%s id=%s keep=%d\n%s", CopyRoot, shell.Quote(l.Release.ID), keptCopies, copyScript)
	var chosen []database
	for _, d := range databases {
		for _, s := range stacks {
			if d.stack == s {
				chosen = append(chosen, d)
			}
		}
	}
	for _, d := range chosen {
		fmt.Fprintf(&b, "size %s %s %s\n", d.stack, d.service, d.user)
	}
	b.WriteString("fits\n")
	for _, d := range chosen {
		fmt.Fprintf(&b, "dump %s %s %s\n", d.stack, d.service, d.user)
		if d.key != "" {
			fmt.Fprintf(&b, "volume %s\n", d.key)
		}
	}
	b.WriteString("finish\n")
	var stdout, stderr bytes.Buffer
	if err := l.Host.Run(ctx, b.String(), nil, &stdout, &stderr); err != nil {
		return Copy{}, fmt.Errorf("make a safety copy of the databases: %w", explain(err, stderr.String()))
	}
	size, path, _ := strings.Cut(strings.TrimSpace(stdout.String()), " ")
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil {
		return Copy{}, fmt.Errorf("make a safety copy of the databases: unexpected answer %q", stdout.String())
	}
	return Copy{Path: path, Bytes: n}, nil
}

// ServerVersions asks the running databases which version they are of, by stack.
// A database that does not answer is left out.
func (l Launch) ServerVersions(ctx context.Context) map[string]string {
	versions := map[string]string{}
	for _, d := range databases {
		var out bytes.Buffer
		script := `c=$(docker ps -q --filter label=com.docker.compose.project=` + d.stack + ` --filter label=com.docker.compose.service=` + d.service + `)
[ -n "$c" ] && docker exec "$c" psql -X -U ` + d.user + ` -d postgres -Atc 'show server_version'`
		if l.Host.Run(ctx, script, nil, &out, io.Discard) == nil {
			versions[d.stack] = strings.TrimSpace(out.String())
		}
	}
	return versions
}
