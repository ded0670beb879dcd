package pair

import (
	"errors"
	"strings"
	"testing"

	"holdfast/internal/environment"
	"holdfast/internal/ui"
	"holdfast/provision"
)

func TestAServerOfAnotherArchitectureThanLockedIsRefusedByName(t *testing.T) {
	env := &environment.Environment{}
	env.Servers.Production = environment.Server{Address: "203.0.113.10", Port: 22, Platform: "linux/amd64"}
	p := &Pair{Env: env, pins: map[string]string{"caddy:2.11.4": "caddy:2.11.4@sha256:1"}}
	s := &Server{Role: "production", Facts: provision.Facts{Architecture: "arm64"}, Spec: env.Servers.Production}
	err := p.suits(s)
	if err == nil || !errors.Is(err, ErrConfig) {
		t.Fatalf("got %v, want an ErrConfig", err)
	}
	for _, want := range []string{"production (", "203.0.113.10", "linux/arm64", "linux/amd64"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %s", err, want)
		}
	}
	if hint := ui.HintOf(err); !strings.Contains(hint, "platform: linux/arm64") {
		t.Errorf("hint: %s", hint)
	}
	env.Servers.Production.Platform = "linux/arm64"
	if err := p.suits(s); err != nil {
		t.Errorf("a server of the declared platform: %v", err)
	}
	env.Servers.Production.Platform, p.pins = "linux/amd64", nil
	if err := p.suits(s); err != nil {
		t.Errorf("nothing is pulled by a lock, yet: %v", err)
	}
}
