package provision

import (
	"fmt"
	"slices"
	"strings"

	"holdfast/internal/shell"
)

// A Group is a group's members, exactly. A group that does not exist has none.
// Users whose own group it is are no members of it (group(5)).
type Group struct {
	About
	Name    string
	Members []string
}

// ID is "group:" and the name.
func (g Group) ID() string { return "group:" + g.Name }

func (g Group) observe(w *wanted) { w.groups = append(w.groups, g.Name) }

// Change compares the members.
func (g Group) Change(facts Facts) (Change, bool) {
	now, exists := facts.Groups[g.Name]
	if !exists || slices.Equal(sorted(now), sorted(g.Members)) {
		return Change{}, false
	}
	c := g.About.change(g.ID())
	c.Summary = fmt.Sprintf("leave %s in the group %s, not %s",
		orElse(strings.Join(g.Members, ", "), "nobody"), g.Name, orElse(strings.Join(now, ", "), "nobody"))
	c.how.phase = phaseUsers
	c.how.script = fmt.Sprintf("try gpasswd --members %s %s\n", shell.Quote(strings.Join(sorted(g.Members), ",")), shell.Quote(g.Name))
	return c, true
}

// parseGroups reads lines of group(5).
func (f *Facts) parseGroups(text string) error {
	for line := range strings.Lines(text) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(fields) != 4 {
			return fmt.Errorf("unreadable line %q", line)
		}
		f.Groups[fields[0]] = strings.FieldsFunc(fields[3], func(r rune) bool { return r == ',' })
	}
	return nil
}
