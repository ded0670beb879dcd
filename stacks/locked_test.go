package stacks

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"holdfast/internal/probe"
)

var (
	someDigest  = "sha256:" + strings.Repeat("a", 64)
	otherDigest = "sha256:" + strings.Repeat("b", 64)
)

// References is what gets locked, so it has to be what is run.
func TestReferencesAreTheImagesThatAreRendered(t *testing.T) {
	in := example()
	release, err := Render(in)
	if err != nil {
		t.Fatal(err)
	}
	var used []string
	for _, project := range release.Projects {
		for _, service := range project.Services {
			used = append(used, service.Image)
		}
	}
	slices.Sort(used)
	got, err := References(in.Config)
	if err != nil {
		t.Fatal(err)
	}
	if want := slices.Compact(used); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestPinnedImagesAreRenderedByDigest(t *testing.T) {
	in := example()
	refs, err := References(in.Config)
	if err != nil {
		t.Fatal(err)
	}
	refs = slices.DeleteFunc(refs, Fixed)
	in.Pins = map[string]string{}
	for _, ref := range refs[1:] {
		in.Pins[ref] = ref + "@" + someDigest
	}
	release, err := Render(in)
	if err != nil {
		t.Fatal(err)
	}
	if got := release.Floating(); !slices.Equal(got, refs[:1]) {
		t.Errorf("floating: %v, want %v", got, refs[:1])
	}
	in.Pins[refs[0]] = "mirror.example.com/" + refs[0] + "@" + otherDigest
	if release, err = Render(in); err != nil {
		t.Fatal(err)
	}
	if got := release.Floating(); len(got) > 0 {
		t.Errorf("floating: %v", got)
	}
	all := slices.ContainsFunc(release.Files, func(f File) bool {
		return bytes.Contains(f.Content, []byte(`"`+in.Pins[refs[0]]+`"`))
	})
	if !all {
		t.Errorf("no file names %s", in.Pins[refs[0]])
	}
}

func TestFixedReferencesNeedNoRegistry(t *testing.T) {
	for ref, want := range map[string]bool{
		"caddy:2.11.4":                       false,
		"caddy@" + someDigest:                true,
		"caddy:2.11.4@" + someDigest:         true,
		"holdfast.local/app:sha256-" + appID: true,
		"holdfast.local/app:1.0.0":           false,
	} {
		if Fixed(ref) != want {
			t.Errorf("Fixed(%s) is %v", ref, !want)
		}
	}
}

// As engines list what was pulled by digest: without its tag, and without the
// name of Docker Hub (docker 20.10.24, overlay2).
func TestAnImageThatWasPulledByDigestIsNotPulledAgain(t *testing.T) {
	outputs := probe.Outputs{
		"stacks/images": {Stdout: "caddy <none> " + someDigest + " sha256:1\n" +
			"localhost:5000/web 1.4.2 " + someDigest + " sha256:2\n" +
			"<none> <none> <none> sha256:3\n" +
			"holdfast.local/app sha256-" + appID + " <none> sha256:" + appID + "\n"},
		"stacks/containers": {}, "stacks/networks": {}, "stacks/migrations": {},
	}
	state, err := ParseState(outputs)
	if err != nil {
		t.Fatal(err)
	}
	for ref, held := range map[string]bool{
		"caddy:2.11.4@" + someDigest:                   true,
		"docker.io/library/caddy:2.11.4@" + someDigest: true,
		"caddy@" + someDigest:                          true,
		"caddy:2.11.4@" + otherDigest:                  false,
		"localhost:5000/web:1.4.2@" + someDigest:       true,
		"localhost:5000/web:1.4.2":                     true,
		"localhost:5000/web:1.4.2@" + otherDigest:      false, // the tag is there with other content
		"holdfast.local/app:sha256-" + appID:           true,
		"ghcr.io/caddy:2.11.4@" + someDigest:           false,
	} {
		release := &Release{Contents: Contents{Projects: []Project{{Name: "app", Services: []Service{{Name: "app", Image: ref}}}}}}
		if got := len(missingImages(release, state)) == 0; got != held {
			t.Errorf("%s: held is %v, want %v", ref, got, held)
		}
	}
	outputs["stacks/images"] = probe.Output{Stdout: "caddy 2.11.4\n"}
	if _, err := ParseState(outputs); err == nil {
		t.Error("a line that can't be read was passed over")
	}
}
