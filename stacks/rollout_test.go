package stacks

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"holdfast/internal/probe"
)

const appID = "1111111111111111111111111111111111111111111111111111111111111111"

func small() *Release {
	r := &Release{
		Files: []File{
			{Path: "app/compose.yml", Mode: 0o644, Content: []byte("name: app\n")},
			{Path: "app/secrets/app.env", Mode: 0o600, Secret: true, Content: []byte("KEY=new-secret\nSAME=kept-secret\n")},
		},
		Contents: Contents{Projects: []Project{{Name: "app", File: "app/compose.yml", Networks: []string{"holdfast-edge"},
			Services: []Service{{Name: "app", Image: "holdfast.local/app:sha256-" + appID}}}}},
	}
	if err := r.seal(); err != nil {
		panic(err) // strings and lists of them can be marshalled
	}
	return r
}

// running is the state of a server on which r runs as declared.
func running(r *Release) State {
	return State{
		Engine: true, Current: r.ID, Releases: []string{r.ID},
		Images:     map[string]string{"holdfast.local/app:sha256-" + appID: "sha256:" + appID},
		Networks:   []string{"bridge", "holdfast-edge"},
		Containers: []Container{{Project: "app", Service: "app", Image: "holdfast.local/app:sha256-" + appID, State: "running", Status: "Up 1 minute (healthy)"}},
	}
}

