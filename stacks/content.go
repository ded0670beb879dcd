package stacks

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"

	"holdfast/internal/shell"
)

// contentRoot is where a server keeps what containers mount, by its content.
// Compose recreates a container whose mount has another path: were it one in
// the release's folder, each new release would recreate each such container.
const contentRoot = Root + "/content"

// A Mount is a file or folder of a release that containers mount.
type Mount struct {
	Path string `json:"path"` // within the release, as in "supabase/functions"
	Hash string `json:"hash"` // of its content; with Path's last element it names it under contentRoot
}

// target is the mount's path on a server.
func (m Mount) target() string { return contentRoot + "/" + m.Hash + "/" + path.Base(m.Path) }

// mount notes that a file or folder of the release is mounted and returns its
// path on the server.
func (r *rendering) mount(name string) (string, error) {
	sum := sha256.New()
	var found []File
	for _, f := range r.files {
		if f.Path == name || strings.HasPrefix(f.Path, name+"/") {
			found = append(found, f)
		}
	}
	if len(found) == 0 {
		return "", fmt.Errorf("%s is mounted and is no file of the release", name)
	}
	slices.SortFunc(found, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	for _, f := range found {
		fmt.Fprintf(sum, "%s %o %x\n", f.Path, f.Mode, sha256.Sum256(f.Content))
	}
	m := Mount{Path: name, Hash: hex.EncodeToString(sum.Sum(nil))[:16]}
	if !slices.Contains(r.mounts, m) {
		r.mounts = append(r.mounts, m)
	}
	return m.target(), nil
}

// keepContent is the part of the upload that puts what is mounted where it is
// found by its content. The files are the release's own, by hard links: mending
// the release's folder mends what is mounted.
func keepContent(mounts []Mount) string {
	var b strings.Builder
	b.WriteString("mkdir -p " + contentRoot + "\nkeep() {\n" +
		"  [ ! -e " + contentRoot + `/"$1" ] || return 0` + "\n" +
		`  rm -rf ` + contentRoot + `/".$1.new"` + "\n" +
		`  mkdir ` + contentRoot + `/".$1.new"` + "\n" +
		`  cp -al "$root/releases/$id/$2" ` + contentRoot + `/".$1.new/"` + "\n" +
		`  mv ` + contentRoot + `/".$1.new" ` + contentRoot + `/"$1"` + "\n}\n")
	for _, m := range mounts {
		fmt.Fprintf(&b, "keep %s %s\n", shell.Quote(m.Hash), shell.Quote(m.Path))
	}
	return b.String()
}
