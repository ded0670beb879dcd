package stacks

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast/internal/probe"
	"holdfast/internal/shell"
)

// A Kept is a release whose folder is on a server.
type Kept struct {
	ID       string
	Uploaded time.Time
	Started  time.Time // when it last became the current one; zero when it never was
	Bytes    int64     // of its files; images and what other releases share not counted
	Altered  []string  // files that differ from its manifest
	Contents Contents
	// Migrations are those the database had when another release took this one's
	// place.
	Migrations []string
}

// KeptProbes returns what has to be asked of a server to know its releases. A
// folder that is not named like one is somebody's own.
func KeptProbes() []probe.Probe {
	return []probe.Probe{{Name: "stacks/kept", Script: `cd ` + Root + `/releases 2>/dev/null || exit 0
for r in [0-9a-f]*; do
  case $r in *[!0-9a-f]* | ????????????*?) continue ;; ????????????) ;; *) continue ;; esac
  echo "release $r $(stat -c %Y "$r") $(stat -c %Y ` + startedRoot + `/"$r" 2>/dev/null || echo 0) $(du -sk "$r" | cut -f 1)"
  echo "contents $(tr -d '\n' <"$r/` + contentsFile + `" 2>/dev/null)"
  echo "migrations $(tr '\n' ' ' <` + startedRoot + `/"$r" 2>/dev/null)"
  (
    cd "$r" || exit
    sha256sum --check --quiet ` + manifest + ` 2>/dev/null | sed -n 's/: FAILED.*//p' | sed 's/^/altered /'
    [ -f ` + manifest + ` ] || echo 'altered ` + manifest + `'
  )
done`}}
}

// ParseKept reads the answer to KeptProbes, the release that was current last first,
// then those that never were, the newest first.
func ParseKept(outputs probe.Outputs) ([]Kept, error) {
	var kept []Kept
	for _, line := range lines(outputs["stacks/kept"].Stdout) {
		word, rest, _ := strings.Cut(line, " ")
		fields := strings.Fields(rest)
		switch {
		case word == "release" && len(fields) == 4:
			var n [3]int64
			for i, f := range fields[1:] {
				var err error
				if n[i], err = strconv.ParseInt(f, 10, 64); err != nil {
					return nil, fmt.Errorf("read the list of releases: unexpected line %q", line)
				}
			}
			k := Kept{ID: fields[0], Uploaded: time.Unix(n[0], 0).UTC(), Bytes: n[2] << 10}
			if n[1] > 0 {
				k.Started = time.Unix(n[1], 0).UTC()
			}
			kept = append(kept, k)
		case word == "contents" && len(kept) > 0:
			kept[len(kept)-1].Contents = parseContents(rest)
		case word == "migrations" && len(kept) > 0:
			kept[len(kept)-1].Migrations = fields
		case word == "altered" && len(kept) > 0:
			k := &kept[len(kept)-1]
			k.Altered = append(k.Altered, rest)
		}
	}
	slices.SortStableFunc(kept, func(a, b Kept) int {
		return cmp.Or(b.Started.Compare(a.Started), b.Uploaded.Compare(a.Uploaded))
	})
	return kept, nil
}

// LastGood returns the release that was current before the current one.
func LastGood(kept []Kept, current string) (Kept, bool) {
	i := slices.IndexFunc(kept, func(k Kept) bool { return k.ID != current && !k.Started.IsZero() })
	if i < 0 {
		return Kept{}, false
	}
	return kept[i], true
}

// Superfluous divides releases, in the order of ParseKept, into the keep that stay
// and the rest. The current one and the last good one stay always.
func Superfluous(kept []Kept, current string, keep int) (stay, superfluous []Kept) {
	good, _ := LastGood(kept, current)
	left := keep
	for _, k := range kept {
		if k.ID == current || k.ID == good.ID {
			left--
		}
	}
	for _, k := range kept {
		switch {
		case k.ID == current || k.ID == good.ID:
			stay = append(stay, k)
		case left > 0:
			stay = append(stay, k)
			left--
		default:
			superfluous = append(superfluous, k)
		}
	}
	return stay, superfluous
}

// Prune removes releases from the server, with what only they had containers mount,
// and the images that only they named. An image that a container uses stays: the
// engine refuses to remove it, and nothing insists.
func Prune(ctx context.Context, host Host, stay, superfluous []Kept) error {
	var script strings.Builder
	script.WriteString("cd " + Root + "/releases || exit 1\nrm -rf .*.new .*.gone || exit\n")
	var named, mounted []string
	for _, k := range stay {
		named = append(named, k.Contents.Images()...)
		for _, m := range k.Contents.Mounts {
			mounted = append(mounted, m.Hash)
		}
	}
	for _, k := range superfluous {
		// It loses its name first: half a release is none.
		fmt.Fprintf(&script, "mv %[1]s .%[1]s.gone && rm -rf .%[1]s.gone %[2]s/%[1]s || exit\n", k.ID, startedRoot)
	}
	// A release that says nothing of itself may mount anything.
	if !slices.ContainsFunc(stay, func(k Kept) bool { return len(k.Contents.Projects) == 0 }) {
		fmt.Fprintf(&script, "cd %s 2>/dev/null && for c in *; do case %s in *\" $c \"*) ;; *) rm -rf -- \"$c\" ;; esac; done\n",
			contentRoot, shell.Quote(" "+strings.Join(mounted, " ")+" "))
		var gone []string
		for _, k := range superfluous {
			for _, ref := range k.Contents.Images() {
				if !slices.Contains(named, ref) && !slices.Contains(gone, ref) {
					gone = append(gone, ref)
					fmt.Fprintf(&script, "docker image rm %s >/dev/null 2>&1\n", shell.Quote(ref))
				}
			}
		}
	}
	script.WriteString("exit 0\n")
	return Launch{Host: host}.script(ctx, "remove old releases", script.String())
}
