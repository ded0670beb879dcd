package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// JSON writes the report for programs. The format is versioned by its "schema".
func JSON(w io.Writer, r Report) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	// JSON itself lets some control characters stand; a terminal obeys them.
	var out bytes.Buffer
	for _, c := range string(data) {
		if c != '\n' && harmful(c) {
			fmt.Fprintf(&out, `\u%04x`, c)
		} else {
			out.WriteRune(c)
		}
	}
	out.WriteByte('\n')
	_, err = w.Write(out.Bytes())
	return err
}
