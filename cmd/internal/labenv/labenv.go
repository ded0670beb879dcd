// Package labenv writes the environment folder that deploys to a lab: an
// ordinary environment whose images are shipped over the SSH connection and
// whose waivers say what a container can't have.
package labenv

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"text/template"

	"holdfast/cmd/internal/pair"
	"holdfast/internal/environment"
	"holdfast/internal/lab"
	"holdfast/internal/lab/images"
	"holdfast/internal/ui"
	"holdfast/stacks/secrets"
	"holdfast/templates"
)

// marker records, inside the folder, which servers and images holdfast.yml was
// written for. A folder without it is nobody's to overwrite.
const marker = ".holdfast/lab.json"

// written is the content of the marker.
type written struct {
	Servers map[string]lab.Server `json:"servers"`
	Images  map[string]string     `json:"images"` // nil: the real ones, from their registries
}

// Write makes dir an environment folder for l. What a person changed in it
// stays, as long as the lab is still the one it was written for; a lab that
// was made anew gets a new holdfast.yml and keeps its secrets.
func Write(ctx context.Context, l *lab.Lab, dir string, progress func(string)) error {
	refs, err := images.Build(ctx, images.Options{Progress: progress})
	if err != nil {
		return err
	}
	now := written{Servers: map[string]lab.Server{lab.Production: l.Servers[lab.Production], lab.Audit: l.Servers[lab.Audit]}, Images: refs}
	before, err := read(dir)
	if err != nil {
		return err
	}
	if before != nil && maps.Equal(before.Servers, now.Servers) && maps.Equal(before.Images, now.Images) {
		return nil
	}
	if _, err := os.Stat(filepath.Join(dir, environment.FileName)); err == nil && before == nil {
		return fmt.Errorf("%s is the environment folder of other servers; name another folder with -C", dir)
	}
	if err := copyKeys(l, dir); err != nil {
		return err
	}
	config, err := render(l, refs)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, environment.FileName), config, 0o644); err != nil {
		return err
	}
	if err := copyTemplates(dir); err != nil {
		return err
	}
	identity := filepath.Join(dir, ".holdfast", "identity.txt")
	recipient, err := secrets.NewIdentity(identity)
	if err != nil {
		return err
	}
	if _, err := environment.Init(dir, environment.InitOptions{Recipients: []string{recipient}}); err != nil {
		return err
	}
	if _, err := pair.InitSecrets(dir, []string{identity}); err != nil {
		return err
	}
	if refs == nil {
		quiet := ui.New(io.Discard, io.Discard)
		progress("ask the registries for the digests of the images")
		if _, err := pair.Lock(ctx, dir, nil, quiet); err != nil {
			return err
		}
	}
	return write(dir, now)
}

// Remove takes away what belongs to servers that are gone: the folder's
// holdfast.yml points nowhere and its secrets open nothing. A folder that Write
// did not make is left alone.
func Remove(dir string) error {
	before, err := read(dir)
	if err != nil || before == nil {
		return err
	}
	return os.RemoveAll(dir)
}

func read(dir string) (*written, error) {
	data, err := os.ReadFile(filepath.Join(dir, marker))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var w written
	if err := json.Unmarshal(data, &w); err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Join(dir, marker), err)
	}
	return &w, nil
}

func write(dir string, w written) error {
	data, err := json.MarshalIndent(w, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, marker), append(data, '\n'), 0o644)
}

// copyKeys copies the lab's key pair into the folder.
func copyKeys(l *lab.Lab, dir string) error {
	for _, f := range []struct {
		from, to string
		mode     fs.FileMode
	}{
		{l.Key, ".holdfast/lab_key", 0o600},
		{l.Key + ".pub", "keys/operator.pub", 0o644},
	} {
		data, err := os.ReadFile(f.from)
		if err != nil {
			return err
		}
		to := filepath.Join(dir, f.to)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, data, f.mode); err != nil {
			return err
		}
	}
	return nil
}

// render fills in the lab's holdfast.yml.
func render(l *lab.Lab, refs map[string]string) ([]byte, error) {
	text, err := template.ParseFS(templates.FS, "lab/holdfast.yml.tmpl")
	if err != nil {
		return nil, err
	}
	data := struct {
		Name, Subnet, Delivery  string
		Production, Audit       lab.Server
		Supabase, Trigger, Edge environment.Images
		App                     string
	}{
		Name: "lab", Subnet: l.Subnet, Delivery: "registry",
		Production: l.Servers[lab.Production], Audit: l.Servers[lab.Audit],
	}
	if refs != nil {
		data.Delivery = "ship"
		data.Supabase = pick(refs, "db", "rest", "auth", "kong", "realtime", "storage", "imgproxy", "meta", "studio", "functions", "supavisor")
		data.Trigger = pick(refs, "webapp", "postgres", "redis", "electric", "clickhouse", "registry", "minio", "supervisor", "docker-proxy")
		data.Edge = pick(refs, "caddy")
		data.App = refs["app"]
	}
	var b bytes.Buffer
	err = text.Execute(&b, data)
	return b.Bytes(), err
}

func pick(refs map[string]string, services ...string) environment.Images {
	images := environment.Images{}
	for _, s := range services {
		if ref, ok := refs[s]; ok {
			images[s] = ref
		}
	}
	return images
}

// copyTemplates writes the lab's baseline, migration and function, where the
// folder does not have them yet.
func copyTemplates(dir string) error {
	root, err := fs.Sub(templates.FS, "lab")
	if err != nil {
		return err
	}
	return fs.WalkDir(root, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) == ".tmpl" {
			return err
		}
		to := filepath.Join(dir, filepath.FromSlash(path))
		if _, err := os.Stat(to); err == nil {
			return nil
		}
		data, err := fs.ReadFile(root, path)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		return os.WriteFile(to, data, 0o644)
	})
}
