// Command holdfast turns two bare Debian or Ubuntu servers into a hardened,
// self-hosted app platform, keeps them there, and proves it.
//
// The package holds one file a verb: flags, output and exit codes. What the
// verbs do lives in cmd/internal/pair and below.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"holdfast/cmd/internal/pair"
	"holdfast/internal/environment"
	"holdfast/internal/ui"
	"holdfast/provision/transport"
)

// Exit codes, the same for every verb.
const (
	exitDone        = 0
	exitFailed      = 1   // the gate or a step failed
	exitChanges     = 2   // a plan has changes
	exitUsage       = 3   // wrong flags or configuration
	exitServer      = 4   // a server could not be reached, or refused
	exitInterrupted = 130 // Ctrl-C
)

// errChanges ends a plan that has something to do. It is a result, not a
// failure, and prints nothing.
var errChanges = errors.New("there are changes")

// errGate ends a run whose report already says what failed the gate.
var errGate = errors.New("the gate failed")

// A commandStatus ends holdfast as a command that it ran for the user ended.
// That command has said what there is to say.
type commandStatus int

func (s commandStatus) Error() string { return fmt.Sprintf("the command exited %d", int(s)) }

// asStatus turns the failure of a command that was run for the user into its status.
func asStatus(err error) error {
	var exit *transport.ExitError
	if errors.As(err, &exit) && exit.Code > 0 {
		return commandStatus(exit.Code)
	}
	return err
}

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		// A second Ctrl-C ends the program the hard way.
		<-ctx.Done()
		stop()
	}()
	u := ui.New(os.Stdout, os.Stderr)
	root := newRoot(u)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	code := exitCode(ctx, err)
	var status commandStatus
	if err != nil && !errors.Is(err, errChanges) && !errors.Is(err, errGate) && !errors.As(err, &status) {
		u.Error(err)
	}
	return code
}

func exitCode(ctx context.Context, err error) int {
	var config environment.Errors
	var status commandStatus
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &status):
		return int(status)
	case errors.Is(err, errChanges):
		return exitChanges
	case errors.Is(err, errGate):
		return exitFailed
	case ctx.Err() != nil:
		return exitInterrupted
	case errors.As(err, &config), errors.Is(err, pair.ErrConfig), errors.Is(err, errUsage):
		return exitUsage
	case errors.Is(err, transport.ErrUnreachable), errors.Is(err, transport.ErrHostKey),
		errors.Is(err, transport.ErrAuth), errors.Is(err, transport.ErrSudo):
		return exitServer
	default:
		return exitFailed
	}
}
