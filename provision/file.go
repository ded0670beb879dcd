package provision

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/aymanbagabas/go-udiff"

	"holdfast/internal/shell"
)

// A File is a regular file with exactly this content. Files of others are
// never edited; where a program reads a folder of files, ours is one of its own.
type File struct {
	About
	Path    string      // absolute, without blanks
	Content string      // the whole of it
	Mode    fs.FileMode // permission bits; default 0644
	Owner   string      // default root
	Group   string      // default root
	Secret  bool        // its content is shown nowhere
	// Check is a shell command that accepts the candidate, whose quoted path
	// stands for %s, before it takes the file's place.
	Check string
	// Expect is a shell command that must succeed once the file is in place and
	// before anything is reloaded.
	Expect string
	// Early: while the file is not there yet, it is written before packages are
	// installed, and so without a guard: a package starts its service under these
	// settings and not under its own. What changes in it later is guarded as About
	// says.
	Early bool
	// Actions follow once all files are in place: "daemon-reload",
	// "pam-auth-update", or "reload", "restart", "start" or "start-later" and a
	// unit; the last of these is not waited for. What others want too is done once. A unit
	// that is not there yet is left to start with the file.
	Actions []string
}

// ID is "file:" and the path.
func (f File) ID() string { return "file:" + f.Path }

func (f File) observe(w *wanted) {
	w.files = append(w.files, f.Path)
	for _, a := range f.Actions {
		if _, unit, ok := strings.Cut(a, " "); ok {
			w.units = append(w.units, unit)
		}
	}
}

// Change compares content, mode, owner and kind.
func (f File) Change(facts Facts) (Change, bool) {
	if !f.appliesTo(facts) {
		return Change{}, false
	}
	mode, owner, group := fmt.Sprintf("%04o", orElse(f.Mode, 0o644).Perm()), orElse(f.Owner, "root"), orElse(f.Group, "root")
	now, exists := facts.Files[f.Path]
	same := exists && now.Kind == "file" && string(now.Content) == f.Content
	if same && now.Mode == mode && now.Owner == owner && now.Group == group {
		return Change{}, false
	}
	c := f.About.change(f.ID())
	c.how.guarded = c.how.guarded && (exists || !f.Early)
	switch {
	case !exists:
		c.Summary = "write " + f.Path
	case now.Kind != "file":
		c.Summary = fmt.Sprintf("replace the %s %s by a file", now.Kind, f.Path)
	case same:
		c.Summary = fmt.Sprintf("give %s mode %s and owner %s:%s, not %s and %s:%s", f.Path, mode, owner, group, now.Mode, now.Owner, now.Group)
	default:
		c.Summary = "rewrite " + f.Path
	}
	if !same {
		c.Diff = diff(f.Path, now.Content, []byte(f.Content), exists, f.Secret)
	}
	c.how.phase = phaseFiles
	c.how.keep = []string{f.Path}
	c.how.script = f.script(mode, owner+":"+group)
	for _, action := range f.Actions {
		if _, unit, ok := strings.Cut(action, " "); ok && !strings.HasPrefix(action, "start") && facts.Units[unit].Load != "loaded" {
			continue
		}
		c.how.actions = append(c.how.actions, action)
	}
	return c, true
}

// script puts the file in place; see put in apply/run.sh.
func (f File) script(mode, owner string) string {
	temp := path.Join(path.Dir(f.Path), "."+path.Base(f.Path)+".holdfast")
	check := strings.ReplaceAll(f.Check, "%s", shell.Quote(temp))
	script := fmt.Sprintf("put %s %s %s %s <<'END'\n%s\nEND\n", shell.Quote(f.Path), mode, shell.Quote(owner), shell.Quote(check),
		base64.StdEncoding.EncodeToString([]byte(f.Content)))
	if f.Expect != "" {
		script += "expect " + shell.Quote(f.Expect) + "\n"
	}
	return script
}

// diff is a unified diff of a file. The content of a secret one is left out.
func diff(path string, old, content []byte, exists, secret bool) string {
	from := path
	if !exists {
		from = "/dev/null"
	}
	if !secret {
		return udiff.Unified(from, path, string(old), string(content))
	}
	before := "(nothing)\n"
	if exists {
		before = "(a secret)\n"
	}
	return udiff.Unified(from, path, before, "(another secret)\n")
}

// maxFiles bounds what is read of a server's files, in bytes.
const maxFiles = 32 << 20

// parseFiles reads a compressed tar archive in base64.
func (f *Facts) parseFiles(text string) error {
	unzipped, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(strings.TrimSpace(text))))
	if err != nil {
		return fmt.Errorf("unreadable archive: %w", err)
	}
	archive := tar.NewReader(io.LimitReader(unzipped, maxFiles))
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("unreadable archive: %w", err)
		}
		facts := FileFacts{Mode: fmt.Sprintf("%04o", header.FileInfo().Mode().Perm()), Owner: header.Uname, Group: header.Gname, Kind: "other"}
		switch header.Typeflag {
		case tar.TypeReg:
			facts.Kind = "file"
			var content bytes.Buffer
			if _, err := io.Copy(&content, archive); err != nil {
				return fmt.Errorf("unreadable archive: %w", err)
			}
			facts.Content = content.Bytes()
			sum := sha256.Sum256(facts.Content)
			facts.SHA256 = hex.EncodeToString(sum[:])
		case tar.TypeSymlink:
			facts.Kind = "link"
		case tar.TypeDir:
			facts.Kind = "folder"
		}
		f.Files["/"+strings.Trim(header.Name, "/")] = facts
	}
}

// orElse returns value, or other when value is zero.
func orElse[T comparable](value, other T) T {
	var zero T
	if value == zero {
		return other
	}
	return value
}
