package stacks

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
)

// shortest is the length in bytes from which a secret's value is looked for in
// files. Shorter ones ("holdfast", a port) would be found by chance, and protect
// nothing.
const shortest = 8

// public are names in secrets.age whose values protect nothing: a user's name and
// a database's. They may be ordinary words that stand in files anyway.
var public = []string{"DASHBOARD_USERNAME", "POOLER_TENANT_ID"}

// leaks refuses files that show a secret's value although they are not secret.
// It is the last line: no template puts one there.
func leaks(files []File, secrets map[string]string) error {
	for _, file := range files {
		if file.Secret {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(secrets)) {
			if value := secrets[name]; len(value) >= shortest && !slices.Contains(public, name) && bytes.Contains(file.Content, []byte(value)) {
				return fmt.Errorf("%s would show the value of the secret %s: it was not rendered", file.Path, name)
			}
		}
	}
	return nil
}
