package stacks

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/aymanbagabas/go-udiff"
)

// A Step is one thing that differs between a release and what runs.
type Step struct {
	ID      string `json:"id"`      // "release:4f0c…", "image:…", "stack:supabase"
	Concern string `json:"concern"` // "release", "images", "networks" or "stack NAME"
	Summary string `json:"summary"`
	Why     string `json:"why"`
	Diff    string `json:"diff,omitempty"` // unified, secrets masked

	Kind    StepKind `json:"-"`
	Subject string   `json:"-"` // release, image reference, network or project
}

// A StepKind is what a step does.
type StepKind int

// The kinds, in the order in which steps are done.
const (
	UploadStep StepKind = iota
	ImageStep
	NetworkStep
	StartStep
	StopStep
	PointStep
)

// Subjects returns what the steps of one kind are about, in order.
func Subjects(steps []Step, kind StepKind) []string {
	var found []string
	for _, s := range steps {
		if s.Kind == kind {
			found = append(found, s.Subject)
		}
	}
	return found
}

// Diff compares a release with the state of a server and returns what has to
// happen, in order; nothing when the release runs as it is declared. old holds
// the files of the current release by path, for the diffs; it may be nil when
// the current release is the wanted one or there is none.
func Diff(release *Release, state State, old map[string][]byte, delivery string) []Step {
	var steps []Step
	if !slices.Contains(state.Releases, release.ID) || state.Current == release.ID && len(state.Altered) > 0 {
		step := Step{ID: "release:" + release.ID, Concern: "release", Kind: UploadStep, Subject: release.ID,
			Summary: fmt.Sprintf("upload release %s (%d files)", release.ID, len(release.Files)),
			Why:     "the rendered configuration is not on the server yet"}
		if len(state.Altered) > 0 && state.Current == release.ID {
			step = Restore(release, state.Altered)
		} else {
			step.Diff = diffFiles(old, release.Files)
		}
		steps = append(steps, step)
	}
	for _, ref := range missingImages(release, state) {
		verb, why := "pull", "the server's engine does not have it"
		if Shipped(ref, delivery) {
			verb, why = "ship", "the server's engine does not have it and takes images over the SSH connection"
		}
		steps = append(steps, Step{ID: "image:" + ref, Concern: "images", Kind: ImageStep, Subject: ref, Summary: verb + " " + imageName(ref), Why: why})
	}
	for _, project := range release.Projects {
		for _, network := range project.Networks {
			id := "network:" + network
			if slices.Contains(state.Networks, network) || slices.ContainsFunc(steps, func(s Step) bool { return s.ID == id }) {
				continue
			}
			steps = append(steps, Step{ID: id, Concern: "networks", Kind: NetworkStep, Subject: network,
				Summary: "create network " + network, Why: "projects meet on it, and on nothing else"})
		}
	}
	moved := state.Current != release.ID
	// Containers may be of a release that never became current.
	cutOff := state.Starting != ""
	for _, project := range release.Projects {
		off := unsettled(project, state)
		edited := slices.ContainsFunc(state.Altered, func(file string) bool {
			return path.Dir(project.File) == strings.SplitN(file, "/", 2)[0]
		})
		changed := moved && (old == nil || project.differs(release.Files, old))
		if !changed && !edited && !cutOff && len(off) == 0 {
			continue
		}
		step := Step{ID: "stack:" + project.Name, Concern: "stack " + project.Name, Kind: StartStep, Subject: project.Name}
		switch {
		case len(off) > 0:
			step.Summary, step.Why = "start "+strings.Join(off, ", "), "not running as declared"
		case changed:
			step.Summary, step.Why = "recreate what changed", "the release changed"
		case cutOff:
			step.Summary, step.Why = "recreate what does not run as the release says", "a run that was starting release "+state.Starting+" was cut off"
		default:
			step.Summary, step.Why = "recreate what does not run as the release says", "its files were edited by hand, and may have been used"
		}
		steps = append(steps, step)
	}
	for _, name := range state.Projects() {
		if !owned(name) || slices.ContainsFunc(release.Projects, func(p Project) bool { return p.Name == name }) {
			continue
		}
		steps = append(steps, Step{ID: "stack:" + name, Concern: "stack " + name, Kind: StopStep, Subject: name,
			Summary: "stop " + name + " (its data stays)", Why: "holdfast.yml no longer declares it"})
	}
	if moved || cutOff {
		step := Step{ID: "current:" + release.ID, Concern: "release", Kind: PointStep, Subject: release.ID, Summary: "make " + release.ID + " the current release",
			Why: "all its services are healthy"}
		if len(Subjects(steps, UploadStep)) == 0 && old != nil {
			step.Diff = diffFiles(old, release.Files) // nothing above has shown it
		}
		if state.Current != "" && moved {
			step.Summary += " instead of " + state.Current
		}
		steps = append(steps, step)
	}
	return steps
}

