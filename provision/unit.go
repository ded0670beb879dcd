package provision

import (
	"regexp"
	"slices"
	"strings"

	"holdfast/internal/shell"
)

// A UnitState is what a systemd unit should be like.
type UnitState string

const (
	// Running: started now and at boot. A unit one of whose conditions does not
	// hold on this server, as in a container, need not be started now.
	Running UnitState = "running"
	// Enabled: started at boot; whether it runs now does not matter.
	Enabled UnitState = "enabled"
	// Stopped: not started, neither now nor at boot.
	Stopped UnitState = "stopped"
)

// A Unit is a systemd unit. "a | b" is content with b, where b is there and a
// is not.
type Unit struct {
	About
	Name  string // with its suffix, as in "docker.service"
	State UnitState
}

// ID is "unit:" and the name.
func (u Unit) ID() string { return "unit:" + alternatives(u.Name)[0] }

func (u Unit) observe(w *wanted) { w.units = append(w.units, alternatives(u.Name)...) }

// Change compares the unit's state now and at boot.
func (u Unit) Change(facts Facts) (Change, bool) {
	if !u.appliesTo(facts) {
		return Change{}, false
	}
	options := alternatives(u.Name)
	name := options[0]
	for _, option := range options {
		if facts.Units[option].Load == "loaded" {
			name = option
			break
		}
	}
	now := facts.Units[name]
	atBoot := slices.Contains([]string{"enabled", "static", "alias", "indirect", "generated"}, now.File)
	active := now.Active == "active" || now.Active == "activating" || now.Active == "reloading"
	var verbs []string
	switch u.State {
	case Running, Enabled:
		if now.Load == "masked" {
			verbs = append(verbs, "unmask")
		}
		if !atBoot {
			verbs = append(verbs, "enable")
		}
		if u.State == Running && !active && !now.Inapplicable {
			verbs = append(verbs, "start")
		}
	case Stopped:
		if active {
			verbs = append(verbs, "stop")
		}
		if now.File == "enabled" {
			verbs = append(verbs, "disable")
		}
	}
	if len(verbs) == 0 {
		return Change{}, false
	}
	c := u.About.change(u.ID())
	c.Summary = strings.Join(verbs, " and ") + " " + name
	c.how.phase = phaseUnits
	if u.Guarded {
		c.how.script = "keep_unit " + shell.Quote(name) + "\n"
	}
	for _, verb := range verbs {
		c.how.script += "try systemctl " + verb + " " + shell.Quote(name) + "\n"
	}
	return c, true
}

// startLater begins the action that starts a unit and does not wait for it.
const startLater = "start-later "

// action matches what may follow a changed file.
var action = regexp.MustCompile(`^(daemon-reload|pam-auth-update|(reload|restart|start|start-later) [A-Za-z0-9@._-]+\.(service|socket|timer))$`)

// actionScript is the shell command of an action.
func actionScript(a string) string {
	verb, unit, _ := strings.Cut(a, " ")
	switch verb {
	case "pam-auth-update":
		return "keep_pam\ntry pam-auth-update --package\n"
	case "start-later":
		return "try systemctl start --no-block " + shell.Quote(unit) + "\n"
	case "daemon-reload":
		return "try systemctl daemon-reload\n"
	case "reload":
		verb = "try-reload-or-restart"
	case "restart":
		// Once a run is well within systemd's limit; an operator's own restarts
		// a moment ago must not make it refuse.
		return "systemctl reset-failed " + shell.Quote(unit) + " || :\ntry systemctl try-restart " + shell.Quote(unit) + "\n"
	case "start":
		verb = "reload-or-restart"
	}
	return "try systemctl " + verb + " " + shell.Quote(unit) + "\n"
}
