package transport

import (
	"bytes"
	"crypto/rand"
	"io"
	"log/slog"
	"sync"
)

// A gate passes on one output stream of a command, from the moment the script
// says that it has started. What comes before is not the script's: a greeting
// from the login shell's startup files, sudo's prompt or complaint, or whatever
// a forced command prints. The words it looks for are random, and not spelled
// out in the command, so that neither an echo of it nor the script can fake
// them.
type gate struct {
	prompt string // sudo's, "" for none
	mark   string
	out    io.Writer
	open   chan struct{} // closed when the script has started
	asked  chan struct{} // one value a prompt

	mu     sync.Mutex
	before []byte // the end of what was said; prompts cut out
}

func newGate(out io.Writer) *gate {
	return &gate{mark: rand.Text(), out: out, open: make(chan struct{}), asked: make(chan struct{}, 8)}
}

// apart is a random word for echo, in a form that no shell prints by echoing
// the command.
func apart(word string) string {
	half := len(word) / 2
	return word[:half] + `""` + word[half:]
}

// announcement is the shell text by which the script says that it has started;
// redirection is "" or " >&2".
func (g *gate) announcement(redirection string) string {
	return "echo " + apart(g.mark) + redirection + "; "
}

func (g *gate) Write(p []byte) (int, error) {
	if g.passed() {
		return g.out.Write(p)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.before = append(g.before, p...)
	for g.prompt != "" {
		before, after, found := bytes.Cut(g.before, []byte(g.prompt))
		if !found {
			break
		}
		g.before = append(bytes.Clone(before), after...)
		select {
		case g.asked <- struct{}{}:
		default:
		}
	}
	before, rest, found := bytes.Cut(g.before, []byte(g.mark))
	line, after, ended := bytes.Cut(rest, []byte("\n"))
	if !found || !ended || len(bytes.TrimSpace(line)) > 0 { // a terminal's line ends with \r\n
		g.before = g.before[max(0, len(g.before)-stderrTail):]
		return len(p), nil
	}
	if len(bytes.TrimSpace(before)) > 0 {
		slog.Debug("dropped what came before the script", "text", lastLines(string(before), 5))
	}
	g.before = bytes.Clone(before)
	close(g.open)
	if len(after) > 0 {
		if _, err := g.out.Write(after); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// passed reports whether the script has started.
func (g *gate) passed() bool {
	select {
	case <-g.open:
		return true
	default:
		return false
	}
}

// said is the end of what was printed before the script started.
func (g *gate) said() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return string(g.before)
}
