package provision

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"holdfast/internal/probe"
	"holdfast/provision/transport"
)

const (
	// guardSeconds is how long the server waits for a new login before it takes
	// guarded changes back.
	guardSeconds = 60
	// reconnectPatience is how long a new login is tried; well before the guard.
	reconnectPatience = 30 * time.Second
	// maxRefused is after how many refused logins it is clear that the new
	// settings let nobody in; fewer than any ban allows.
	maxRefused = 3
	// slow is how long a step may take before it is announced.
	slow = time.Second
)

// A Host is a server as Apply needs it.
type Host interface {
	// Run runs a POSIX sh script as root.
	Run(ctx context.Context, script string, stdin io.Reader, stdout, stderr io.Writer) error
	// Reconnect opens a new connection as the deploy user and proves that root
	// can be had over it. Run uses it from then on; when it fails, Run goes on
	// using the old one.
	Reconnect(ctx context.Context) error
}

// An Event tells how far a run is.
type Event struct {
	Step  string
	State EventState
	Note  string        // of Noted: what there is to know, as in who holds a lock
	Took  time.Duration // of Done
}

// An EventState says what has happened to a step.
type EventState int

const (
	Slow   EventState = iota // it has been running for a second
	Noted                    // it has something to say
	Done                     // it is done
	Failed                   // it has failed; Apply's error says why
)

// String is the event as one line for people.
func (e Event) String() string {
	switch e.State {
	case Slow:
		return e.Step + " …"
	case Noted:
		return e.Note
	case Failed:
		return e.Step + ": failed"
	}
	return fmt.Sprintf("%s (%.1f s)", e.Step, e.Took.Seconds())
}

// A StepError is a step that failed. What came before it is done, and the next
// run goes on from there.
type StepError struct {
	Step    string
	Command string // the one that failed, without any secret
	Code    int    // its exit status
	Output  string // the end of what the step printed
	// Reverted: the step was one of a guarded group, which was taken back.
	Reverted bool
}

func (e *StepError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: ", e.Step)
	if e.Command != "" {
		fmt.Fprintf(&b, "%q ", e.Command)
	}
	fmt.Fprintf(&b, "exited %d", e.Code)
	if e.Output != "" {
		b.WriteString(": " + e.Output)
	}
	if e.Reverted {
		b.WriteString(" (the old settings are still in force)")
	}
	return b.String()
}

// Apply carries a plan out on the server that it was made for, whose lock the
// caller holds. First come all changes that can't lock anyone out, in one
// script; then the others, in one script and guarded by a timer on the server,
// which only a new login through host.Reconnect disarms. What goes on in the
// background is started last.
//
// The error is a *[StepError] when a step failed, a *[LockOutError] when the new
// settings let nobody in, or that of host. events is called from one goroutine
// at a time.
func Apply(ctx context.Context, host Host, plan Plan, events func(Event)) error {
	var open, guarded []Change
	takeover := false
	changes, later := postpone(plan.Changes)
	for _, c := range changes {
		if c.how.guarded {
			guarded = append(guarded, c)
			takeover = takeover || c.ID == unfinishedID
		} else {
			open = append(open, c)
		}
	}
	leaveTo(guarded, open)
	list, actions := steps(open)
	if len(guarded) > 0 && len(open) > 0 {
		// Not to be found out halfway.
		list = append([]step{{title: "see that the server can guard itself", ids: []string{"guard"}, body: "can_arm\n"}}, list...)
	}
	if err := (stage{steps: list, actions: actions, staleLists: plan.staleLists}).run(ctx, host, events); err != nil {
		return err
	}
	if len(guarded) == 0 {
		return stage{steps: later}.run(ctx, host, events)
	}
	list, actions = steps(guarded)
	list = append([]step{armStep(takeover)}, list...)
	if err := (stage{steps: list, actions: actions, guarded: true}).run(ctx, host, events); err != nil {
		return err
	}
	if err := confirm(ctx, host, events); err != nil {
		return err
	}
	disarm := step{title: "disarm the guard: the new settings let us in", ids: []string{"guard"}, body: "disarm\n"}
	return stage{steps: append([]step{disarm}, later...)}.run(ctx, host, events)
}

// leaveTo takes from what a former run has left to do that which guarded changes
// are followed by in any case: before them, a unit may still lack its file, and
// sshd would read settings that nothing takes back.
func leaveTo(guarded, open []Change) {
	for i, c := range open {
		if c.ID != unfinishedID {
			continue
		}
		open[i].how.actions = slices.DeleteFunc(slices.Clone(c.how.actions), func(action string) bool {
			return slices.ContainsFunc(guarded, func(g Change) bool { return slices.Contains(g.how.actions, action) })
		})
	}
}

// A LockOutError is a set of changes after which nobody could log in anew.
type LockOutError struct {
	Err error // of the last try
	// Reverted: the old settings are in force again; else the server puts them
	// back by itself within a minute.
	Reverted bool
}

