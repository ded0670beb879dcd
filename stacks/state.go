package stacks

import (
	"bufio"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"holdfast/internal/probe"
)

// Root is the folder on a server that holds all releases.
const Root = "/opt/holdfast"

// manifest is the file in a release folder that lists the SHA-256 sum of every
// other file in it, in the format of sha256sum(1).
const manifest = "manifest.sha256"

// State is what was observed of the stacks on one server.
type State struct {
	Engine     bool              `json:"engine"`     // a Docker engine answers
	Current    string            `json:"current"`    // the release that `current` points at, "" for none
	Contents   Contents          `json:"contents"`   // of the current release
	Starting   string            `json:"starting"`   // the release that an unfinished run has begun to start, "" for none
	Altered    []string          `json:"altered"`    // files of the current release that differ from its manifest
	Releases   []string          `json:"releases"`   // all complete releases, sorted
	Images     map[string]string `json:"images"`     // reference (name:tag and name@digest) → image ID
	Containers []Container       `json:"containers"` // those of Compose projects
	Networks   []string          `json:"networks"`
	PostgreSQL map[string]int    `json:"postgresql"` // stack → major version that its database's files are of
	Migrations Migrations        `json:"migrations"`
}

// A Container is one container of a Compose project.
type Container struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Project string `json:"project"`
	Service string `json:"service"`
	Image   string `json:"image"`
	State   string `json:"state"`  // Docker's word: created, running, restarting, exited …
	Status  string `json:"status"` // Docker's sentence: "Up 2 minutes (healthy)"
}

// Healthy reports whether the container does what it is there for: it runs,
// and its health check, when it has one, passes.
func (c Container) Healthy() bool {
	return c.State == "running" && !strings.Contains(c.Status, "(unhealthy)") && !strings.Contains(c.Status, "(health: starting)")
}

// Migrations is the history the running database holds.
type Migrations struct {
	Known    bool              `json:"known"`    // the database answered
	Versions []string          `json:"versions"` // supabase_migrations.schema_migrations
	Baseline map[string]string `json:"baseline"` // holdfast.migrations: version → checksum
}

// Probes returns what has to be asked of a server to know its State.
func Probes() []probe.Probe {
	return []probe.Probe{
		{Name: "stacks/current", Script: `readlink ` + Root + `/current | sed 's|^releases/||'`},
		{Name: "stacks/releases", Script: `ls -1 ` + Root + `/releases`},
		{Name: "stacks/altered", Script: `cd ` + Root + `/current && sha256sum --check --quiet ` + manifest + ` 2>/dev/null | sed 's/: FAILED.*//'
test -f ` + manifest + ` || echo ` + manifest},
		{Name: "stacks/contents", Script: `cat ` + Root + `/current/` + contentsFile},
		{Name: "stacks/starting", Script: `cat ` + startingFile},
		{Name: "stacks/containers", Script: `docker ps -a --no-trunc --filter label=com.docker.compose.project --format '{"id":{{json .ID}},"name":{{json .Names}},"project":{{json (.Label "com.docker.compose.project")}},"service":{{json (.Label "com.docker.compose.service")}},"image":{{json .Image}},"state":{{json .State}},"status":{{json .Status}}}'`},
		{Name: "stacks/images", Script: `docker image ls --digests --no-trunc --format '{{.Repository}} {{.Tag}} {{.Digest}} {{.ID}}'`},
		{Name: "stacks/networks", Script: `docker network ls --format '{{.Name}}'`},
		{Name: "stacks/postgresql", Script: `for v in ` + databaseVolumes() + `; do
  d=$(docker volume inspect --format '{{.Mountpoint}}' "$v" 2>/dev/null) && [ -f "$d/PG_VERSION" ] && echo "$v $(cat "$d/PG_VERSION")"
done`},
		// One psql session asks for both histories; to_regclass keeps it quiet on
		// a database that has neither table yet.
		{Name: "stacks/migrations", Script: `c=$(docker ps -q --filter label=com.docker.compose.project=supabase --filter label=com.docker.compose.service=db)
[ -n "$c" ] || exit 1
docker exec -i "$c" psql -X -q -v ON_ERROR_STOP=1 -U supabase_admin -d postgres -At <<'SQL'
select to_regclass('supabase_migrations.schema_migrations') is not null as cli, to_regclass('holdfast.migrations') is not null as own \gset
\if :cli
select 'version ' || version from supabase_migrations.schema_migrations order by version;
\endif
\if :own
select 'baseline ' || version || ' ' || checksum from holdfast.migrations order by version;
\endif
\echo end
SQL`},
	}
}

