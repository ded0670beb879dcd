package transport

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"

	"holdfast/internal/shell"
)

const (
	// stagingFolder lies in the login user's home and holds one folder a run.
	stagingFolder = ".holdfast-staging"

	// maxOpenFiles bounds the files that are uploaded side by side. sftp-server
	// is limited by its file descriptors, 1024 on Debian and Ubuntu.
	maxOpenFiles = 200
)

// An Upload is one file to stage.
type Upload struct {
	Path    string    // slash-separated, relative, without ".." (io/fs.ValidPath)
	Content []byte    // what it holds
	Reader  io.Reader // instead of Content, for what should not be in memory
}

// sftp returns the connection's SFTP client, opened with the first call (3
// round trips). It takes one of the 4 sessions until the connection ends.
func (c *Conn) sftp(ctx context.Context) (*sftp.Client, error) {
	c.mu.Lock()
	client := c.files
	c.mu.Unlock()
	if client != nil {
		return client, nil
	}
	return c.openSFTP(ctx)
}

func (c *Conn) openSFTP(ctx context.Context) (*sftp.Client, error) {
	client, session, err := c.startSFTP(ctx, subsystem)
	if err != nil && !c.ended() && ctx.Err() == nil {
		// It is not set up, or what the login shell prints garbles it.
		slog.Debug("start sftp-server without the subsystem", "server", c.name, "error", err)
		var second error
		if client, session, second = c.startSFTP(ctx, program); second != nil {
			err = fmt.Errorf("open SFTP on %s: %w; check \"Subsystem sftp\" in its sshd_config (without it: %v)", c.name, err, second)
		} else {
			err = nil
		}
	}
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, fmt.Errorf("open SFTP on %s: %w", c.name, context.Cause(ctx))
	case c.ended():
		return nil, c.lost()
	default:
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.files != nil { // somebody was faster
		client.Close()
		session.Close()
		c.release(true)
		return c.files, nil
	}
	c.files = client
	go func() {
		client.Wait()
		session.Close()
		c.forget(client)
		c.release(true)
	}()
	return client, nil
}

// forget makes the next user of SFTP open a new client.
func (c *Conn) forget(client *sftp.Client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.files == client {
		c.files = nil
	}
}

// startSFTP opens a session and, in it, a client of the server that begin
// starts.
func (c *Conn) startSFTP(ctx context.Context, begin func(*ssh.Session, io.Reader) (io.Reader, error)) (*sftp.Client, *ssh.Session, error) {
	session, err := c.open(ctx, true)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { session.Close() })
	defer stop()
	client, err := func() (*sftp.Client, error) {
		stdin, err := session.StdinPipe()
		if err != nil {
			return nil, err
		}
		stdout, err := session.StdoutPipe()
		if err != nil {
			return nil, err
		}
		answers, err := begin(session, stdout)
		if err != nil {
			return nil, err
		}
		return sftp.NewClientPipe(answers, stdin,
			sftp.UseConcurrentWrites(true), sftp.UseConcurrentReads(true), sftp.MaxConcurrentRequestsPerFile(64))
	}()
	if err != nil {
		session.Close()
		c.release(true)
		return nil, nil, err
	}
	return client, session, nil
}

func subsystem(session *ssh.Session, stdout io.Reader) (io.Reader, error) {
	return stdout, session.RequestSubsystem("sftp")
}

// sftpServers are where OpenSSH's sftp-server lies: Debian and Ubuntu, Red Hat,
// Arch and SUSE, Alpine.
const sftpServers = "/usr/lib/openssh/sftp-server /usr/libexec/openssh/sftp-server /usr/lib/ssh/sftp-server /usr/libexec/sftp-server"

// program starts OpenSSH's sftp-server as a command, and skips what the login
// shell prints before it.
func program(session *ssh.Session, stdout io.Reader) (io.Reader, error) {
	mark := rand.Text()
	err := session.Start("exec sh -c " + shell.Quote("for server in "+sftpServers+
		`; do [ -x $server ] && echo `+apart(mark)+` && exec $server; done; echo there is no sftp-server`))
	if err != nil {
		return nil, errExec
	}
	lines := bufio.NewReader(stdout)
	said := ""
	for {
		line, err := lines.ReadString('\n')
		if strings.HasSuffix(strings.TrimSpace(line), mark) {
			return lines, nil
		}
		said = (said + line)[max(0, len(said)+len(line)-stderrTail):]
		if err != nil {
			return nil, fmt.Errorf("its login shell said %q", lastLines(said, 2))
		}
	}
}

