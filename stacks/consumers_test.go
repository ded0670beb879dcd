package stacks

import (
	"bytes"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"holdfast/stacks/secrets"
)

// A service's file holds the secrets that name it as their consumer and no other;
// what is derived from a secret is held under its own name.
func TestEachServiceHoldsExactlyTheSecretsItConsumes(t *testing.T) {
	in := example()
	release := render(t, in)
	held := map[string][]string{}
	for _, f := range release.Files {
		if !f.Secret || path.Ext(f.Path) != ".env" {
			continue
		}
		service := strings.Replace(strings.TrimSuffix(f.Path, ".env"), "/secrets/", "/", 1)
		for _, rule := range secrets.Rules() {
			value := in.Secrets[rule.Name]
			if !rule.Identifier && value != "" && bytes.Contains(f.Content, []byte(value)) {
				held[rule.Name] = append(held[rule.Name], service)
			}
		}
	}
	for _, rule := range secrets.Rules() {
		if rule.Identifier {
			continue // may be a word that stands anywhere
		}
		want := slices.DeleteFunc(slices.Clone(rule.Consumers), func(c string) bool {
			// The registry reads a hash of its password; the audit server is no service.
			return c == "trigger/registry" || strings.HasPrefix(c, "holdfast/")
		})
		slices.Sort(want)
		if diff := cmp.Diff(slices.Compact(want), slices.Sorted(slices.Values(held[rule.Name]))); diff != "" && len(want)+len(held[rule.Name]) > 0 {
			t.Errorf("%s: its rule's consumers are not those that hold it: %s", rule.Name, diff)
		}
	}
}
