package pair

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"

	"holdfast/internal/ui"
)

// saveImages writes an archive of images from the engine beside the operator.
// It asks the docker command line, which knows contexts, sockets and remote
// engines; nothing of the engine's API is spoken here.
func saveImages(ctx context.Context, refs []string, w io.Writer) error {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "docker", append([]string{"image", "save"}, refs...)...)
	cmd.Stdout, cmd.Stderr = w, &stderr
	err := cmd.Run()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, exec.ErrNotFound):
		return ui.Hint(errors.New("the docker command is not installed on this machine"),
			"images are shipped from a local Docker engine; install one, or set `delivery: registry` and let the server pull")
	case strings.Contains(stderr.String(), "No such image"), strings.Contains(stderr.String(), "not found"):
		return ui.Hint(fmt.Errorf("the local engine lacks an image: %s", strings.TrimSpace(stderr.String())),
			"`docker pull` it on this machine first, or build it")
	default:
		return fmt.Errorf("docker image save: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
}
