package provision

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/aymanbagabas/go-udiff"
)

// A Ruleset is one nftables table, in a file and live.
type Ruleset struct {
	About
	Table string // family and name, as in "inet holdfast"
	Path  string // of the file that replaces the table in one transaction
	// Rules are the file's text. It may use $ssh, the set of sshd's ports.
	Rules string
	// Ports are those that sshd is declared to listen on. Empty: those it does, as
	// observed: a rule for a port that sshd is not on would lock everyone out.
	Ports []int
	Unit  string // the unit that loads the file
}

// ID is "firewall:" and the table.
func (r Ruleset) ID() string { return "firewall:" + r.Table }

func (r Ruleset) observe(w *wanted) {
	w.files = append(w.files, r.Path)
	w.units = append(w.units, r.Unit)
	w.ruleset = &r
}

// Change compares the file with the rules, and the live table with the file.
func (r Ruleset) Change(facts Facts) (Change, bool) {
	var ports []string
	declared := r.Ports
	if len(declared) == 0 {
		declared = facts.SSHPorts
	}
	for _, p := range declared {
		ports = append(ports, strconv.Itoa(p))
	}
	file := File{
		About: r.About, Path: r.Path, Check: "nft -c -f %s", Actions: []string{"start " + r.Unit},
		Content: fmt.Sprintf("define ssh = { %s }\n\n%s", strings.Join(ports, ", "), r.Rules),
	}
	c, differs := file.Change(facts)
	c.ID = r.ID()
	switch {
	case differs && facts.Firewall.Live == "" && !facts.Firewall.AsDeclared:
		c.Summary = "load the table " + r.Table + ", and at every boot"
	case differs:
		c.Summary = "replace the rules of the table " + r.Table
	case !facts.Firewall.AsDeclared:
		c = r.About.change(r.ID())
		c.Summary = "reload the table " + r.Table + ", which has drifted from " + r.Path
		c.Diff = udiff.Unified("live", r.Path, facts.Firewall.Live+"\n", facts.Firewall.Declared+"\n")
		if facts.Firewall.Live == "" {
			c.Summary, c.Diff = "load the table "+r.Table+", which is gone", ""
		}
		c.how.phase, c.how.actions = phaseActions, file.Actions
	default:
		return Change{}, false
	}
	return c, true
}
