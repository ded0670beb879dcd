package images

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Files are what goes into the images beside packages and stand-ins.
//
//go:embed files
var files embed.FS

func file(name string) []byte {
	content, err := files.ReadFile("files/" + name)
	if err != nil {
		panic(err) // the name is a constant of this package
	}
	return content
}

// Debian returns the layer that the real parts run from.
func (b *builder) debian(ctx context.Context) (layer, error) {
	recipe := sha256.Sum256(append([]byte(runtime.GOARCH), file("base.sh")...))
	path := filepath.Join(b.cache, fmt.Sprintf("debian-%x.tar", recipe[:8]))
	if l, err := kept(path); err == nil {
		return l, nil
	}
	if _, err := exec.LookPath("debootstrap"); err != nil {
		return layer{}, errors.New("there is no debootstrap: install it, on Debian with apt-get install debootstrap")
	}
	if os.Geteuid() != 0 {
		return layer{}, errors.New("debootstrap needs root: run this once as root")
	}
	b.progress("making the images' Debian layer (about a minute, once)")
	dir, err := os.MkdirTemp(b.cache, "debian-") // not in /tmp, which may be mounted without devices
	if err != nil {
		return layer{}, err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // it becomes the images' root folder
		return layer{}, err
	}
	args := []string{"-s", dir}
	if mirror := mirror(ctx); mirror != "" {
		args = append(args, mirror)
	}
	fill := exec.CommandContext(ctx, "sh", args...)
	fill.Stdin = bytes.NewReader(file("base.sh"))
	fill.Env = append(os.Environ(), "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C")
	isolate(fill)
	if out, err := fill.CombinedOutput(); err != nil {
		return layer{}, fmt.Errorf("debootstrap: %w: %s", err, tail(out))
	}
	pack := exec.CommandContext(ctx, "tar", "-C", dir, "--numeric-owner", "--sort=name", "--mtime=@0", "-cf", path+".partial", ".")
	if out, err := pack.CombinedOutput(); err != nil {
		return layer{}, fmt.Errorf("pack the Debian layer: %w: %s", err, tail(out))
	}
	// The stand-ins' layer needs this one program, too.
	if err := copyFile(filepath.Join(dir, "usr/bin/busybox"), b.busybox()); err != nil {
		return layer{}, err
	}
	return keep(path+".partial", path)
}

func (b *builder) busybox() string { return filepath.Join(b.cache, "busybox-"+runtime.GOARCH) }

// Mirror returns where this machine gets Debian's packages from, or "" for
// debootstrap's own choice.
func mirror(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages").Output()
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(out)) {
		if uri, ok := strings.CutPrefix(strings.TrimSpace(line), "Debian "); ok && strings.HasPrefix(uri, "http") {
			return uri
		}
	}
	return ""
}

// Standin returns the layer of the stand-ins: busybox, and the program that
// plays them under all their names.
func (b *builder) standin(ctx context.Context) (layer, error) {
	b.progress("building the stand-ins")
	program := filepath.Join(b.cache, "standin")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", program, "./internal/lab/standin/cmd")
	build.Dir = b.source
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+runtime.GOARCH)
	if out, err := build.CombinedOutput(); err != nil {
		return layer{}, fmt.Errorf("build the stand-ins: %w: %s", err, tail(out))
	}
	content, err := os.ReadFile(program)
	if err != nil {
		return layer{}, err
	}
	busybox, err := os.ReadFile(b.busybox())
	if err != nil {
		return layer{}, err
	}
	applets, err := exec.CommandContext(ctx, b.busybox(), "--list").Output()
	if err != nil {
		return layer{}, fmt.Errorf("list busybox's programs: %w", err)
	}
	nodes := append(standinFiles(), node{path: "bin/busybox", content: busybox}, node{path: "usr/local/bin/standin", content: content})
	for _, name := range standinNames {
		nodes = append(nodes, node{path: "usr/local/bin/" + name, to: "standin"})
	}
	for applet := range strings.FieldsSeq(string(applets)) {
		if applet != "busybox" {
			nodes = append(nodes, node{path: "bin/" + applet, to: "busybox"})
		}
	}
	return b.pack("standin", nodes)
}

// Own returns the layer that only one image has.
func (b *builder) own(r recipe) (layer, error) { return b.pack("own-"+r.name, r.nodes) }

func (b *builder) pack(name string, nodes []node) (layer, error) {
	content, err := packLayer(nodes)
	if err != nil {
		return layer{}, err
	}
	path := filepath.Join(b.cache, name+".tar")
	if err := os.WriteFile(path, content, 0o644); err != nil {
		return layer{}, err
	}
	return layer{path, fmt.Sprintf("sha256:%x", sha256.Sum256(content))}, nil
}

// Keep gives a finished tar its name and records its digest beside it.
func keep(partial, path string) (layer, error) {
	f, err := os.Open(partial)
	if err != nil {
		return layer{}, err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return layer{}, err
	}
	digest := fmt.Sprintf("sha256:%x", hash.Sum(nil))
	if err := os.Rename(partial, path); err != nil {
		return layer{}, err
	}
	// Last: with the digest the layer counts as made.
	return layer{path, digest}, os.WriteFile(path+".digest", []byte(digest), 0o644)
}

func kept(path string) (layer, error) {
	if _, err := os.Stat(path); err != nil {
		return layer{}, err
	}
	digest, err := os.ReadFile(path + ".digest")
	return layer{path, string(digest)}, err
}

func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o755)
}

// Tail returns the last lines of a program's output, for an error message.
func tail(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return strings.Join(lines[max(0, len(lines)-8):], "\n")
}
