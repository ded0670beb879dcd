package ui

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"
)

// Confirm asks a yes-or-no question on the terminal. Without one the answer is
// no: an unattended run must say yes with a flag.
func (u *UI) Confirm(question string) bool {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return false
	}
	fmt.Fprintf(u.Err, "%s [y/N] ", Plain(question))
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		return false
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes"
}

// AskSecret reads one line from the terminal without showing it. It fails
// without a terminal.
func AskSecret(prompt string) (string, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return "", errors.New("a secret has to be typed, and there is no terminal to ask on")
	}
	defer tty.Close()
	fmt.Fprint(tty, prompt)
	answer, err := term.ReadPassword(int(tty.Fd()))
	fmt.Fprintln(tty)
	if err != nil {
		return "", fmt.Errorf("read from the terminal: %w", err)
	}
	return string(answer), nil
}

// Ask asks for one line on the terminal. It fails without a terminal or an answer.
func (u *UI) Ask(question string) (string, error) {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return "", errors.New("there is no terminal to ask on")
	}
	fmt.Fprintf(u.Err, "%s: ", question)
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if answer = strings.TrimSpace(answer); err != nil || answer == "" {
		return "", errors.New("no answer was given")
	}
	return answer, nil
}
