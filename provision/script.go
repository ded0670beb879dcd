package provision

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"holdfast/internal/shell"
)

// lockPatience is how long a run waits, in seconds, for another process that
// holds a package lock. An unattended upgrade takes minutes.
const lockPatience = 600

// A step is one thing that a script does and reports.
type step struct {
	title string
	ids   []string // of the changes it carries out
	body  string   // shell text; it ends at the first command that fails
}

// steps orders the changes of one stage and joins what is done once for
// several of them. actions are those to be remembered should the run be cut off.
func steps(changes []Change) (list []step, actions []string) {
	changes = slices.Clone(changes)
	slices.SortStableFunc(changes, func(a, b Change) int { return int(a.how.phase - b.how.phase) })
	var install step
	var packages []string
	wanted := map[string][]string{} // action → changes that want it
	for _, c := range changes {
		packages = append(packages, c.how.packages...)
		if len(c.how.packages) > 0 {
			install.ids = append(install.ids, c.ID)
		}
		for _, a := range c.how.actions {
			if _, known := wanted[a]; !known {
				actions = append(actions, a)
			}
			wanted[a] = append(wanted[a], c.ID)
		}
	}
	packages = sorted(packages)
	install.title = "install " + strings.Join(packages, ", ")
	install.body = "install_packages " + strings.Join(packages, " ") + "\n"
	follow := func(a string) step { return step{title: a, ids: wanted[a], body: actionScript(a)} }

	const reload = "daemon-reload"
	reloaded := !slices.Contains(actions, reload)
	for i, c := range changes {
		if len(packages) > 0 && (c.how.phase >= phasePackages) && (i == 0 || changes[i-1].how.phase < phasePackages) {
			list = append(list, install)
		}
		if !reloaded && c.how.phase >= phaseUnits {
			list, reloaded = append(list, follow(reload)), true
		}
		if c.how.script == "" {
			continue
		}
		var keep strings.Builder
		if c.how.guarded {
			for _, path := range c.how.keep {
				keep.WriteString("keep " + shell.Quote(path) + "\n")
			}
		}
		list = append(list, step{title: c.Summary, ids: []string{c.ID}, body: keep.String() + c.how.script})
	}
	if !reloaded {
		list = append(list, follow(reload))
	}
	for _, a := range actions {
		if a != reload {
			list = append(list, follow(a))
		}
	}
	return list, actions
}

// postpone takes from changes what they start in the background and returns it
// as steps of its own: what goes on while a run still works would fight it for
// the package lock, and for the processor while it logs in anew.
func postpone(changes []Change) (rest []Change, later []step) {
	for _, c := range changes {
		background := func(a string) bool { return strings.HasPrefix(a, startLater) }
		for _, a := range c.how.actions {
			if background(a) && !slices.ContainsFunc(later, func(s step) bool { return s.title == a }) {
				later = append(later, step{title: a, ids: []string{c.ID}, body: actionScript(a)})
			}
		}
		c.how.actions = slices.DeleteFunc(slices.Clone(c.how.actions), background)
		rest = append(rest, c)
	}
	return rest, later
}

// bootstrap receives the script of a stage on stdin, whole, and runs it. The
// script travels there because it may hold the content of secret files, and
// what is on a command line is for everyone on the server to see.
const bootstrap = `umask 077
work=$(mktemp -d /run/holdfast.XXXXXX) || exit
trap 'rm -rf "$work"' EXIT
cat >"$work/run" || exit
if [ "$(tail -n 1 "$work/run")" != '# complete' ]; then
    echo "the script arrived incomplete and was not run" >&2
    exit 74
fi
. "$work/run"
`

// A stage is what one script does.
type stage struct {
	steps      []step
	actions    []string
	guarded    bool
	staleLists bool
}

// script writes a stage's script. Lines of the controller are framed with nonce.
func (s stage) script(nonce string) string {
	var b strings.Builder
	yes := map[bool]string{true: "yes", false: "no"}
	fmt.Fprintf(&b, "nonce=%s patience=%d stale=%s guarded=%s\n", nonce, lockPatience, yes[s.staleLists], yes[s.guarded])
	for _, name := range []string{"journal", "run", "packages", "guard"} {
		b.WriteString(serverScript("apply/" + name + ".sh"))
	}
	for i, step := range s.steps {
		fmt.Fprintf(&b, "step%d() {\n%s}\n", i, step.body)
	}
	if len(s.actions) > 0 {
		b.WriteString("pending")
		for _, a := range s.actions {
			b.WriteString(" " + shell.Quote(a))
		}
		b.WriteString("\n")
	}
	for i, step := range s.steps {
		record := strings.TrimSuffix(string(encode(Record{Changes: step.ids})), "}") + ","
		fmt.Fprintf(&b, "step %d step%d %s\n", i, i, shell.Quote(record))
	}
	if len(s.actions) > 0 {
		b.WriteString("rm -f \"$state/pending\"\n")
	}
	b.WriteString("frame done\n# complete\n")
	return b.String()
}

// armStep starts the guard. takeover says that an earlier run's guard must
// still be armed: if it is not, the facts are of yesterday.
func armStep(takeover bool) step {
	body := fmt.Sprintf("put \"$guard/revert\" 0700 root:root <<'END'\n%s\nEND\n",
		base64.StdEncoding.EncodeToString([]byte(serverScript("apply/revert.sh"))))
	if takeover {
		body = "[ -e \"$guard/armed\" ] || { echo 'the server has put the old settings back in the meantime; run again'; exit 1; }\n" + body
	}
	return step{
		title: fmt.Sprintf("arm the guard: without a new login the next changes are taken back in %d s", guardSeconds),
		ids:   []string{"guard"},
		body:  body + "arm " + strconv.Itoa(guardSeconds) + "s\n",
	}
}
