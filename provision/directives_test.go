package provision

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestDirectivesTouchOnlyTheirKeysLines(t *testing.T) {
	d := Directives{Path: "/etc/login.defs", Separator: "\t", Values: []Directive{{"UMASK", "027"}, {"PASS_MAX_DAYS", "365"}}}
	for _, c := range []struct{ name, before, after string }{
		{"replaced where it stands", "A 1\nUMASK\t\t022\nPASS_MAX_DAYS 99999\n# end\n", "A 1\nUMASK\t027\nPASS_MAX_DAYS\t365\n# end\n"},
		{"as declared, other blanks", "UMASK   027\nPASS_MAX_DAYS = 365\n", "UMASK   027\nPASS_MAX_DAYS = 365\n"},
		{"missing, and no newline at the end", "A 1", "A 1\nUMASK\t027\nPASS_MAX_DAYS\t365\n"},
		{"a comment is no line", "#UMASK 022\nPASS_MAX_DAYS\t365\n", "#UMASK 022\nPASS_MAX_DAYS\t365\nUMASK\t027\n"},
		{"twice", "UMASK 022\nB 2\nUMASK 027\nPASS_MAX_DAYS\t365\n", "UMASK\t027\nB 2\nPASS_MAX_DAYS\t365\n"},
		{"a longer key is another", "UMASKED 1\nUMASK 027\nPASS_MAX_DAYS\t365\n", "UMASKED 1\nUMASK 027\nPASS_MAX_DAYS\t365\n"},
		{"a key without a value", "UMASK\nPASS_MAX_DAYS\t365\n", "UMASK\t027\nPASS_MAX_DAYS\t365\n"},
		{"carriage returns", "UMASK 027\r\nPASS_MAX_DAYS\t365\n", "UMASK 027\r\nPASS_MAX_DAYS\t365\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := d.in(c.before); got != c.after {
				t.Errorf("got  %q\nwant %q", got, c.after)
			}
			if got := d.in(c.after); got != c.after {
				t.Errorf("a second time it is %q", got)
			}
			facts := Facts{Files: map[string]FileFacts{d.Path: {Kind: "file", Mode: "0644", Owner: "root", Group: "root", SHA256: "5a", Content: []byte(c.before)}}}
			change, found := d.Change(facts)
			if found != (c.before != c.after) {
				t.Errorf("a change is found: %t", found)
			}
			if found && (!strings.HasPrefix(change.how.script, "unchanged 5a /etc/login.defs\n") || change.ID != "directives:/etc/login.defs" || change.Diff == "") {
				t.Errorf("%+v", change)
			}
		})
	}
	if _, found := d.Change(Facts{Files: map[string]FileFacts{}}); found {
		t.Error("a file that is not there is made")
	}
}

func FuzzDirectivesConverge(f *testing.F) {
	f.Add("A 1\nUMASK 022\n", "UMASK", "027")
	f.Fuzz(func(t *testing.T, text, key, value string) {
		if key == "" || strings.ContainsAny(key, " \t=\r\n#") || strings.ContainsAny(value, "\n") || value == "" || !utf8.ValidString(key) {
			t.Skip()
		}
		d := Directives{Separator: "\t", Values: []Directive{{key, value}}}
		once := d.in(text)
		if twice := d.in(once); twice != once {
			t.Errorf("%q becomes %q and then %q", text, once, twice)
		}
	})
}
