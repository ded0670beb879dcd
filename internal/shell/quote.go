// Package shell holds the one function through which foreign text may enter a
// POSIX shell script. Everything Holdfast sends to a server that contains a
// name, a path or a value from elsewhere goes through Quote.
package shell

import "strings"

// Quote returns s as one single-quoted POSIX shell word: the shell reads back
// exactly s, whatever it contains except NUL, which no shell word can hold
// (POSIX.1-2024, Shell Command Language, 2.2.2). NUL bytes are dropped.
func Quote(s string) string {
	s = strings.ReplaceAll(s, "\x00", "")
	if s != "" && !strings.ContainsFunc(s, needsQuotes) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// needsQuotes reports whether r may not stand bare in a shell word. "=" and
// "~" are left out of the bare set because they mean something in first place.
func needsQuotes(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
		strings.ContainsRune("_-./:@,+%", r))
}
