package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// Lynis is what Lynis says of a server.
type Lynis struct {
	Version     string       `json:"version"`
	Index       int          `json:"index"` // 0 to 100
	Suggestions []Suggestion `json:"suggestions"`
	Warnings    []Suggestion `json:"warnings"`
}

// A Suggestion is one thing that Lynis would change.
type Suggestion struct {
	Test    string `json:"test"` // such as "SSH-7408"
	Text    string `json:"text"`
	Details string `json:"details,omitempty"`
}

func (s server) lynis(ctx context.Context) (*Lynis, error) {
	say("%s: Lynis", s.name)
	report, err := s.mustOn(ctx, "run Lynis", "lynis audit system --quick --quiet --no-colors >/dev/null 2>&1; cat /var/log/lynis-report.dat")
	if err != nil {
		return nil, err
	}
	l, err := parseLynis(report)
	if err != nil {
		return nil, fmt.Errorf("read Lynis' report: %w", err)
	}
	say("%s: Lynis' index is %d, with %d suggestions and %d warnings", s.name, l.Index, len(l.Suggestions), len(l.Warnings))
	return l, nil
}

// parseLynis reads a lynis-report.dat: lines of key=value, of which the keys
// "suggestion[]" and "warning[]" repeat, with values "TEST|text|details|solution|".
func parseLynis(report string) (*Lynis, error) {
	l := &Lynis{Index: -1, Suggestions: []Suggestion{}, Warnings: []Suggestion{}}
	for line := range strings.Lines(report) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "lynis_version":
			l.Version = value
		case "hardening_index":
			index, err := strconv.Atoi(value)
			if err != nil {
				return nil, fmt.Errorf("hardening_index: %w", err)
			}
			l.Index = index
		case "suggestion[]":
			l.Suggestions = append(l.Suggestions, parseSuggestion(value))
		case "warning[]":
			l.Warnings = append(l.Warnings, parseSuggestion(value))
		}
	}
	if l.Index < 0 {
		return nil, fmt.Errorf("it has no hardening_index: Lynis did not finish")
	}
	return l, nil
}

func parseSuggestion(value string) Suggestion {
	fields := append(strings.Split(value, "|"), "", "", "")
	s := Suggestion{Test: fields[0], Text: fields[1], Details: fields[2]}
	if s.Details == "-" {
		s.Details = ""
	}
	return s
}