// differs reports whether a project's files are others than those of the release
// before.
func (p Project) differs(files []File, old map[string][]byte) bool {
	folder := path.Dir(p.File) + "/"
	n := 0
	for _, f := range files {
		if strings.HasPrefix(f.Path, folder) {
			n++
			if before, ok := old[f.Path]; !ok || !bytes.Equal(before, f.Content) {
				return true
			}
		}
	}
	for name := range old {
		if strings.HasPrefix(name, folder) {
			n--
		}
	}
	return n != 0
}

// Restore is the step that puts the files of a release on the server back to what
// they were.
func Restore(release *Release, altered []string) Step {
	return Step{ID: "release:" + release.ID, Concern: "release", Kind: UploadStep, Subject: release.ID,
		Summary: "restore release " + release.ID, Why: "edited by hand: " + strings.Join(altered, ", ")}
}

// owned reports whether Holdfast runs a project of this name. Other Compose
// projects on the server are somebody else's and stay as they are.
func owned(project string) bool {
	return slices.Contains([]string{"supabase", "trigger", "app", "edge"}, project)
}

// unsettled returns the services of a project that don't run as declared.
func unsettled(project Project, state State) []string {
	var off []string
	for _, service := range project.Services {
		containers := state.Service(project.Name, service.Name)
		if len(containers) == 0 {
			off = append(off, service.Name)
			continue
		}
		for _, c := range containers {
			if !c.Healthy() || c.Image != service.Image {
				off = append(off, service.Name)
				break
			}
		}
	}
	return off
}

// missingImages returns the references of a release that the server's engine
// does not hold, each once, in order of use. An image named by its content is
// held only when the name's ID is the image's.
func missingImages(release *Release, state State) []string {
	var missing []string
	for _, project := range release.Projects {
		for _, service := range project.Services {
			id, held := state.Images[engineName(service.Image)]
			if want, ok := ContentID(service.Image); ok && id != want {
				held = false
			}
			if !held && !slices.Contains(missing, service.Image) {
				missing = append(missing, service.Image)
			}
		}
	}
	return missing
}

// engineName is how the engine lists an image: one with a digest without its
// tag, and those of Docker Hub without its name.
func engineName(ref string) string {
	name, digest, ok := strings.Cut(ref, "@")
	if i := strings.LastIndexByte(name, ':'); ok && i > strings.LastIndexByte(name, '/') {
		name = name[:i]
	}
	name = strings.TrimPrefix(strings.TrimPrefix(name, "docker.io/"), "library/")
	if ok {
		return name + "@" + digest
	}
	return name
}

// imageName is a reference for people: content names and digests are cut to what
// tells them apart.
func imageName(ref string) string {
	if id, ok := ContentID(ref); ok {
		name, _, _ := strings.Cut(strings.TrimPrefix(ref, contentRepository), ":")
		return name + " " + id[:len("sha256:")+12]
	}
	if i := strings.Index(ref, "@sha256:"); i >= 0 && len(ref) > i+20 {
		return ref[:i+20] + "…"
	}
	return ref
}

// diffFiles is the unified diff between the files of two releases, with the
// values of secret files masked.
func diffFiles(old map[string][]byte, files []File) string {
	var b strings.Builder
	seen := map[string]bool{}
	for _, file := range files {
		seen[file.Path] = true
		before, after := old[file.Path], file.Content
		if bytes.Equal(before, after) {
			continue
		}
		if file.Secret {
			before, after = maskValues(before, after)
		}
		b.WriteString(unified(file.Path, before, after))
	}
	var gone []string
	for path := range old {
		if !seen[path] && path != manifest {
			gone = append(gone, path)
		}
	}
	slices.Sort(gone)
	for _, path := range gone {
		fmt.Fprintf(&b, "--- %s\n+++ /dev/null\n", path)
	}
	return b.String()
}

func unified(path string, before, after []byte) string {
	from := path
	if before == nil {
		from = "/dev/null"
	}
	return udiff.Unified(from, path, string(before), string(after))
}

// maskValues replaces the values of two environment files so that a reader
// sees which names came, went or changed, and no value.
func maskValues(before, after []byte) ([]byte, []byte) {
	was := map[string]string{}
	for _, line := range strings.Split(string(before), "\n") {
		if name, value, ok := strings.Cut(line, "="); ok {
			was[name] = value
		}
	}
	mask := func(content []byte, mark func(name, value string) string) []byte {
		if content == nil {
			return nil
		}
		var b strings.Builder
		for _, line := range strings.SplitAfter(string(content), "\n") {
			name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			switch {
			case ok && !strings.HasPrefix(name, "#"):
				b.WriteString(name + "=" + mark(name, value) + "\n")
			case strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "":
				b.WriteString(line)
			default:
				// Not of the form NAME=value: nothing in it can be shown.
				b.WriteString("********\n")
			}
		}
		return []byte(b.String())
	}
	return mask(before, func(string, string) string { return "********" }),
		mask(after, func(name, value string) string {
			if old, had := was[name]; had && old != value {
				return "******** (changed)"
			}
			return "********"
		})
}
