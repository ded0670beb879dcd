// Package ui is how Holdfast speaks to people. Its rules: results go to
// standard output, progress and errors to standard error; an error is one
// sentence in lower case behind "holdfast: ", followed by a "hint: " line when
// there is something to do; colour only on a terminal and never with NO_COLOR
// (https://no-color.org); no secret ever passes, whoever handed it in.
package ui

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// A UI writes to the two streams of a command. Its methods may be called from
// several goroutines; lines never interleave.
type UI struct {
	Out, Err io.Writer
	Color    bool // colour on Out
	Verbose  bool // show each remote command
	Quiet    bool // no progress

	mu       sync.Mutex
	secrets  []string // value, replacement, value, replacement …
	replacer *strings.Replacer
	started  time.Time
}

// New returns a UI on the two streams; colour is decided from out and the environment.
func New(out, err io.Writer) *UI {
	u := &UI{started: time.Now()}
	u.Out, u.Err = redactor{u, out}, redactor{u, err}
	u.Color = IsTerminal(out) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return u
}

// IsTerminal reports whether w is a terminal.
func IsTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Redact replaces each of values by "[redacted]" in everything written from
// now on, besides those named before. Values shorter than 6 bytes are left out: they would garble plain
// words and no generated secret is that short.
func (u *UI) Redact(values []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, v := range values {
		if len(v) >= 6 {
			u.secrets = append(u.secrets, v, "[redacted]")
		}
	}
	u.replacer = strings.NewReplacer(u.secrets...)
}

// redactor is the stream behind a UI. Each Write is redacted as a whole, so
// callers write whole lines or documents, never parts of a value.
type redactor struct {
	ui *UI
	w  io.Writer
}

func (r redactor) Write(p []byte) (int, error) {
	r.ui.mu.Lock()
	defer r.ui.mu.Unlock()
	text := string(p)
	if r.ui.replacer != nil {
		text = r.ui.replacer.Replace(text)
	}
	if _, err := io.WriteString(r.w, text); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Printf writes to the result stream.
func (u *UI) Printf(format string, args ...any) { fmt.Fprintf(u.Out, format, args...) }

// Progress writes one line about long work, with the time since the start and
// the server it concerns ("" for none).
func (u *UI) Progress(server, format string, args ...any) {
	if u.Quiet {
		return
	}
	if server != "" {
		server = fmt.Sprintf("%-11s ", server)
	}
	fmt.Fprintf(u.Err, "%6.1fs  %s%s\n", time.Since(u.started).Seconds(), server, strings.TrimRight(fmt.Sprintf(format, args...), "\n"))
}

// Error writes an error and, when it carries one, the hint.
func (u *UI) Error(err error) {
	fmt.Fprintf(u.Err, "holdfast: %v\n", Plain(err.Error()))
	if hint := HintOf(err); hint != "" {
		fmt.Fprintf(u.Err, "hint: %s\n", Plain(hint))
	}
}

// Style wraps s in one SGR style when colour is on.
func (u *UI) Style(style Style, s string) string {
	if !u.Color || s == "" {
		return s
	}
	return string(style) + s + "\x1b[0m"
}

// A Style is the ANSI sequence that starts it.
type Style string

// The styles in use; colours are the terminal's own sixteen, so that they fit
// light and dark themes.
const (
	Bold   Style = "\x1b[1m"
	Dim    Style = "\x1b[2m"
	Red    Style = "\x1b[31m"
	Green  Style = "\x1b[32m"
	Yellow Style = "\x1b[33m"
	Cyan   Style = "\x1b[36m"
)

// Diff colours a unified diff line by line.
func (u *UI) Diff(diff string) string {
	if !u.Color {
		return diff
	}
	lines := strings.SplitAfter(diff, "\n")
	for i, l := range lines {
		body := strings.TrimSuffix(l, "\n")
		switch {
		case strings.HasPrefix(l, "+"):
			lines[i] = strings.Replace(l, body, u.Style(Green, body), 1)
		case strings.HasPrefix(l, "-"):
			lines[i] = strings.Replace(l, body, u.Style(Red, body), 1)
		case strings.HasPrefix(l, "@@"):
			lines[i] = strings.Replace(l, body, u.Style(Cyan, body), 1)
		}
	}
	return strings.Join(lines, "")
}

// Plain makes foreign text safe for a terminal: control characters other than
// newline and tab are shown as escapes instead of being obeyed.
func Plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || r >= ' ' && r != 0x7f && !(r >= 0x80 && r < 0xa0) {
			return r
		}
		return '\ufffd'
	}, s)
}
