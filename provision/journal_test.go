package provision

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/internal/probe"
)

// shells are those that scripts must run under: Debian's sh and bash.
var shells = []string{"dash", "bash"}

// relocate makes a script use dir instead of the server's own folders.
func relocate(script, dir string) string {
	return strings.NewReplacer(
		"/var/log/holdfast", dir+"/log", "/var/lib/holdfast", dir+"/lib", "/run/lock/", dir+"/", "/run/holdfast.", dir+"/work.",
	).Replace(script)
}

// writeJournal appends records as a server would.
func writeJournal(t *testing.T, sh string, records ...Record) []byte {
	t.Helper()
	dir := t.TempDir()
	for _, r := range records {
		if out, err := exec.Command(sh, "-c", relocate(JournalScript(r), dir)).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", sh, err, out)
		}
	}
	info, err := os.Stat(dir + "/log")
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the journal's folder: %v, %v", info, err)
	}
	file := filepath.Join(dir, "log", "journal.jsonl")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the journal: %v, %v", info, err)
	}
	journal, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return journal
}

var records = []Record{
	{Who: "ada@laptop", Changes: []string{"file:/etc/issue"}, Result: "done"},
	{Changes: []string{"it's", `a "quoted" $(id)`}, Result: "50 % of it: \\"},
	{Who: "grace", Release: "0123456789ab", Changes: []string{}, Result: "done"},
}

func TestTheJournalIsAChain(t *testing.T) {
	for _, sh := range shells {
		journal := writeJournal(t, sh, records...)
		if n := bytes.Count(journal, []byte("\n")); n != len(records) {
			t.Errorf("%s: %d records became %d lines:\n%s", sh, len(records), n, journal)
		}
		if err := VerifyJournal(journal); err != nil {
			t.Errorf("%s: %v\n%s", sh, err, journal)
		}
	}
	if err := VerifyJournal(nil); err != nil {
		t.Errorf("an empty journal: %v", err)
	}
}

func TestEntriesAreTheRecordsWithTheirTime(t *testing.T) {
	journal := writeJournal(t, "dash", records...)
	entries := Entries(append(bytes.Clone(journal), "torn\n"...))
	if len(entries) != len(records) {
		t.Fatalf("%d entries of %d records", len(entries), len(records))
	}
	for i, e := range entries {
		if e.Who != records[i].Who || e.Release != records[i].Release || e.Result != records[i].Result || time.Since(e.At) > time.Hour {
			t.Errorf("entry %d is %+v", i, e)
		}
	}
}

func TestAChangedJournalIsFoundAndTheRecordNamed(t *testing.T) {
	journal := writeJournal(t, "dash", records...)
	lines := bytes.SplitAfter(journal, []byte("\n"))
	for _, c := range []struct {
		what    string
		journal []byte
		record  int
	}{
		{"a changed record", bytes.Replace(journal, []byte("50 %"), []byte("60 %"), 1), 3},
		{"a missing record", bytes.Join([][]byte{lines[0], lines[2]}, nil), 2},
		{"a missing first record", bytes.Join(lines[1:], nil), 1},
		{"records in another order", bytes.Join([][]byte{lines[1], lines[0], lines[2]}, nil), 1},
		{"a torn record", append(bytes.Clone(journal), `{"prev":"ab`...), 4},
		{"something else", append(bytes.Clone(journal), "hello\n"...), 4},
	} {
		var broken *JournalError
		if err := VerifyJournal(c.journal); !errors.As(err, &broken) || broken.Record != c.record {
			t.Errorf("%s: got %v, want record %d named", c.what, err, c.record)
		}
	}
}

func FuzzVerifyJournalNeverPanics(f *testing.F) {
	f.Add([]byte(`{"prev":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","at":"x"}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) { _ = VerifyJournal(data) })
}

func TestAPlanTellsOfABrokenJournal(t *testing.T) {
	many := make([]Record, 40)
	journal := string(writeJournal(t, "dash", many...))
	note := func(total int, records string) string {
		o := outputs(system)
		o[probeJournal] = probe.Output{Stdout: fmt.Sprintf("%d\n%s", total, records)}
		f, err := ParseFacts("audit", o)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(Diff(nil, f).Notes, " ")
	}
	if got := note(40, journal); got != "" {
		t.Errorf("a whole journal: %q", got)
	}
	lines := strings.SplitAfter(journal, "\n")
	end := strings.Join(lines[10:], "")
	if got := note(40, end); got != "" {
		t.Errorf("the end of a journal: %q", got)
	}
	if got := note(40, strings.Join(lines[10:20], "")+strings.Join(lines[21:], "")); !strings.Contains(got, "record 22 of the journal does not follow") {
		t.Errorf("one taken out: %q", got)
	}
	changed := strings.Replace(end, `"changes":null`, `"changes":["x"]`, 1)
	if got := note(40, changed); changed == end || !strings.Contains(got, "record 12 of the journal does not follow") {
		t.Errorf("one that was changed: %q", got)
	}
	if got := note(0, ""); got != "" {
		t.Errorf("no journal: %q", got)
	}
}
