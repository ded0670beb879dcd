package provision

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"holdfast/internal/shell"
)

// JournalPath is the journal on a server: one JSON object a line, of which each
// carries the SHA-256 of the line before it. Only root can read it.
const JournalPath = "/var/log/holdfast/journal.jsonl"

// A Record is what the journal keeps of a run, or of one step of it. The server
// adds the time and the hash. It must hold no secret.
type Record struct {
	Who     string   `json:"who,omitempty"`     // and from where
	Release string   `json:"release,omitempty"` // that the run brought up
	Changes []string `json:"changes"`           // their IDs
	Result  string   `json:"result,omitempty"`  // "done", or what went wrong
}

// JournalScript returns the script that appends a record to the journal. It
// needs root, and the server's lock, so that two records never follow one.
func JournalScript(r Record) string {
	return serverScript("apply/journal.sh") + "journal " + shell.Quote(string(encode(r))) + "\n"
}

func encode(r Record) []byte {
	line, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings and lists of them can be marshalled
	}
	return line
}

// An Entry is a record as the journal has it.
type Entry struct {
	At time.Time `json:"at"`
	Record
}

// Entries reads the end of a journal, the oldest first. Lines that are none are
// left out: that a journal is whole is VerifyJournal's to say.
func Entries(journal []byte) []Entry {
	var entries []Entry
	for line := range bytes.Lines(journal) {
		var e Entry
		if json.Unmarshal(line, &e) == nil {
			entries = append(entries, e)
		}
	}
	return entries
}

// A JournalError is a journal whose chain is broken.
type JournalError struct {
	Record int // from 1
	Reason string
}

func (e *JournalError) Error() string {
	return fmt.Sprintf("record %d of the journal %s", e.Record, e.Reason)
}

// VerifyJournal checks the chain of a journal. It finds what was changed, added,
// or taken out before the last record; that records at the end are missing only
// shows beside a copy. The error is a *[JournalError].
func VerifyJournal(journal []byte) error { return verifyJournal(journal, 0) }

// verifyJournal checks the end of a journal, before which there are skipped
// records; the first that is there is then taken as it is.
func verifyJournal(journal []byte, skipped int) error {
	previous := []byte{}
	n := skipped
	for line := range bytes.Lines(journal) {
		n++
		var record struct {
			Prev string `json:"prev"`
			At   string `json:"at"`
		}
		if err := json.Unmarshal(line, &record); err != nil || record.Prev == "" || record.At == "" {
			return &JournalError{Record: n, Reason: "is not one: it was cut off or written by something else"}
		}
		sum := sha256.Sum256(previous)
		if first := n == skipped+1 && skipped > 0; !first && record.Prev != hex.EncodeToString(sum[:]) {
			return &JournalError{Record: n, Reason: fmt.Sprintf("does not follow the one before it: record %d was changed, or one between them taken out or put in", max(1, n-1))}
		}
		previous = line
	}
	return nil
}

// journalTail is how many records of the journal a plan looks at: about twenty
// deploys. The rest is checked where the whole of it is read.
const journalTail = 256

// parseJournal reads the number of records and then the last of them.
func (f *Facts) parseJournal(text string) error {
	first, records, _ := strings.Cut(text, "\n")
	if first == "" {
		return nil // no run has been here
	}
	total, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil {
		return fmt.Errorf("unreadable answer %q", first)
	}
	shown := strings.Count(records, "\n")
	if err := verifyJournal([]byte(records), max(0, total-shown)); err != nil {
		f.JournalFault = err.Error()
	}
	return nil
}
