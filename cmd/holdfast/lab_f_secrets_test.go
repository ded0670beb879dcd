//go:build lab

package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Everything all tests before this one made the binary print, and everything
// it left anywhere, is searched for every secret of the environment, those that
// were rotated included.
func TestF1NoSecretIsPrintedOrLeftWhereItDoesNotBelong(t *testing.T) {
	values := append(opened(t).Set.Values(), retired...)
	if len(values) < 15 {
		t.Fatalf("only %d secrets to look for", len(values))
	}
	find := func(where, text string) {
		for _, v := range values {
			if strings.Contains(text, v) {
				t.Errorf("a secret stands in %s", where)
			}
		}
	}
	for i, text := range said {
		find("what the binary printed, part "+string(rune('0'+i%10)), text)
	}
	err := filepath.WalkDir(stage.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		find(path, string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{"production", "audit"} {
		// Searched on the server; the values come on stdin, so that no command
		// line holds them but a guilty one.
		script := `umask 077; cat > /dev/shm/patterns
echo "== processes"; for f in /proc/[0-9]*/cmdline; do { tr '\0' ' ' < "$f" | grep -Fq -f /dev/shm/patterns && echo "$f: $(tr '\0' ' ' < "$f" | cut -c1-60)"; } 2>/dev/null; done
echo "== journal"; journalctl --no-pager -q 2>/dev/null | grep -F -f /dev/shm/patterns | cut -c1-80
echo "== files"; grep -rIlF -f /dev/shm/patterns /etc /var/log /home /root /opt /tmp /var/tmp /var/lib/holdfast 2>/dev/null | grep -v -e '/secrets/[^/]*\.env$' -e '^/tmp/runc-process' # runc's own, root's alone, for the moment of an exec
echo "== modes"; [ ! -d /opt/holdfast ] || find /opt/holdfast/releases -path '*/secrets/*' \( ! -user root -o -perm /077 \) -print
echo "== logs"; for c in $(docker ps -aq 2>/dev/null); do docker logs "$c" 2>&1 | grep -qF -f /dev/shm/patterns && docker inspect -f '{{.Name}}' "$c"; done
rm -f /dev/shm/patterns; true`
		for _, line := range strings.Split(strings.TrimSpace(onWith(t, role, strings.Join(values, "\n")+"\n", script)), "\n") {
			if !strings.HasPrefix(line, "== ") {
				t.Errorf("%s: a secret stands where it does not belong: %s", role, line)
			}
		}
	}
}
