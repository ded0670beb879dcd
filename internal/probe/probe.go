// Package probe joins many read-only shell snippets into one script whose
// answer can be taken apart again. It is how a server is observed in a single
// round trip: every package that wants to know something contributes probes,
// the command layer runs them as one batch and hands each its outputs.
//
// The package knows nothing of what is probed; it carries text.
package probe

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
)

// MaxScript is the longest script, in bytes, that fits into one exec request as
// a single argument: Linux limits one argument to 128 KiB (MAX_ARG_STRLEN, see
// execve(2)); a KiB is left for the words around it.
const MaxScript = 127 << 10

// A Probe is one POSIX sh snippet that must not change the server. It runs in
// a subshell of its own, so variables and a failing exit do not leak.
type Probe struct {
	Name   string // unique in a batch; letters, digits, '.', '-', '_', '/'
	Script string
}

// An Output is what one probe printed and how it ended.
type Output struct {
	Stdout string
	Stderr string
	Exit   int
}

// Outputs maps a probe's name to its output.
type Outputs map[string]Output

// Nonce returns a fresh random boundary. A boundary that the observed server
// can't know keeps a file's content from posing as another probe's answer.
func Nonce() string {
	return rand.Text()
}

// Script joins probes into one script framed with nonce.
func Script(nonce string, probes []Probe) string {
	var b strings.Builder
	// PATH: a deploy user's non-login shell often lacks the sbin folders.
	// LC_ALL: messages and number formats must not depend on the server. Nor must
	// what options mean.
	b.WriteString("export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nunset POSIXLY_CORRECT TAR_OPTIONS GZIP\n")
	b.WriteString("f(){ printf '\\n%s %s\\n' \"$n\" \"$1\"; printf '\\n%s %s\\n' \"$n\" \"$1\" >&2; }\n")
	fmt.Fprintf(&b, "n=%s\n", nonce)
	for _, p := range probes {
		fmt.Fprintf(&b, "f 'begin %s'\n(\n%s\n) </dev/null; f \"end %s $?\"\n", p.Name, strings.TrimRight(p.Script, "\n"), p.Name)
	}
	b.WriteString("f done\n")
	return b.String()
}

// Parse takes apart what a script made by Script with the same nonce printed.
// It fails when the batch did not run to its end, so that a cut connection or
// a killed shell is never mistaken for an empty answer.
func Parse(nonce string, stdout, stderr []byte) (Outputs, error) {
	outputs := Outputs{}
	err := split(nonce, stdout, func(name string, exit int, body string) {
		outputs[name] = Output{Stdout: body, Exit: exit}
	})
	if err != nil {
		return nil, fmt.Errorf("read the answer of the observing batch: %w", err)
	}
	// Stderr explains failures; if its frames are torn the answer still stands.
	_ = split(nonce, stderr, func(name string, _ int, body string) {
		if o, ok := outputs[name]; ok {
			o.Stderr = body
			outputs[name] = o
		}
	})
	return outputs, nil
}

func split(nonce string, data []byte, emit func(name string, exit int, body string)) error {
	marker := []byte("\n" + nonce + " ")
	var name string
	for {
		at := bytes.Index(data, marker)
		if at < 0 {
			if name != "" {
				return fmt.Errorf("it ended inside probe %q", name)
			}
			return fmt.Errorf("it has no end mark")
		}
		body := data[:at]
		line, rest, _ := bytes.Cut(data[at+len(marker):], []byte("\n"))
		data = rest
		switch word := strings.Fields(string(line)); {
		case len(word) == 1 && word[0] == "done":
			return nil
		case len(word) == 2 && word[0] == "begin" && name == "":
			name = word[1]
		case len(word) == 3 && word[0] == "end" && word[1] == name:
			exit, err := strconv.Atoi(word[2])
			if err != nil {
				return fmt.Errorf("probe %q ended with status %q", name, word[2])
			}
			emit(name, exit, string(body))
			name = ""
		default:
			return fmt.Errorf("unexpected mark %q", line)
		}
	}
}
