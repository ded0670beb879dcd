package shell

import (
	"os/exec"
	"strings"
	"testing"
)

func FuzzQuoteIsReadBackByTheShell(f *testing.F) {
	for _, s := range []string{"", "plain", "it's", "$(id)", "`id`", "a\nb", "*", "~", "a=b", "-n", "\\", "é\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out, err := exec.Command("sh", "-c", "printf %s "+Quote(s)).Output()
		if err != nil {
			t.Fatalf("sh refused %q: %v", Quote(s), err)
		}
		if want := strings.ReplaceAll(s, "\x00", ""); string(out) != want {
			t.Fatalf("Quote(%q) was read back as %q", s, out)
		}
	})
}