// none is the engine's word for an image's missing tag or digest.
const none = "<none>"

// ParseState reads the answers to Probes. A server without a Docker engine has
// an empty State; an answer that can't be read is an error, never "nothing runs".
func ParseState(outputs probe.Outputs) (State, error) {
	state := State{Images: map[string]string{}}
	for _, name := range lines(outputs["stacks/releases"].Stdout) {
		if !strings.HasPrefix(name, ".") {
			state.Releases = append(state.Releases, name)
		}
	}
	// A link to a release that is gone names none.
	if current := strings.TrimSpace(outputs["stacks/current"].Stdout); slices.Contains(state.Releases, current) {
		state.Current = current
		state.Altered = lines(outputs["stacks/altered"].Stdout)
	}
	state.Starting = strings.TrimSpace(outputs["stacks/starting"].Stdout)
	if state.Current != "" {
		state.Contents = parseContents(outputs["stacks/contents"].Stdout)
	}
	containers := outputs["stacks/containers"]
	if containers.Exit != 0 {
		// 127: docker isn't installed; 1: its engine does not answer. Both
		// mean that the plan must bring the engine up before anything else.
		return state, nil
	}
	state.Engine = true
	for _, line := range lines(containers.Stdout) {
		var c Container
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			return State{}, fmt.Errorf("read the list of containers: %w", err)
		}
		state.Containers = append(state.Containers, c)
	}
	for _, line := range lines(outputs["stacks/images"].Stdout) {
		f := strings.Fields(line)
		if len(f) != 4 {
			return State{}, fmt.Errorf("read the list of images: unexpected line %q", line)
		}
		name, tag, digest, id := f[0], f[1], f[2], f[3]
		if tag != none {
			state.Images[name+":"+tag] = id
		}
		if digest != none {
			state.Images[name+"@"+digest] = id
		}
	}
	state.Networks = lines(outputs["stacks/networks"].Stdout)
	state.PostgreSQL = parseVolumes(outputs["stacks/postgresql"].Stdout)
	state.Migrations = parseMigrations(outputs["stacks/migrations"])
	return state, nil
}

// parseContents reads a release's own account of itself. Where it is missing, or was
// edited into something else, it is empty: the manifest shows that.
func parseContents(text string) Contents {
	var c Contents
	if json.Unmarshal([]byte(text), &c) != nil {
		return Contents{}
	}
	return c
}

func parseMigrations(output probe.Output) Migrations {
	m := Migrations{Baseline: map[string]string{}}
	for _, line := range lines(output.Stdout) {
		switch word := strings.Fields(line); {
		case len(word) == 2 && word[0] == "version":
			m.Versions = append(m.Versions, word[1])
		case len(word) == 3 && word[0] == "baseline":
			m.Baseline[word[1]] = word[2]
		case line == "end":
			m.Known = output.Exit == 0
		}
	}
	return m
}

// Service returns the containers of one service.
func (s State) Service(project, service string) []Container {
	var found []Container
	for _, c := range s.Containers {
		if c.Project == project && c.Service == service {
			found = append(found, c)
		}
	}
	return found
}

// Projects returns the names of the Compose projects that have containers, sorted.
func (s State) Projects() []string {
	var names []string
	for _, c := range s.Containers {
		names = append(names, c.Project)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func lines(s string) []string {
	var out []string
	scanner := bufio.NewScanner(strings.NewReader(s))
	scanner.Buffer(nil, 16<<20)
	for scanner.Scan() {
		if line := strings.TrimSpace(scanner.Text()); line != "" {
			out = append(out, line)
		}
	}
	return out
}