func (e *LockOutError) Error() string {
	end := fmt.Sprintf("the server puts the old settings back within %d s", guardSeconds)
	if e.Reverted {
		end = "the old settings are in force again"
	}
	return fmt.Sprintf("the new settings of sshd, firewall and accounts let no new login in: %v (%s)", e.Err, end)
}

func (e *LockOutError) Unwrap() error { return e.Err }

// confirm logs in anew, or has the guarded changes taken back.
func confirm(ctx context.Context, host Host, events func(Event)) error {
	const title = "log in anew under the new settings"
	began := time.Now()
	trying, cancel := context.WithTimeout(ctx, reconnectPatience)
	defer cancel()
	var err error
	// sshd may still be reading its new settings. One that has read them refuses
	// each try alike, and bans who tries too often.
	for refused := 0; ; {
		if err = host.Reconnect(trying); err == nil {
			events(Event{Step: title, State: Done, Took: time.Since(began)})
			return nil
		}
		if errors.Is(err, transport.ErrAuth) || errors.Is(err, transport.ErrSudo) {
			refused++
		}
		if refused == maxRefused {
			break
		}
		select {
		case <-time.After(2 * time.Second):
			continue
		case <-trying.Done():
		}
		break
	}
	events(Event{Step: title, State: Failed})
	// Not waiting for the guard: the connection that is open still works, as long
	// as it was not the network that failed.
	hurry, stop := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer stop()
	revert := "/bin/sh /var/lib/holdfast/guard/revert && systemctl stop holdfast-guard.timer"
	return &LockOutError{Err: err, Reverted: host.Run(hurry, revert, nil, io.Discard, io.Discard) == nil}
}

// run runs a stage's script and reports its steps.
func (s stage) run(ctx context.Context, host Host, events func(Event)) error {
	if len(s.steps) == 0 {
		return nil
	}
	nonce := probe.Nonce()
	p := &progress{stage: s, nonce: nonce, events: events}
	var stderr bytes.Buffer
	err := host.Run(ctx, bootstrap, strings.NewReader(s.script(nonce)), p, &stderr)
	p.stop()
	switch {
	case p.failure != nil:
		return p.failure
	case err == nil && p.complete:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("stopped after %d of %d steps, the next run goes on from there: %w", p.done, len(s.steps), context.Cause(ctx))
	case err == nil:
		err = errors.New("the script ended without a word")
	}
	if said := strings.TrimSpace(stderr.String()); said != "" && !strings.Contains(err.Error(), said) {
		err = fmt.Errorf("%w: %s", err, said)
	}
	return fmt.Errorf("%s: %w", s.steps[min(p.done, len(s.steps)-1)].title, err)
}

// progress reads the frames that a script prints.
type progress struct {
	stage  stage
	nonce  string
	events func(Event)

	mu       sync.Mutex
	rest     []byte // of a line that is not complete
	timer    *time.Timer
	began    time.Time
	done     int // steps
	complete bool
	output   []string
	command  string
	failure  *StepError
}

// Write never fails: a script whose output nobody takes would block.
func (p *progress) Write(data []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rest = append(p.rest, data...)
	for {
		line, rest, found := bytes.Cut(p.rest, []byte("\n"))
		if !found {
			return len(data), nil
		}
		p.rest = rest
		if frame, ours := strings.CutPrefix(string(line), p.nonce+" "); ours {
			p.frame(frame)
		}
	}
}

func (p *progress) frame(text string) {
	word, rest, _ := strings.Cut(text, " ")
	number, code, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n >= len(p.stage.steps) {
		n = min(p.done, len(p.stage.steps)-1)
	}
	title := p.stage.steps[n].title
	switch word {
	case "start":
		p.began = time.Now()
		p.timer = time.AfterFunc(slow, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.done == n && p.failure == nil && p.timer != nil {
				p.events(Event{Step: title, State: Slow})
			}
		})
	case "ok":
		if p.timer != nil {
			p.timer.Stop()
		}
		p.done = n + 1
		p.events(Event{Step: title, State: Done, Took: time.Since(p.began)})
	case "note":
		p.events(Event{Step: title, State: Noted, Note: rest})
	case "out":
		p.output = append(p.output, strings.TrimSpace(rest))
	case "command":
		p.command = rest
	case "fail":
		status, err := strconv.Atoi(code)
		if err != nil {
			status = -1
		}
		p.failure = &StepError{Step: title, Command: p.command, Code: status, Reverted: p.stage.guarded,
			Output: strings.Join(p.output[max(0, len(p.output)-6):], " / ")}
		p.events(Event{Step: title, State: Failed})
	case "done":
		p.complete = true
	}
}

// stop keeps a late timer from reporting.
func (p *progress) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
}
