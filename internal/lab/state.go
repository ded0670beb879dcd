package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/crypto/ssh"
)

// stateRoot returns the folder, which it makes, that holds a folder for each
// lab: $XDG_STATE_HOME/holdfast/lab, by default ~/.local/state/holdfast/lab.
func stateRoot() (string, error) {
	base := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(base) { // the specification has relative paths ignored
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("find the lab's state folder: %w", err)
		}
		base = filepath.Join(home, ".local", "state")
	}
	root := filepath.Join(base, "holdfast", "lab")
	if err := os.MkdirAll(root, 0o700); err != nil {
		return "", fmt.Errorf("make the lab's state folder: %w", err)
	}
	return root, nil
}

// load reads the state of a lab.
func load(name string) (*Lab, error) {
	root, err := stateRoot()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(root, name, "lab.json")
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open lab %s: %w", name, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("open lab %s: %w", name, err)
	}
	l := &Lab{}
	if err := json.Unmarshal(content, l); err != nil {
		return nil, fmt.Errorf("open lab %s: %s: %w (take the lab down and bring it up again)", name, path, err)
	}
	if l.Servers == nil {
		l.Servers = map[string]Server{}
	}
	return l, nil
}

// save writes the state, whole or not at all.
func (l *Lab) save() error {
	root, err := stateRoot()
	if err != nil {
		return err
	}
	content, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	dir := filepath.Join(root, l.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("save lab %s: %w", l.Name, err)
	}
	path := filepath.Join(dir, "lab.json")
	if err := os.WriteFile(path+".new", append(content, '\n'), 0o600); err != nil {
		return fmt.Errorf("save lab %s: %w", l.Name, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("save lab %s: %w", l.Name, err)
	}
	return nil
}

// forget removes the state of a lab, its key included.
func forget(name string) error {
	root, err := stateRoot()
	if err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(root, name))
}

// ensureKey makes the lab's login key unless it is there, and returns its
// public half as a line of authorized_keys.
func (l *Lab) ensureKey() ([]byte, error) {
	root, err := stateRoot()
	if err != nil {
		return nil, err
	}
	l.Key = filepath.Join(root, l.Name, "id_ed25519")
	if content, err := os.ReadFile(l.Key); err == nil {
		signer, err := ssh.ParsePrivateKey(content)
		if err != nil {
			return nil, fmt.Errorf("read the lab's key %s: %w", l.Key, err)
		}
		return ssh.MarshalAuthorizedKey(signer.PublicKey()), nil
	}
	private, public, err := newKey(l.Name)
	if err != nil {
		return nil, fmt.Errorf("make the lab's key: %w", err)
	}
	line := ssh.MarshalAuthorizedKey(public)
	if err := os.MkdirAll(filepath.Dir(l.Key), 0o700); err != nil {
		return nil, fmt.Errorf("make the lab's key: %w", err)
	}
	if err := os.WriteFile(l.Key, private, 0o600); err != nil {
		return nil, fmt.Errorf("make the lab's key: %w", err)
	}
	if err := os.WriteFile(l.Key+".pub", line, 0o644); err != nil {
		return nil, fmt.Errorf("make the lab's key: %w", err)
	}
	return line, nil
}

// lock keeps other processes from changing labs until unlock is called or
// this process ends. It waits for its turn as long as ctx lasts.
func lock(ctx context.Context) (unlock func(), err error) {
	root, err := stateRoot()
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(root, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the labs of this machine: %w", err)
	}
	for {
		locked, err := tryLock(file)
		if err != nil {
			file.Close()
			return nil, fmt.Errorf("lock the labs of this machine: %w", err)
		}
		if locked {
			return func() { file.Close() }, nil
		}
		select {
		case <-ctx.Done():
			file.Close()
			return nil, fmt.Errorf("wait for another process that changes a lab: %w", context.Cause(ctx))
		case <-time.After(100 * time.Millisecond):
		}
	}
}
