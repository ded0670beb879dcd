package lab

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// rootfs fills a folder with the files of a bare server. Its hash names the
// image, so a changed recipe is a new image.
//
//go:embed rootfs.sh
var rootfs string

// imageTag returns the name under which the engine keeps the server image.
func imageTag() string {
	hash := sha256.Sum256([]byte(rootfs))
	return fmt.Sprintf("holdfast-lab/debian:13-%s-%x", runtime.GOARCH, hash[:6])
}

// serverImage returns the tag of the server image, which it makes first when
// the engine does not have it.
func serverImage(ctx context.Context, progress func(string)) (string, error) {
	tag := imageTag()
	id, err := docker(ctx, nil, "images", "--quiet", tag)
	if err != nil {
		return "", err
	}
	if id != "" {
		return tag, nil
	}
	progress("making the Debian 13 image (about a minute, once)")
	if err := makeImage(ctx, tag); err != nil {
		return "", fmt.Errorf("make the server image: %w", err)
	}
	return tag, nil
}

func makeImage(ctx context.Context, tag string) error {
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
	dir, err := os.MkdirTemp(root, "rootfs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // it becomes the root folder of the image
		return err
	}

	mirror, _ := mirrors(ctx)
	build := exec.CommandContext(ctx, "sh", "-s", dir, mirror)
	build.Stdin = strings.NewReader(rootfs)
	build.Env = append(os.Environ(), adminPath(), "LC_ALL=C")
	isolate(build)
	if out, err := build.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("debootstrap from %s: %w: %s", mirror, err, tail(out))
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
