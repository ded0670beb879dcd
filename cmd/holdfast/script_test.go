//go:build !lab

package main

import (
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/rogpeppe/go-internal/testscript"

	"holdfast/internal/environment"
	"holdfast/stacks"
	"holdfast/stacks/lock"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"holdfast": func() { os.Exit(run(os.Args[1:])) }})
}

// The commands as sessions, as far as they go without a server. REGISTRY is a
// registry in this process; it starts empty.
func TestSessions(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close) // the sessions run side by side, after this function
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("NO_COLOR", "1")
			env.Setenv("REGISTRY", strings.TrimPrefix(server.URL, "http://"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"mirror": pushToMirror},
	})
}

// pushToMirror is "mirror DIR [IMAGE...]": it pushes a new image, for linux/amd64,
// to the place where the environment's mirror has each of the images named, or
// each that the environment declares.
func pushToMirror(ts *testscript.TestScript, _ bool, args []string) {
	dir := filepath.Join(ts.Getenv("WORK"), args[0])
	env, err := environment.Load(dir)
	ts.Check(err)
	refs := args[1:]
	if len(refs) == 0 {
		refs, err = stacks.References(env.Config)
		ts.Check(err)
	}
	for _, ref := range refs {
		tag, err := name.NewTag(lock.Mirrored(ref, env.Registry.Mirror))
		ts.Check(err)
		image, err := random.Image(64, 1)
		ts.Check(err)
		config, err := image.ConfigFile()
		ts.Check(err)
		config = config.DeepCopy()
		config.OS, config.Architecture = "linux", "amd64"
		image, err = mutate.ConfigFile(image, config)
		ts.Check(err)
		ts.Check(remote.Write(tag, image))
	}
}