// Stage uploads files into a new folder that only the login user can enter,
// and returns its absolute path; each file has mode 0600. Moving them into
// place, with owner and mode, is for a script that runs as root. On an error
// nothing is left behind that the next Unstage would not remove.
//
// Uploads are pipelined: 200 small files take about 10 round trips.
func (c *Conn) Stage(ctx context.Context, files []Upload) (dir string, err error) {
	seen := map[string]bool{}
	for _, f := range files {
		if !fs.ValidPath(f.Path) || f.Path == "." || seen[f.Path] {
			return "", fmt.Errorf("stage files on %s: %q is not a relative path, or there twice", c.name, f.Path)
		}
		seen[f.Path] = true
	}
	client, err := c.sftp(ctx)
	if err != nil {
		return "", fmt.Errorf("stage files on %s: %w", c.name, err)
	}
	// An SFTP request cannot be called back; ending the client frees all.
	stop := context.AfterFunc(ctx, func() {
		c.forget(client)
		client.Close()
	})
	defer stop()
	dir, err = stage(client, files)
	switch {
	case err == nil:
		return dir, nil
	case ctx.Err() != nil:
		return "", fmt.Errorf("stage files on %s: %w", c.name, context.Cause(ctx))
	case c.ended():
		return "", c.lost()
	}
	return "", fmt.Errorf("stage files on %s as %s: %w%s", c.name, c.user, err, diskHint(client))
}

func stage(client *sftp.Client, files []Upload) (string, error) {
	var home string
	dir := path.Join(stagingFolder, strings.ToLower(rand.Text()))
	var start errgroup.Group
	start.Go(func() (err error) {
		home, err = client.Getwd()
		return err
	})
	start.Go(func() error {
		// Nobody else may enter before anything is inside; SFTP creates folders
		// with the umask's mode.
		err := client.Chmod(stagingFolder, 0o700)
		if errors.Is(err, fs.ErrNotExist) {
			if err = client.Mkdir(stagingFolder); err == nil {
				err = client.Chmod(stagingFolder, 0o700)
			}
		}
		if err != nil {
			return fmt.Errorf("prepare ~/%s: %w", stagingFolder, err)
		}
		if err := client.Mkdir(dir); err != nil {
			return fmt.Errorf("create ~/%s: %w", dir, err)
		}
		return nil
	})
	if err := start.Wait(); err != nil {
		return "", err
	}
	for _, level := range folders(files) {
		var group errgroup.Group
		for _, folder := range level {
			group.Go(func() error {
				if err := client.Mkdir(path.Join(dir, folder)); err != nil {
					return fmt.Errorf("create folder %s: %w", folder, err)
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			return "", err
		}
	}
	var group errgroup.Group
	group.SetLimit(maxOpenFiles)
	for _, f := range files {
		group.Go(func() error {
			if err := upload(client, path.Join(dir, f.Path), f); err != nil {
				return fmt.Errorf("upload %s: %w", f.Path, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return "", err
	}
	return path.Join(home, dir), nil
}

// folders lists the folders that files lie in, the outer ones first, grouped
// by depth so that each group can be created side by side.
func folders(files []Upload) [][]string {
	var levels [][]string
	for _, f := range files {
		parts := strings.Split(path.Dir(f.Path), "/")
		for i := range parts {
			folder := strings.Join(parts[:i+1], "/")
			if folder == "." {
				continue
			}
			if i == len(levels) {
				levels = append(levels, nil)
			}
			if !slices.Contains(levels[i], folder) {
				levels[i] = append(levels[i], folder)
			}
		}
	}
	return levels
}

func upload(client *sftp.Client, name string, f Upload) error {
	file, err := client.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	source := f.Reader
	if source == nil {
		source = bytes.NewReader(f.Content)
	}
	// The mode goes along with the content; nobody else can reach the file.
	mode := make(chan error, 1)
	go func() { mode <- client.Chmod(name, 0o600) }()
	_, err = file.ReadFrom(source)
	return errors.Join(err, <-mode, file.Close())
}

// diskHint tells a full disk, which SFTP reports as a mere "Failure".
func diskHint(client *sftp.Client) string {
	stat, err := client.StatVFS(".")
	if err == nil && (stat.Bavail*stat.Frsize < 1<<20 || stat.Files > 0 && stat.Favail == 0) {
		return " (its disk is full: see df -h and df -i there)"
	}
	return ""
}

// Unstage removes a folder that Stage has returned, and those of earlier runs
// that were killed more than a day ago. It costs 2 round trips.
func (c *Conn) Unstage(ctx context.Context, dir string) error {
	parent, name := path.Split(dir)
	if path.Base(path.Clean(parent)) != stagingFolder || name == "" || name == ".." {
		return fmt.Errorf("%q is not a staging folder", dir)
	}
	err := c.Run(ctx, Command{Script: fmt.Sprintf("rm -rf -- %s\nfind %s -mindepth 1 -maxdepth 1 -mmin +1440 -exec rm -rf {} +",
		shell.Quote(dir), shell.Quote(path.Clean(parent)))})
	if err != nil {
		return fmt.Errorf("remove the staging folder of %s: %w", c.name, err)
	}
	return nil
}
