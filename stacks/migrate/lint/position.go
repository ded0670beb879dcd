package lint

import (
	"sort"
	"unicode/utf8"
)

// lines turns byte offsets of a text into lines and columns.
type lines struct {
	text   string
	starts []int // offset of each line's first byte
}

func newLines(text string) lines {
	l := lines{text: text, starts: []int{0}}
	for i := range len(text) {
		if text[i] == '\n' {
			l.starts = append(l.starts, i+1)
		}
	}
	return l
}

// position counts as editors do: from 1, columns in characters.
func (l lines) position(offset int) (line, column int) {
	offset = min(max(offset, 0), len(l.text))
	line = sort.SearchInts(l.starts, offset+1)
	return line, utf8.RuneCountInString(l.text[l.starts[line-1]:offset]) + 1
}
