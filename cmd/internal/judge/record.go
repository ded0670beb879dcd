package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"holdfast/internal/lab"
)

// A Verdict is everything that was measured, by column: "plain", "devsec",
// "production" and "audit". A column that a run does not measure keeps what an
// earlier run found.
type Verdict struct {
	Columns map[string]*Column `json:"columns"`
}

// A Column is what is known of one server. What was not measured is zero.
type Column struct {
	Date        string       `json:"date"` // of the measurement, UTC; or where else figures are from
	Lynis       *Lynis       `json:"lynis,omitempty"`
	SSHAudit    *SSHAudit    `json:"ssh_audit,omitempty"`
	DockerBench *DockerBench `json:"docker_bench,omitempty"`

	// Wall times, in nanoseconds, of whole processes.
	First            time.Duration `json:"first,omitempty"`     // on a bare server
	Updates          time.Duration `json:"updates,omitempty"`   // security updates that go on after it
	NoOp             time.Duration `json:"noop,omitempty"`      // nothing to change
	Pipelined        time.Duration `json:"pipelined,omitempty"` // the same, of Ansible with pipelining
	Distant          time.Duration `json:"distant,omitempty"`   // nothing to change, 50 ms away
	DistantPipelined time.Duration `json:"distant_pipelined,omitempty"`
	RoundTrips       int           `json:"round_trips,omitempty"` // of a run that changes nothing
}

func readRecord(file string) (*Verdict, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var v Verdict
	if err := json.Unmarshal(data, &v); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	for _, name := range columnNames {
		if v.Columns[name] == nil {
			return nil, fmt.Errorf("read %s: it has no column %q", file, name)
		}
	}
	return &v, nil
}

// columnNames are the columns from left to right.
var columnNames = []string{plain, devsec, lab.Production, lab.Audit}

// write keeps the figures, and writes them into the document.
func (v *Verdict) write(record, document string) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	text, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	written, err := v.fill(string(text))
	if err != nil {
		return fmt.Errorf("write %s: %w", document, err)
	}
	if err := os.WriteFile(record, append(data, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(document, []byte(written), 0o644)
}

// median is the middle one of n times, n being odd.
func median(n int, once func() (time.Duration, error)) (time.Duration, error) {
	var times []time.Duration
	for range n {
		took, err := once()
		if err != nil {
			return 0, err
		}
		times = append(times, took)
	}
	return middle(times), nil
}
