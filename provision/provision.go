// Package provision turns the declared state of a server into the smallest set
// of changes and makes them. It works in four stages, with plain data between
// them: [Probes] says what to observe, [ParseFacts] reads the answers, [Diff]
// compares them with the resources, and [Apply] carries the plan out.
//
// It promises:
//
//   - Observing changes nothing, and neither does a plan.
//   - What is converged stays untouched: a second run has an empty plan.
//   - A file gets its name only when it is complete, has its mode and owner, and
//     its own check (sshd -t, nft -c, visudo -c) has accepted it.
//   - Changes that could lock the operator out are made last, as one group that
//     the server itself takes back unless a new login confirms it.
//   - A run that is cut off at any point is finished by the next one.
//   - The content of a secret file is in no diff, no error and no JSON.
//
// What a hardened server looks like is not decided here, but in package
// hardening.
package provision

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Resource is one declared piece of a server's state. It is plain data; the
// types of this package are [File], [Directives], [Permissions], [Packages],
// [Removed], [Unit], [Sysctls], [Mount], [Swap], [User], [Group] and
// [Ruleset].
type Resource interface {
	// ID names the resource on its server, as in "file:/etc/issue".
	ID() string
	// Change is the difference between the resource and the facts; false when
	// there is none.
	Change(Facts) (Change, bool)

	observe(*wanted)
}

// About is what every resource says of itself.
type About struct {
	Concern string // groups changes in a plan, as in "firewall"
	Why     string // one line for whoever reads the plan
	// Guarded puts the change into the group that is taken back unless a new
	// login confirms it.
	Guarded bool
	// Systems are those the resource makes sense on, by [OS.Key]; nil: all. Of
	// files, packages and units.
	Systems []string
	// OwnKernel: the resource makes no sense in a container, whose kernel is that
	// of another machine; nothing is changed there.
	OwnKernel bool
}

// appliesTo reports whether the resource makes sense on the server.
func (a About) appliesTo(facts Facts) bool {
	return (!a.OwnKernel || facts.Container == "") && (a.Systems == nil || slices.Contains(a.Systems, facts.OS.Key()))
}

// A Change is what must be done for one resource.
type Change struct {
	ID      string `json:"id"`
	Concern string `json:"concern"`
	Summary string `json:"summary"`        // imperative, without a full stop
	Why     string `json:"why,omitempty"`  // as the resource says
	Diff    string `json:"diff,omitempty"` // unified; secrets masked

	how how
}

// how is the part of a change that only Apply understands.
type how struct {
	guarded  bool
	phase    phase
	script   string   // the body of one step
	packages []string // instead of a script: installed together with those of other changes
	keep     []string // files the script replaces, for the guard
	actions  []string // what is to follow once all files are in place, each done once
}

// phase orders the steps of a run.
type phase int

const (
	phaseFiles    phase = iota // before packages, so that no service starts with its defaults
	phasePackages              // one apt-get for all
	phaseUsers
	phaseKernel
	phaseUnits
	phaseActions
)

// A Plan is everything that must be done on one server, in the order in which
// the resources were declared.
type Plan struct {
	Server  string   `json:"server"` // its own host name
	Role    string   `json:"role"`
	Changes []Change `json:"changes"`
	// Notes are things worth knowing that are no changes.
	Notes []string `json:"notes,omitempty"`

	staleLists bool
}

// clockTolerance is how far a server's clock may be off before a plan tells. No
// clock is off so far that a plan refuses: keeping time is among what a plan
// brings, and where apt can't go on, it says so.
const clockTolerance = time.Minute

// listsAge is how old apt's package lists may be before they are refreshed
// for an installation.
const listsAge = 24 * time.Hour

// Diff compares resources with facts. It is a pure function.
func Diff(resources []Resource, facts Facts) Plan {
	plan := Plan{
		Server: facts.Hostname, Role: facts.Role, Changes: []Change{},
		staleLists: facts.PackageLists == nil || *facts.PackageLists > listsAge,
	}
	for _, r := range resources {
		if change, ok := r.Change(facts); ok {
			plan.Changes = append(plan.Changes, change)
		}
		if telling, ok := r.(interface{ note(Facts) string }); ok {
			if note := telling.note(facts); note != "" {
				plan.Notes = append(plan.Notes, note)
			}
		}
	}
	if change, ok := unfinished(facts); ok {
		plan.Changes = append(plan.Changes, change)
	}
	plan.Notes = append(plan.Notes, notes(facts)...)
	return plan
}

const unfinishedID = "unfinished"

// unfinished is the change that completes what a run that was cut off has left:
// services that do not know their new files yet, and a guard nobody confirmed.
func unfinished(facts Facts) (Change, bool) {
	if len(facts.Pending) == 0 && !facts.Guard.Armed {
		return Change{}, false
	}
	c := Change{ID: unfinishedID, Concern: "unfinished", Why: "a former run was cut off",
		how: how{guarded: facts.Guard.Armed, phase: phaseActions, actions: facts.Pending}}
	var what []string
	if len(facts.Pending) > 0 {
		what = append(what, strings.Join(facts.Pending, ", "))
	}
	if facts.Guard.Armed {
		what = append(what, "confirm its settings by a new login")
	}
	c.Summary = strings.Join(what, "; ")
	return c, true
}

func notes(facts Facts) []string {
	var notes []string
	if r := facts.Guard.Reverted; r != nil {
		notes = append(notes, fmt.Sprintf("at %s the server put %s back, because the change failed or no new login confirmed it",
			r.At, strings.Join(r.Files, ", ")))
	}
	if facts.JournalFault != "" {
		notes = append(notes, facts.JournalFault+"; somebody else than Holdfast wrote to "+JournalPath)
	}
	if facts.SSHFault != "" {
		notes = append(notes, "sshd refuses its own settings, and would not start after a reboot: "+facts.SSHFault)
	}
	if reason := facts.RebootReason(); reason != "" {
		notes = append(notes, "a reboot is due: "+reason)
	}
	if off := facts.ClockOff; off.Abs() > clockTolerance {
		notes = append(notes, fmt.Sprintf("the server's clock is %s off this machine's: tokens and certificates may count as expired or not yet valid, and package lists as invalid", off.Abs()))
	}
	return notes
}

// change starts a change of a resource.
func (a About) change(id string) Change {
	return Change{ID: id, Concern: a.Concern, Why: a.Why, how: how{guarded: a.Guarded}}
}

// wanted collects what the resources need to know of a server.
type wanted struct {
	packages, units, files, sysctls, users, groups, paths, mounts []string
	ruleset                                                       *Ruleset
}

func sorted(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names)
}
