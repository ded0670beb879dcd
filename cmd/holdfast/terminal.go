package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/term"

	"holdfast/provision/transport"
)

// resizeInterval is how often the window's size is looked at: not every system
// tells of a change.
const resizeInterval = 500 * time.Millisecond

// onTerminal hands this terminal, in raw mode, to f, and restores it after.
func onTerminal(f func(transport.Terminal) error) error {
	screen, keys := int(os.Stdout.Fd()), int(os.Stdin.Fd())
	width, height, err := term.GetSize(screen)
	if err != nil {
		return fmt.Errorf("read the terminal's size: %w", err)
	}
	before, err := term.MakeRaw(keys)
	if err != nil {
		return fmt.Errorf("take over the terminal: %w", err)
	}
	defer func() { _ = term.Restore(keys, before) }()

	resized, over := make(chan [2]int), make(chan struct{})
	defer close(over)
	go func() {
		known := [2]int{width, height}
		for {
			select {
			case <-over:
				return
			case <-time.After(resizeInterval):
			}
			w, h, err := term.GetSize(screen)
			if now := [2]int{w, h}; err == nil && now != known {
				select {
				case resized <- now:
					known = now
				case <-over:
					return
				}
			}
		}
	}()
	return f(transport.Terminal{Kind: os.Getenv("TERM"), Width: width, Height: height, Resized: resized, In: os.Stdin, Out: os.Stdout})
}

// interactive reports whether a person sits at both ends.
func interactive() bool {
	return term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd()))
}
