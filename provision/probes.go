package provision

import (
	"io/fs"
	"strconv"
	"strings"

	"holdfast/internal/probe"
	"holdfast/internal/shell"
	"holdfast/templates"
)

// Probe names. The prefix keeps them apart from those of other packages in the
// same batch.
const (
	probeSystem   = "provision/system"
	probePackages = "provision/packages"
	probeUnits    = "provision/units"
	probeFiles    = "provision/files"
	probeSysctls  = "provision/sysctls"
	probeUsers    = "provision/users"
	probePaths    = "provision/paths"
	probeMounts   = "provision/mounts"
	probeGroups   = "provision/groups"
	probeRuleset  = "provision/ruleset"
	probeJournal  = "provision/journal"
)

// parsers read the probes' answers, in this order.
var parsers = []struct {
	name     string
	optional bool
	parse    func(*Facts, string) error
}{
	{probeSystem, false, (*Facts).parseSystem},
	{probePackages, true, (*Facts).parsePackages},
	{probeUnits, true, (*Facts).parseUnits},
	{probeFiles, true, (*Facts).parseFiles},
	{probeSysctls, true, (*Facts).parseSysctls},
	{probeUsers, true, (*Facts).parseUsers},
	{probePaths, true, (*Facts).parsePaths},
	{probeMounts, true, (*Facts).parseMounts},
	{probeGroups, true, (*Facts).parseGroups},
	{probeRuleset, true, (*Facts).parseRuleset},
	{probeJournal, true, (*Facts).parseJournal},
}

// Probes returns what must be observed to compare resources with a server. The
// probes change nothing and need root.
func Probes(resources []Resource) []probe.Probe {
	var w wanted
	for _, r := range resources {
		r.observe(&w)
	}
	probes := []probe.Probe{{Name: probeSystem, Script: serverScript("observe/system.sh")}}
	probes = append(probes, probe.Probe{Name: probeJournal,
		Script: assign("records", []string{strconv.Itoa(journalTail)}) + serverScript("observe/journal.sh")})
	add := func(name, file, variable string, values []string) {
		if len(values) > 0 {
			probes = append(probes, probe.Probe{Name: name, Script: assign(variable, values) + serverScript(file)})
		}
	}
	add(probePackages, "observe/packages.sh", "packages", sorted(w.packages))
	add(probeUnits, "observe/units.sh", "units", sorted(w.units))
	add(probeFiles, "observe/files.sh", "files", sorted(w.files))
	add(probeSysctls, "observe/sysctl.sh", "keys", sorted(w.sysctls))
	add(probeUsers, "observe/users.sh", "users", sorted(w.users))
	add(probePaths, "observe/paths.sh", "paths", sorted(w.paths))
	add(probeMounts, "observe/mounts.sh", "points", sorted(w.mounts))
	add(probeGroups, "observe/groups.sh", "groups", sorted(w.groups))
	if w.ruleset != nil {
		script := assign("table", []string{w.ruleset.Table}) + assign("ruleset", []string{w.ruleset.Path}) + serverScript("observe/ruleset.sh")
		probes = append(probes, probe.Probe{Name: probeRuleset, Script: script})
	}
	return probes
}

// assign sets a shell variable to words that the script splits at blanks; none
// of them holds one.
func assign(variable string, words []string) string {
	return variable + "=" + shell.Quote(strings.Join(words, " ")) + "\n"
}

// serverScript returns an embedded shell script without its comments: the
// whole batch travels as one argument, whose length is limited.
func serverScript(name string) string {
	text, err := fs.ReadFile(templates.FS, "server/"+name)
	if err != nil {
		panic(err) // embedded under a constant name, which a test reads
	}
	var b strings.Builder
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") || strings.HasPrefix(line, "#!") {
			b.WriteString(line)
		}
	}
	return b.String()
}
