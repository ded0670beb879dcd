package transport

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

// knownKeys is what a set of known_hosts files says, as of one moment; each
// connection reads them anew, because the library's view is a snapshot.
type knownKeys struct {
	db    *knownhosts.HostKeyDB // nil when there is no file
	names map[string]string     // cleaned copy to the file it stands for
}

// A knownKey is one line that matches a host.
type knownKey struct {
	key       ssh.PublicKey
	authority bool // @cert-authority
	file      string
	line      int
}

// readKnownHosts reads the files that exist. A line that cannot be parsed is
// skipped, as OpenSSH does; the library would give up the whole file.
func readKnownHosts(files []string) (*knownKeys, error) {
	known := &knownKeys{names: map[string]string{}}
	var names []string
	for _, name := range files {
		name = expandHome(name)
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the known host keys: %w", err)
		}
		f.Close()
		names = append(names, name)
	}
	if len(names) == 0 {
		return known, nil
	}
	var err error
	if known.db, err = knownhosts.NewDB(names...); err == nil {
		return known, nil
	}
	for i, name := range names {
		if _, err := knownhosts.NewDB(name); err == nil {
			continue
		}
		copied, err := cleanKnownHosts(name)
		if err != nil {
			return nil, fmt.Errorf("read the known host keys: %w", err)
		}
		defer os.Remove(copied)
		known.names[copied], names[i] = name, copied
	}
	if known.db, err = knownhosts.NewDB(names...); err != nil {
		return nil, fmt.Errorf("read the known host keys: %w", err)
	}
	return known, nil
}

// cleanKnownHosts writes a temporary copy of a known_hosts file in which the
// lines that the library refuses are blank, so that line numbers stay what
// they were. It tries each line on the library, which alone knows.
func cleanKnownHosts(name string) (copied string, err error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp("", "known_hosts-")
	if err != nil {
		return "", err
	}
	defer f.Close()
	write := func(data []byte) error {
		if err := f.Truncate(0); err != nil {
			return err
		}
		_, err := f.WriteAt(data, 0)
		return err
	}
	lines := bytes.Split(data, []byte("\n"))
	for i, line := range lines {
		if err = write(line); err != nil {
			break
		}
		if _, bad := knownhosts.NewDB(f.Name()); bad != nil {
			slog.Warn("skip a line of known_hosts that cannot be read", "file", name, "line", i+1)
			lines[i] = nil
		}
	}
	if err == nil {
		err = write(bytes.Join(lines, []byte("\n")))
	}
	if err != nil {
		os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}

// placeholder is an address for a library that wants one and is not to use it:
// hosts are looked up by the name that was dialled.
var placeholder = &net.TCPAddr{IP: net.IPv4zero}

// check returns nil for a key known for addr ("host:port"), a *KeyError for an
// unknown host (no Want) or another key, a *RevokedError, or what is wrong
// with a certificate.
func (k *knownKeys) check(addr string, key ssh.PublicKey) error {
	if k.db == nil {
		return &xknownhosts.KeyError{}
	}
	return k.db.HostKeyCallback()(addr, placeholder, key)
}

// of lists the lines that match addr, by file and line.
func (k *knownKeys) of(addr string) []knownKey {
	var mismatch *xknownhosts.KeyError
	if !errors.As(k.check(addr, noKey{}), &mismatch) {
		return nil
	}
	lines := mismatch.Want
	slices.SortFunc(lines, func(a, b xknownhosts.KnownKey) int {
		return cmp.Or(strings.Compare(a.Filename, b.Filename), a.Line-b.Line)
	})
	var authorities []string
	for _, key := range k.hostKeys(addr) {
		if key.Cert {
			authorities = append(authorities, string(key.Marshal()))
		}
	}
	var keys []knownKey
	for _, l := range lines {
		keys = append(keys, knownKey{
			key: l.Key, file: k.file(l.Filename), line: l.Line,
			authority: slices.Contains(authorities, string(l.Key.Marshal())),
		})
	}
	return keys
}

func (k *knownKeys) hostKeys(addr string) []knownhosts.PublicKey {
	if k.db == nil {
		return nil
	}
	return k.db.HostKeys(addr)
}

func (k *knownKeys) file(name string) string {
	if original, ok := k.names[name]; ok {
		return original
	}
	return name
}

func (k *knownKeys) place(key xknownhosts.KnownKey) string {
	return fmt.Sprintf("%s:%d", k.file(key.Filename), key.Line)
}

// noKey is a key that no file holds.
type noKey struct{}

func (noKey) Type() string                            { return "none" }
func (noKey) Marshal() []byte                         { return []byte("none") }
func (noKey) Verify(_ []byte, _ *ssh.Signature) error { return errors.New("no key") }

// recording keeps connections that are made side by side from losing each
// other's lines.
var recording sync.Mutex

// record adds a host's key to a known_hosts file, creating it and its folder.
// The file is replaced as a whole, mode 0600, so that a reader never sees half
// a line. A line that is there already is not added again.
func record(file, host string, key ssh.PublicKey) error {
	recording.Lock()
	defer recording.Unlock()
	file = expandHome(file)
	if target, err := filepath.EvalSymlinks(file); err == nil {
		file = target
	}
	data, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	line := []byte(knownhosts.Line([]string{host}, key))
	for present := range bytes.Lines(data) {
		if bytes.Equal(bytes.TrimSpace(present), line) {
			return nil
		}
	}
	if len(data) > 0 && data[len(data)-1] != '\n' {
		data = append(data, '\n')
	}
	data = append(append(data, line...), '\n')
	folder := filepath.Dir(file)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(folder, ".known_hosts-") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
