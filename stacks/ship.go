package stacks

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"holdfast/internal/shell"
)

// Host is the server a release runs on. Scripts run as root.
type Host interface {
	Run(ctx context.Context, script string, stdin io.Reader, stdout, stderr io.Writer) error
}

// contentRepository is where images live that were named by their content. It
// is no registry: such images reach servers over the SSH connection alone.
const contentRepository = "holdfast.local/"

// ContentID returns the image ID ("sha256:…") that a reference of the form
// holdfast.local/NAME:sha256-HEX promises.
func ContentID(ref string) (string, bool) {
	if !strings.HasPrefix(ref, contentRepository) {
		return "", false
	}
	_, hex, ok := strings.Cut(ref, ":sha256-")
	return "sha256:" + hex, ok && len(hex) == 64
}

// Shipped reports whether an image travels over the SSH connection instead of
// being pulled: because the environment says so (delivery "ship"), or because
// no registry could have it.
func Shipped(ref, delivery string) bool {
	_, byContent := ContentID(ref)
	return byContent || delivery == "ship"
}

// Upload puts the files of a release into its folder on the host. The folder
// gets its name only when it is complete and synced, so a run that dies leaves
// at most a hidden folder that the next upload replaces. The archive goes to
// the script's standard input: a secret is in no command line and in no file
// that anyone but root can read.
func Upload(ctx context.Context, host Host, release *Release) error {
	archive, err := pack(release)
	if err != nil {
		return fmt.Errorf("pack release %s: %w", release.ID, err)
	}
	script := `set -e
umask 022
root=` + Root + ` id=` + shell.Quote(release.ID) + `
mkdir -p "$root/releases"
rm -rf "$root/releases/.$id.new"
mkdir "$root/releases/.$id.new"
tar -x --no-same-owner -p -C "$root/releases/.$id.new" -f -
( cd "$root/releases/.$id.new" && sha256sum --check --quiet ` + manifest + ` >&2 )
sync -f "$root/releases/.$id.new"
if [ -d "$root/releases/$id" ]; then
  # Same name, edited by hand: what containers mount are links to these files, so
  # the files are replaced in place; "cp -a" would break the links.
  cp -r --preserve=mode,ownership,timestamps "$root/releases/.$id.new/." "$root/releases/$id/"
  rm -rf "$root/releases/.$id.new"
else
  mv "$root/releases/.$id.new" "$root/releases/$id"
fi
` + keepContent(release.Mounts)
	var stderr bytes.Buffer
	if err := host.Run(ctx, script, bytes.NewReader(archive), io.Discard, &stderr); err != nil {
		return fmt.Errorf("upload release %s: %w", release.ID, explain(err, stderr.String()))
	}
	return nil
}

// pack makes the archive of a release, its manifest included. The times in it
// are zero, so that the same release always makes the same archive.
func pack(release *Release) ([]byte, error) {
	var sums strings.Builder
	for _, f := range release.Files {
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(f.Content), f.Path)
	}
	files := append(slices.Clone(release.Files), File{Path: manifest, Mode: 0o644, Content: []byte(sums.String())})
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		header := &tar.Header{Name: f.Path, Mode: int64(f.Mode.Perm()), Size: int64(len(f.Content)), ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.Content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Fetch reads the files of a release back from the host, by path.
func Fetch(ctx context.Context, host Host, id string) (map[string][]byte, error) {
	var archive, stderr bytes.Buffer
	script := "tar -c -C " + shell.Quote(Root+"/releases/"+id) + " -f - ."
	if err := host.Run(ctx, script, nil, &archive, &stderr); err != nil {
		return nil, fmt.Errorf("read release %s: %w", id, explain(err, stderr.String()))
	}
	files := map[string][]byte{}
	r := tar.NewReader(&archive)
	for {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read release %s: %w", id, err)
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		content, err := io.ReadAll(r)
		if err != nil {
			return nil, fmt.Errorf("read release %s: %w", id, err)
		}
		files[strings.TrimPrefix(header.Name, "./")] = content
	}
}

// Read makes a release of the files that Fetch returned, for comparing: it can be
// started, as it is on the server, and not be uploaded.
func Read(id string, contents Contents, files map[string][]byte) *Release {
	r := &Release{ID: id, Contents: contents}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if name != manifest {
			r.Files = append(r.Files, File{Path: name, Secret: strings.Contains(name, "/secrets/"), Content: files[name]})
		}
	}
	return r
}

// Ship sends images from the engine beside the operator to the host's engine,
// as one compressed stream that never touches a disk on the way. save writes
// an archive of the named images as `docker save` does; sent is told the
// compressed bytes that went out so far.
func Ship(ctx context.Context, host Host, refs []string, save func(ctx context.Context, refs []string, w io.Writer) error, sent func(int64)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	pipe, in := io.Pipe()
	go func() {
		// BestSpeed: the images are mostly machine code, where a higher level
		// costs several times the processor for a few percent.
		z, _ := gzip.NewWriterLevel(&meter{w: in, tell: sent}, gzip.BestSpeed)
		err := save(ctx, refs, z)
		if err == nil {
			err = z.Close()
		}
		if err != nil {
			// Ends the remote engine's read as well: half an image is never loaded.
			cancel(err)
		}
		in.CloseWithError(err)
	}()
	var stderr bytes.Buffer
	err := host.Run(ctx, "docker load -q", pipe, io.Discard, &stderr)
	pipe.CloseWithError(io.ErrClosedPipe)
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("ship %d images: %w", len(refs), cause)
	}
	if err != nil {
		return fmt.Errorf("ship %d images: %w", len(refs), explain(err, stderr.String()))
	}
	return nil
}

// meter counts what passes.
type meter struct {
	w    io.Writer
	n    int64
	tell func(int64)
}

func (m *meter) Write(p []byte) (int, error) {
	n, err := m.w.Write(p)
	m.n += int64(n)
	m.tell(m.n)
	return n, err
}

// Pull lets the host's engine fetch images from their registries.
func Pull(ctx context.Context, host Host, refs []string, progress func(string)) error {
	for _, ref := range refs {
		progress("pull " + ref)
		var stderr bytes.Buffer
		if err := host.Run(ctx, "docker pull -q "+shell.Quote(ref), nil, io.Discard, &stderr); err != nil {
			return fmt.Errorf("pull %s: %w", ref, explain(err, stderr.String()))
		}
	}
	return nil
}
