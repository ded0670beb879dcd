package pair

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"holdfast/internal/ui"
)

// A Plan is everything that differs between an environment folder and its two
// servers, in the order in which it would be done.
type Plan struct {
	Environment string       `json:"environment"`
	Release     string       `json:"release"` // the release the folder renders to
	Servers     []ServerPlan `json:"servers"`

	verb string // that carries it out; "" for deploy
}

// A ServerPlan is what would change on one server.
type ServerPlan struct {
	Role    string   `json:"role"`
	Address string   `json:"address"`
	Changes []Change `json:"changes"`
	// Notes are things worth knowing that are no changes: a reverted guard, a
	// pending reboot.
	Notes []string `json:"notes,omitempty"`
}

// A Change is one line of the plan.
type Change struct {
	ID      string `json:"id"`
	Concern string `json:"concern"`
	Summary string `json:"summary"`
	Why     string `json:"why,omitempty"`
	Diff    string `json:"diff,omitempty"` // unified, secrets masked
}

// Empty reports whether there is nothing to do.
func (p *Plan) Empty() bool { return p.Count() == 0 }

// Count returns the number of changes on both servers.
func (p *Plan) Count() int {
	n := 0
	for _, s := range p.Servers {
		n += len(s.Changes)
	}
	return n
}

// of returns the part of one server; nothing for one that the plan leaves alone.
func (p *Plan) of(role string) ServerPlan {
	for _, s := range p.Servers {
		if s.Role == role {
			return s
		}
	}
	return ServerPlan{Role: role}
}

// Summary says in a few words how much changes where.
func (p *Plan) Summary() string {
	var parts []string
	for _, s := range p.Servers {
		parts = append(parts, fmt.Sprintf("%s %d", s.Role, len(s.Changes)))
	}
	return strings.Join(parts, ", ")
}

// Print writes the plan for people, grouped by server and concern.
func (p *Plan) Print(u *ui.UI) {
	var b strings.Builder
	for _, s := range p.Servers {
		fmt.Fprintf(&b, "%s %s\n", u.Style(ui.Bold, s.Role), u.Style(ui.Dim, "("+s.Address+")"))
		for _, note := range s.Notes {
			fmt.Fprintf(&b, "  %s %s\n", u.Style(ui.Yellow, "note:"), ui.Plain(note))
		}
		if len(s.Changes) == 0 {
			b.WriteString("  nothing to change\n\n")
			continue
		}
		for _, concern := range s.concerns() {
			fmt.Fprintf(&b, "  %s\n", u.Style(ui.Cyan, concern))
			why := ""
			for _, c := range s.Changes {
				if c.Concern == concern {
					c.print(&b, u, &why)
				}
			}
		}
		b.WriteString("\n")
	}
	if p.Empty() {
		b.WriteString("nothing to change\n")
	} else {
		fmt.Fprintf(&b, "%d to change; `holdfast %s` does it\n", p.Count(), cmp.Or(p.verb, "deploy"))
	}
	u.Printf("%s", b.String())
}

// concerns returns the concerns of the changes in the order they come up in.
func (s ServerPlan) concerns() []string {
	var names []string
	for _, c := range s.Changes {
		if !slices.Contains(names, c.Concern) {
			names = append(names, c.Concern)
		}
	}
	return names
}

// print writes one change; the reason only where it is not that of the change before.
func (c Change) print(b *strings.Builder, u *ui.UI, why *string) {
	fmt.Fprintf(b, "    %s %s %s\n", u.Style(ui.Green, "+"), ui.Plain(c.Summary), u.Style(ui.Dim, "["+c.ID+"]"))
	if c.Why != "" && c.Why != *why {
		fmt.Fprintf(b, "      %s\n", u.Style(ui.Dim, "why: "+ui.Plain(c.Why)))
		*why = c.Why
	}
	if c.Diff != "" {
		b.WriteString(indent(u.Diff(ui.Plain(c.Diff)), "      "))
	}
}

func indent(text, by string) string {
	var b strings.Builder
	for _, line := range strings.SplitAfter(strings.TrimRight(text, "\n")+"\n", "\n") {
		if line != "" {
			b.WriteString(by + line)
		}
	}
	return b.String()
}
