package lab

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// rootfs fills a folder with the files of a bare server. Its hash names the
// image, so a changed recipe is a new image.
//
//go:embed rootfs.sh
var rootfs string

// imageTag returns the name under which the engine keeps the image of a system.
func imageTag(system System) string {
	hash := sha256.Sum256([]byte(rootfs))
	name, version, _ := strings.Cut(string(system), "-")
	return fmt.Sprintf("holdfast-lab/%s:%s-%s-%x", name, version, runtime.GOARCH, hash[:6])
}

// serverImage returns the tag of a system's image, which it makes first when
// the engine does not have it.
func serverImage(ctx context.Context, system System, progress func(string)) (string, error) {
	tag := imageTag(system)
	id, err := docker(ctx, nil, "images", "--quiet", tag)
	if err != nil {
		return "", err
	}
	if id != "" {
		return tag, nil
	}
	progress(fmt.Sprintf("making the %s image (about a minute, once)", system))
	if err := makeImage(ctx, system, tag); err != nil {
		return "", fmt.Errorf("make the %s image: %w", system, err)
	}
	return tag, nil
}

func makeImage(ctx context.Context, system System, tag string) error {
	if _, err := program("debootstrap"); err != nil {
		return errors.New("there is no debootstrap: install it, on Debian with apt-get install debootstrap")
	}
	if os.Geteuid() != 0 {
		return errors.New("debootstrap needs root: run this once as root")
	}
	// Not in /tmp, which may be mounted without devices.
	root, err := stateRoot()
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp(root, "rootfs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	dir := filepath.Join(work, "root")
	if err := os.Mkdir(dir, 0o755); err != nil { // it becomes the root folder of the image
		return err
	}

	mirrors := machineMirrors(ctx)
	mirror := mirrors.of(system)
	build := exec.CommandContext(ctx, "sh", "-s", dir, string(system), mirror, mirrors.debian)
	build.Stdin = strings.NewReader(rootfs)
	build.Env = append(os.Environ(), adminPath(), "LC_ALL=C")
	isolate(build)
	if out, err := build.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		err = fmt.Errorf("debootstrap from %s: %w: %s", mirror, err, tail(out))
		return errors.Join(err, Reach(ctx, system))
	}

	pack := exec.CommandContext(ctx, "tar", "-C", dir, "--numeric-owner", "-c", ".")
	files, err := pack.StdoutPipe()
	if err != nil {
		return err
	}
	if err := pack.Start(); err != nil {
		return err
	}
	partial := tag + "-partial"
	_, err = docker(ctx, files, "import", "-", partial)
	if packErr := pack.Wait(); packErr != nil && err == nil {
		err = fmt.Errorf("tar: %w", packErr)
	}
	if err != nil {
		return err
	}
	// The name appears only once the image is known to be whole.
	if _, err := docker(ctx, nil, "tag", partial, tag); err != nil {
		return err
	}
	_, err = docker(ctx, nil, "rmi", partial)
	return err
}
