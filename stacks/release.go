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
	"encoding/json"
	"io/fs"
	"slices"
)

// A Release is one immutable rendering of all declared stacks.
type Release struct {
	ID    string // first 12 hex digits of the hash over all files
	Files []File // sorted by path; none when the release was read back from a server
	Contents
}

// contentsFile is the file of a release that holds its Contents.
const contentsFile = "release.json"

// Contents is what a release says of itself: enough to start it again on a server
// that has its folder, without the environment it was rendered from.
type Contents struct {
	Sets     map[string]ReleasedSet `json:"sets"`     // by stack
	Projects []Project              `json:"projects"` // in the order they are started
	Mounts   []Mount                `json:"mounts"`   // what containers mount of the files
}

// A ReleasedSet is the catalog set that a stack of a release was made of.
type ReleasedSet struct {
	Name       string `json:"set"`
	PostgreSQL int    `json:"postgresql,omitempty"` // the major version of its database; 0 where it has none
}

// Images returns the references that the release's services run, each once, in
// order of use.
func (c Contents) Images() []string {
	var refs []string
	for _, project := range c.Projects {
		for _, service := range project.Services {
			if !slices.Contains(refs, service.Image) {
				refs = append(refs, service.Image)
			}
		}
	}
	return refs
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
	Name     string    `json:"name"` // Compose's project name
	File     string    `json:"file"` // its Compose file, a path within the release
	Services []Service `json:"services"`
	Networks []string  `json:"networks,omitempty"` // external networks that have to exist, sorted
}

// A Service is one service of a project.
type Service struct {
	Name  string `json:"name"`
	Image string `json:"image"` // the exact reference it runs
	// StartFirst: a changed container is started and healthy before the one it
	// replaces is stopped (deploy.update_config.order in the Compose file).
	StartFirst bool `json:"start_first,omitempty"`
}

// seal writes down what the release is made of, sorts the files and names the
// release by them.
func (r *Release) seal() error {
	contents, err := json.MarshalIndent(r.Contents, "", "  ")
	if err != nil {
		return err
	}
	r.Files = append(r.Files, File{Path: contentsFile, Mode: 0o644, Content: append(contents, '\n')})
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
	return nil
}