func TestDiffNamesWhatDiffersAndNothingElse(t *testing.T) {
	r := small()
	for _, c := range []struct {
		name   string
		change func(*State)
		want   []string
	}{
		{"as declared", func(*State) {}, nil},
		{"a bare server", func(s *State) { *s = State{} }, []string{"release:" + r.ID, "image:", "network:holdfast-edge", "stack:app", "current:" + r.ID}},
		{"edited by hand", func(s *State) { s.Altered = []string{"app/compose.yml"} }, []string{"release:", "stack:app"}},
		{"container gone", func(s *State) { s.Containers = nil }, []string{"stack:app"}},
		{"container unhealthy", func(s *State) { s.Containers[0].Status = "Up 1 minute (unhealthy)" }, []string{"stack:app"}},
		{"container stopped", func(s *State) { s.Containers[0].State = "exited" }, []string{"stack:app"}},
		{"another image runs", func(s *State) { s.Containers[0].Image = "nginx" }, []string{"stack:app"}},
		{"the tag holds another image", func(s *State) { s.Images["holdfast.local/app:sha256-"+appID] = "sha256:2222" }, []string{"image:"}},
		{"network gone", func(s *State) { s.Networks = nil }, []string{"network:holdfast-edge"}},
		{"an older release", func(s *State) { s.Current, s.Releases = "old", []string{"old"} }, []string{"release:", "stack:app", "current:"}},
		{"uploaded, not started", func(s *State) { s.Current = "old" }, []string{"stack:app", "current:"}},
		{"a run that was to start another was cut off", func(s *State) { s.Starting = "2222" }, []string{"stack:app", "current:"}},
		{"a stack no longer declared", func(s *State) {
			s.Containers = append(s.Containers, Container{Project: "trigger", Service: "webapp", State: "running"})
		}, []string{"stack:trigger"}},
		{"somebody else's project", func(s *State) {
			s.Containers = append(s.Containers, Container{Project: "theirs", Service: "x", State: "exited"})
		}, nil},
	} {
		state := running(r)
		c.change(&state)
		var got []string
		for _, step := range Diff(r, state, nil, "ship") {
			got = append(got, step.ID)
		}
		if !slices.EqualFunc(got, c.want, func(id, prefix string) bool { return strings.HasPrefix(id, prefix) }) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestAStackWhoseFilesStayIsNotStartedAnew(t *testing.T) {
	r := small()
	state := running(r)
	state.Current, state.Releases = "old", []string{"old"}
	old := map[string][]byte{"edge/compose.yml": []byte("name: edge\n")}
	for _, f := range r.Files {
		old[f.Path] = f.Content
	}
	ids := func() (list []string) {
		for _, step := range Diff(r, state, old, "ship") {
			list = append(list, step.ID)
		}
		return list
	}
	if got := ids(); !slices.Equal(got, []string{"release:" + r.ID, "current:" + r.ID}) {
		t.Errorf("another stack changed: %q", got)
	}
	old["app/gone.txt"] = []byte("x")
	if got := ids(); !slices.Contains(got, "stack:app") {
		t.Errorf("a file of it is gone: %q", got)
	}
	delete(old, "app/gone.txt")
	old["app/compose.yml"] = []byte("name: was\n")
	if got := ids(); !slices.Contains(got, "stack:app") {
		t.Errorf("a file of it changed: %q", got)
	}
}

func TestAReleasesDiffShowsNoSecret(t *testing.T) {
	r := small()
	state := running(r)
	state.Current, state.Releases = "old", []string{"old"}
	old := map[string][]byte{
		"app/compose.yml":     []byte("name: was\n"),
		"app/secrets/app.env": []byte("KEY=old-secret\nSAME=kept-secret\nGONE=gone-secret\n"),
		"app/stray.txt":       []byte("x"),
		manifest:              []byte("sums"),
	}
	diff := Diff(r, state, old, "ship")[0].Diff
	for _, want := range []string{"-name: was", "+name: app", "+KEY=******** (changed)", "-GONE=********", "--- app/stray.txt"} {
		if !strings.Contains(diff, want) {
			t.Errorf("the diff lacks %q:\n%s", want, diff)
		}
	}
	if strings.Contains(diff, "-secret") || strings.Contains(diff, manifest) {
		t.Errorf("the diff shows too much:\n%s", diff)
	}
}

// localHost runs scripts with this machine's sh, with Root moved to a folder
// of the test.
type localHost struct{ root string }

func (h localHost) Run(ctx context.Context, script string, stdin io.Reader, stdout, stderr io.Writer) error {
	cmd := exec.CommandContext(ctx, "sh", "-c", strings.ReplaceAll(script, Root, h.root))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	return cmd.Run()
}

// state observes the folder as a server would be.
func (h localHost) state(t *testing.T) State {
	t.Helper()
	nonce := probe.Nonce()
	script := probe.Script(nonce, []probe.Probe{Probes()[0], Probes()[1], Probes()[2]})
	var out, errs bytes.Buffer
	if err := h.Run(t.Context(), script, nil, &out, &errs); err != nil {
		t.Fatal(err)
	}
	outputs, err := probe.Parse(nonce, out.Bytes(), errs.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	outputs["stacks/containers"] = probe.Output{Exit: 127}
	state, err := ParseState(outputs)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func TestAReleaseIsUploadedWholeReadBackAndEditsOfItAreFound(t *testing.T) {
	host, r := localHost{t.TempDir()}, small()
	if got := host.state(t); got.Current != "" || len(got.Releases) != 0 {
		t.Fatalf("a server without releases has %+v", got)
	}
	if err := Upload(t.Context(), host, r); err != nil {
		t.Fatal(err)
	}
	if err := (Launch{Host: host, Release: r}).Point(t.Context()); err != nil {
		t.Fatal(err)
	}
	state := host.state(t)
	if state.Current != r.ID || !slices.Equal(state.Releases, []string{r.ID}) || len(state.Altered) != 0 {
		t.Errorf("after the upload: %+v", state)
	}
	files, err := Fetch(t.Context(), host, r.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Files {
		if !bytes.Equal(files[f.Path], f.Content) {
			t.Errorf("%s was read back as %q", f.Path, files[f.Path])
		}
	}
	modes, err := exec.Command("stat", "-c", "%a", host.root+"/releases/"+r.ID+"/app/secrets/app.env").Output()
	if err != nil || strings.TrimSpace(string(modes)) != "600" {
		t.Errorf("the secret file's mode is %s (%v)", modes, err)
	}
	path := host.root + "/releases/" + r.ID + "/app/compose.yml"
	if out, err := exec.Command("sh", "-c", "echo edited >> "+path).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if got := host.state(t).Altered; !slices.Equal(got, []string{"app/compose.yml"}) {
		t.Errorf("altered files: %q", got)
	}
	if err := Upload(t.Context(), host, r); err != nil {
		t.Fatal(err)
	}
	if got := host.state(t).Altered; len(got) != 0 {
		t.Errorf("still altered after the restore: %q", got)
	}
}

func TestAFailingArchiveIsNeverLoaded(t *testing.T) {
	loaded := false
	host := hostFunc(func(_ context.Context, _ string, stdin io.Reader) error {
		_, err := io.Copy(io.Discard, stdin)
		loaded = err == nil
		return err
	})
	broken := errors.New("disk gone")
	err := Ship(t.Context(), host, []string{"a"}, func(_ context.Context, _ []string, w io.Writer) error {
		_, _ = w.Write(make([]byte, 1<<20))
		return broken
	}, func(int64) {})
	if !errors.Is(err, broken) || loaded {
		t.Errorf("error %v, loaded %v", err, loaded)
	}
}

type hostFunc func(ctx context.Context, script string, stdin io.Reader) error

func (f hostFunc) Run(ctx context.Context, script string, stdin io.Reader, _, _ io.Writer) error {
	return f(ctx, script, stdin)
}

func TestContentIDIsTakenFromNamesThatPromiseOneOnly(t *testing.T) {
	for ref, want := range map[string]string{
		"holdfast.local/app:sha256-" + appID: "sha256:" + appID,
		"holdfast.local/app:1.0":             "",
		"docker.io/app:sha256-" + appID:      "",
		"holdfast.local/app:sha256-11":       "",
	} {
		if got, ok := ContentID(ref); ok != (want != "") || ok && got != want {
			t.Errorf("ContentID(%q) = %q, %v", ref, got, ok)
		}
	}
}

func FuzzParseStateNeverPanics(f *testing.F) {
	f.Add(`{"id":"1","name":"a","project":"app","service":"app"}`, "a b <none> sha256:1", "version 1\nend")
	f.Fuzz(func(t *testing.T, containers, images, history string) {
		_, _ = ParseState(probe.Outputs{
			"stacks/containers": {Stdout: containers}, "stacks/images": {Stdout: images}, "stacks/migrations": {Stdout: history},
		})
	})
}
