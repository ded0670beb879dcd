// Package stacks decides what runs on a server and how: it renders the stacks
// that an environment declares into a release, checks the release against
// policy, and brings a server from what it runs to that release.
//
// Everything up to the release is a pure function: the same input gives the same
// bytes, and no file of a release holds a secret but those marked as such.
package stacks

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io/fs"
	"slices"
)

// A Release is one immutable rendering of all declared stacks.
type Release struct {
	ID       string    // first 12 hex digits of the hash over all files
	Files    []File    // sorted by path
	Projects []Project // in the order they are started
	Mounts   []Mount   // what containers mount of the files
}

// A File is one file of a release.
type File struct {
	Path    string      // relative to the release's folder, with "/": "supabase/compose.yml"
	Mode    fs.FileMode // 0644, or 0600 for a secret
	Secret  bool        // its content is never shown
	Content []byte
}

// A Project is one Compose project of a release.
type Project struct {
	Name     string // Compose's project name
	File     string // its Compose file, a path within the release
	Services []Service
	Networks []string // external networks that have to exist, sorted
}

// A Service is one service of a project.
type Service struct {
	Name  string
	Image string // the exact reference it runs
}

// seal sorts the files and names the release by them.
func (r *Release) seal() {
	slices.SortFunc(r.Files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	hash := sha256.New()
	part := func(p []byte) {
		// The length in front keeps two parts from looking like one other part.
		hash.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		hash.Write(p)
	}
	for _, f := range r.Files {
		part([]byte(f.Path))
		part(binary.BigEndian.AppendUint32(nil, uint32(f.Mode)))
		part(f.Content)
	}
	r.ID = hex.EncodeToString(hash.Sum(nil))[:12]
}
