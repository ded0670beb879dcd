package ui

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestNoSecretPasses(t *testing.T) {
	var out, errs bytes.Buffer
	u := New(&out, &errs)
	u.Redact([]string{"s3cr3t-value", "abc"})
	u.Printf("password=%s abc\n", "s3cr3t-value")
	u.Progress("production", "it said s3cr3t-value")
	u.Error(Hint(errors.New("login with s3cr3t-value failed"), "don't type s3cr3t-value"))
	for _, s := range []string{out.String(), errs.String()} {
		if strings.Contains(s, "s3cr3t-value") {
			t.Errorf("a secret was printed: %s", s)
		}
	}
	if got, want := out.String(), "password=[redacted] abc\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAHintSurvivesWrapping(t *testing.T) {
	err := fmt.Errorf("plan: %w", Hint(errors.New("no identity"), "pass --identity"))
	if HintOf(err) != "pass --identity" {
		t.Errorf("hint is %q", HintOf(err))
	}
	if Hint(nil, "x") != nil {
		t.Error("a hint on no error made an error")
	}
}

func TestForeignEscapesAreNotObeyed(t *testing.T) {
	if got := Plain("a\x1b[31mb\x07\nc\u009b"); strings.ContainsAny(got, "\x1b\x07\u009b") || !strings.Contains(got, "\nc") {
		t.Errorf("got %q", got)
	}
}

func TestNoColourWithoutATerminal(t *testing.T) {
	u := New(&bytes.Buffer{}, &bytes.Buffer{})
	if u.Color || u.Style(Red, "x") != "x" || u.Diff("+a\n") != "+a\n" {
		t.Error("colour leaked into a pipe")
	}
}
