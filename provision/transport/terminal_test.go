package transport

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

// screen is a terminal's output that can be read while it is written.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) await(t *testing.T, text string) {
	t.Helper()
	for began := time.Now(); time.Since(began) < 10*time.Second; time.Sleep(10 * time.Millisecond) {
		s.mu.Lock()
		shown := s.text.String()
		s.mu.Unlock()
		if strings.Contains(shown, text) {
			return
		}
	}
	t.Fatalf("the terminal does not show %q but %q", text, s.text.String())
}

func TestATerminalIsInteractiveKnowsItsSizeAndHandsTheExitStatusOn(t *testing.T) {
	t.Parallel()
	server := startSSHD(t, []string{"ed25519"})
	c := dial(t, server.target("root"), Options{})
	keys, hand := io.Pipe()
	defer hand.Close()
	shown, resized := &screen{}, make(chan [2]int)
	ended := make(chan error, 1)
	go func() {
		ended <- c.Interact(t.Context(), "sh", Terminal{Kind: "vt100", Width: 71, Height: 23, Resized: resized, In: keys, Out: shown})
	}()
	typed := func(line string) {
		if _, err := io.WriteString(hand, line+"\r"); err != nil {
			t.Fatal(err)
		}
	}
	typed("tty && echo $TERM=$(stty size)")
	shown.await(t, "vt100=23 71")
	resized <- [2]int{100, 40}
	typed("until [ \"$(stty size)\" = '40 100' ]; do sleep 0.1; done; echo it is $((40 * 100))")
	shown.await(t, "it is 4000")
	typed("exit 7")
	var exit *ExitError
	if err := <-ended; !errors.As(err, &exit) || exit.Code != 7 {
		t.Errorf("it ended with %v, want exit status 7", err)
	}
}
