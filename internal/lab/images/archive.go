package images

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"
)

// A layer is a tar file on disk, with the digest of its bytes.
type layer struct {
	path   string
	digest string // "sha256:…"
}

// An image is layers and the JSON that says how to run them. Its ID is the
// digest of that JSON (Docker Image Specification v1.2).
type image struct {
	name   string
	config []byte
	layers []layer
}

func (i image) id() string { return fmt.Sprintf("%x", sha256.Sum256(i.config)) }

func (i image) ref() string { return repository + i.name + ":sha256-" + i.id() }

func newImage(r recipe, layers ...layer) (image, error) {
	type rootfs struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	}
	type history struct {
		Created   time.Time `json:"created"`
		CreatedBy string    `json:"created_by"`
	}
	content := struct {
		Architecture string    `json:"architecture"`
		OS           string    `json:"os"`
		Created      time.Time `json:"created"` // fixed: equal content, equal ID
		Config       settings  `json:"config"`
		RootFS       rootfs    `json:"rootfs"`
		History      []history `json:"history"`
	}{Architecture: runtime.GOARCH, OS: "linux", Created: time.Unix(0, 0).UTC(), Config: r.settings, RootFS: rootfs{Type: "layers"}}
	for _, l := range layers {
		content.RootFS.DiffIDs = append(content.RootFS.DiffIDs, l.digest)
		content.History = append(content.History, history{content.Created, "holdfast lab"})
	}
	config, err := json.Marshal(content)
	return image{r.name, config, layers}, err
}

// WriteArchive writes images in the form that "docker load" reads; a layer
// that several share is in it once.
func writeArchive(w io.Writer, images []image) error {
	type entry struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	t := tar.NewWriter(w)
	var manifest []entry
	written := map[string]bool{}
	for _, i := range images {
		e := entry{Config: i.id() + ".json", RepoTags: []string{i.ref()}}
		for _, l := range i.layers {
			name := l.digest[len("sha256:"):] + "/layer.tar"
			e.Layers = append(e.Layers, name)
			if written[name] {
				continue
			}
			written[name] = true
			if err := writeLayer(t, name, l); err != nil {
				return err
			}
		}
		if err := writeFile(t, e.Config, i.config); err != nil {
			return err
		}
		manifest = append(manifest, e)
	}
	content, err := json.Marshal(manifest)
	if err != nil {
		return err
	}
	if err := writeFile(t, "manifest.json", content); err != nil {
		return err
	}
	return t.Close()
}

func writeLayer(t *tar.Writer, name string, l layer) error {
	f, err := os.Open(l.path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: info.Size()}); err != nil {
		return err
	}
	_, err = io.Copy(t, f)
	return err
}

func writeFile(t *tar.Writer, name string, content []byte) error {
	if err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
		return err
	}
	_, err := t.Write(content)
	return err
}

// A node is one entry of a layer: a folder (path ends in "/"), a link (to is
// set) or a file. Owner and group are numbers; times are fixed.
type node struct {
	path     string
	mode     int64 // default 0755
	uid, gid int
	to       string
	content  []byte
}

// PackLayer makes the bytes of a layer.
func packLayer(nodes []node) ([]byte, error) {
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	for _, n := range withParents(nodes) {
		h := &tar.Header{Name: n.path, Mode: n.mode, Uid: n.uid, Gid: n.gid, Size: int64(len(n.content)), ModTime: time.Unix(0, 0), Typeflag: tar.TypeReg}
		if n.mode == 0 {
			h.Mode = 0o755
		}
		switch {
		case n.to != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, n.to
		case n.path[len(n.path)-1] == '/':
			h.Typeflag = tar.TypeDir
		}
		if err := t.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("%s: %w", n.path, err)
		}
		if _, err := t.Write(n.content); err != nil {
			return nil, fmt.Errorf("%s: %w", n.path, err)
		}
	}
	err := t.Close()
	return b.Bytes(), err
}

// WithParents adds the folders above each node, which the engine would make
// unreadable for anyone but root.
func withParents(nodes []node) []node {
	seen := map[string]bool{}
	var out []node
	for _, n := range nodes {
		for i, c := range n.path[:len(n.path)-1] {
			if parent := n.path[:i+1]; c == '/' && !seen[parent] {
				seen[parent] = true
				out = append(out, node{path: parent})
			}
		}
		if !seen[n.path] {
			seen[n.path] = true
			out = append(out, n)
		}
	}
	return out
}
