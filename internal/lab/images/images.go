// Package images makes the container images that a lab runs where no registry
// can be reached: PostgreSQL, Redis, a registry and Caddy from Debian's
// packages, and stand-ins (see holdfast/internal/lab/standin) for the rest.
// They are put together without a builder, as an archive that the engine
// loads, and named by their content: holdfast.local/lab-NAME:sha256-ID. All
// share two layers, so the whole set is little more than one image.
//
// Needed are Linux, root, debootstrap with a Debian mirror in reach, Go and the
// source of Holdfast, and a Docker engine. The first Build takes one to two
// minutes, later ones seconds: what is made is kept in the user's cache folder.
package images

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Options say how images are made. The zero value is right on a machine that
// has Holdfast's source in the current folder or above it.
type Options struct {
	Source   string       // folder of the module holdfast; default: the one around the current folder
	Cache    string       // default: holdfast/lab-images in the user's cache folder
	Progress func(string) // told of each step that takes a while; may be nil
}

// Repository is the prefix of every image's name.
const repository = "holdfast.local/lab-"

// Reachable reports whether the registry of an image reference answers within
// three seconds. Any answer of HTTP counts, a refusal too.
func Reachable(ctx context.Context, ref string) bool {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, "https://"+registryOf(ref)+"/v2/", nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	return response.Body.Close() == nil && response.Header.Get("Docker-Distribution-Api-Version") != ""
}

// RegistryOf is the host that an image is pulled from: the first part of the
// reference when it looks like a host, otherwise Docker's own.
func registryOf(ref string) string {
	host, _, found := strings.Cut(ref, "/")
	if !found || !strings.ContainsAny(host, ".:") && host != "localhost" || host == "docker.io" {
		return "registry-1.docker.io"
	}
	return host
}

// Build returns the image of each service by the service's name in its
// Compose file, all of them known to the engine of this machine. Where Docker's
// registry answers it returns nil: the lab then runs the real images.
func Build(ctx context.Context, opts Options) (map[string]string, error) {
	if Reachable(ctx, "docker.io/library/busybox") {
		return nil, nil
	}
	refs, err := build(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("make the lab's images: %w", err)
	}
	return refs, nil
}

func build(ctx context.Context, opts Options) (map[string]string, error) {
	b, err := newBuilder(ctx, opts)
	if err != nil {
		return nil, err
	}
	unlock, err := lock(ctx, filepath.Join(b.cache, "lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()

	debian, err := b.debian(ctx)
	if err != nil {
		return nil, err
	}
	standin, err := b.standin(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]image, 0, len(recipes))
	for _, r := range recipes {
		own, err := b.own(r)
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", r.name, err)
		}
		below := standin
		if r.debian {
			below = debian
		}
		i, err := newImage(r, below, own)
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", r.name, err)
		}
		all = append(all, i)
	}
	if err := b.load(ctx, all); err != nil {
		return nil, err
	}
	refs := map[string]string{}
	for _, i := range all {
		refs[i.name] = i.ref()
	}
	return refs, nil
}

// A builder makes layers in its cache folder.
type builder struct {
	source   string
	cache    string
	progress func(string)
}

func newBuilder(ctx context.Context, opts Options) (*builder, error) {
	b := &builder{opts.Source, opts.Cache, opts.Progress}
	if b.progress == nil {
		b.progress = func(string) {}
	}
	if b.source == "" {
		out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Path}} {{.Dir}}").Output()
		if err != nil {
			return nil, fmt.Errorf("find Holdfast's source, which the stand-ins are built from: go list: %w (run this in a checkout)", err)
		}
		path, dir, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
		if path != "holdfast" {
			return nil, fmt.Errorf("find Holdfast's source, which the stand-ins are built from: this is the module %s (run this in a checkout of Holdfast)", path)
		}
		b.source = dir
	}
	if b.cache == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, err
		}
		b.cache = filepath.Join(cache, "holdfast", "lab-images")
	}
	return b, os.MkdirAll(b.cache, 0o755)
}

// Load gives the engine what it does not have yet.
func (b *builder) load(ctx context.Context, all []image) error {
	out, err := exec.CommandContext(ctx, "docker", "images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}", "--filter", "reference="+repository+"*").Output()
	if err != nil {
		return fmt.Errorf("ask the Docker engine for its images: %w", explain(err))
	}
	known := strings.Fields(string(out))
	missing := slices.DeleteFunc(slices.Clone(all), func(i image) bool { return slices.Contains(known, i.ref()) })
	if len(missing) == 0 {
		return nil
	}
	b.progress(fmt.Sprintf("loading %d images into the Docker engine", len(missing)))
	load := exec.CommandContext(ctx, "docker", "load", "--quiet")
	archive, err := load.StdinPipe()
	if err != nil {
		return err
	}
	var stderr strings.Builder
	load.Stderr = &stderr
	if err := load.Start(); err != nil {
		return fmt.Errorf("load images: %w", err)
	}
	writeErr := writeArchive(archive, missing)
	closeErr := archive.Close()
	if err := load.Wait(); err != nil {
		return fmt.Errorf("load images into the Docker engine: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return errors.Join(writeErr, closeErr)
}

// Explain adds what a command said to its error.
func explain(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
	}
	return err
}
