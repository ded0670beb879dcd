package secrets

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
	"golang.org/x/crypto/ssh"
)

const nameIdentity = "name the age identity or SSH private key that opens it with --identity or HOLDFAST_IDENTITY"

// maxIdentity is the largest identity file in bytes.
const maxIdentity = 1 << 20

// Recipients reads public keys: age's own ("age1…"), and SSH keys of the types
// ssh-ed25519 and ssh-rsa as in a .pub file. Empty lines and lines that start
// with "#" are passed over. A private key among them is refused without
// repeating it.
func Recipients(lines []string) ([]age.Recipient, error) {
	var recipients []age.Recipient
	for i, line := range lines {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		recipient, err := parseRecipient(line)
		if err != nil {
			return nil, fmt.Errorf("read recipient %d of %d: %w", i+1, len(lines), err)
		}
		recipients = append(recipients, recipient)
	}
	if len(recipients) == 0 {
		return nil, errors.New("read recipients: there are none, so that nobody could open the secrets")
	}
	return recipients, nil
}

// parseRecipient reads one public key; its errors don't repeat the line, which
// may be a private key in the wrong place.
func parseRecipient(line string) (age.Recipient, error) {
	var recipient age.Recipient
	var err error
	switch {
	case strings.Contains(strings.ToUpper(line), "AGE-SECRET-KEY-") || strings.Contains(line, "PRIVATE KEY-----"):
		return nil, errors.New("it is a private key; the public half is wanted")
	case strings.HasPrefix(line, "age1pq1"):
		recipient, err = age.ParseHybridRecipient(line)
	case strings.HasPrefix(line, "age1"):
		recipient, err = age.ParseX25519Recipient(line)
	case strings.HasPrefix(line, "ssh-ed25519 "), strings.HasPrefix(line, "ssh-rsa "):
		recipient, err = agessh.ParseRecipient(line)
	case strings.HasPrefix(line, "ssh-"), strings.HasPrefix(line, "ecdsa-"), strings.HasPrefix(line, "sk-"):
		keyType, _, _ := strings.Cut(line, " ")
		return nil, fmt.Errorf("age can't encrypt to SSH keys of the type %.40q, only to ssh-ed25519 and ssh-rsa", keyType)
	default:
		return nil, errors.New(`it is neither an age public key ("age1…") nor an SSH one ("ssh-ed25519 …")`)
	}
	if err != nil {
		return nil, errors.New("it is torn or mistyped: its form is that of a public key, its content is not")
	}
	return recipient, nil
}

// NewIdentity makes an age identity at path, with mode 0600 and in the form of
// age-keygen, and returns its recipient, "age1…". An identity that is there
// already is kept, and its recipient returned: a run that was cut off finds the
// key it made.
func NewIdentity(path string) (recipient string, err error) {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		return "", fmt.Errorf("make an age identity: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("write an age identity: %w", err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return recipientOf(path)
	}
	if err != nil {
		return "", fmt.Errorf("write an age identity: %w", err)
	}
	_, err = fmt.Fprintf(file, "# created: %s\n# public key: %s\n%s\n", time.Now().Format(time.RFC3339), key.Recipient(), key)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return "", errors.Join(fmt.Errorf("write an age identity: %w", err), os.Remove(path))
	}
	return key.Recipient().String(), nil
}

// recipientOf returns the recipient of the first age identity in a file.
func recipientOf(path string) (string, error) {
	found, err := readIdentities(path, nil)
	if err != nil {
		return "", fmt.Errorf("keep the age identity %s: it %w", path, err)
	}
	key, ok := found[0].(*age.X25519Identity)
	if !ok {
		return "", fmt.Errorf("keep the age identity %s: it is a key of another kind", path)
	}
	return key.Recipient().String(), nil
}

// An identity is an age identity that knows the file it came from.
type identity struct {
	age.Identity
	path   string
	locked bool // needs a passphrase
}

func (i *identity) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	key, err := i.Identity.Unwrap(stanzas)
	if i.locked && err != nil && !errors.Is(err, age.ErrIncorrectIdentity) {
		return nil, &identityError{i.path, err}
	}
	return key, err
}

// An identityError is an identity that fits but can't be used, such as for a
// wrong passphrase.
type identityError struct {
	path string
	err  error
}

func (e *identityError) Error() string { return fmt.Sprintf("use identity %s: %v", e.path, e.err) }
func (e *identityError) Unwrap() error { return e.err }

// Identities reads private keys: files of age identities as age-keygen writes
// them, such files encrypted with a passphrase (age -p), and SSH private keys of
// the types ed25519 and RSA. Keys that need a passphrase come last and ask for it
// when no other fits, an SSH key only when the file to open is encrypted to it.
// passphrase is given the path of the key, and may be nil when nobody can be asked.
//
// Paths without a file, and keys of other types, are passed over as long as one
// can be used; when none can, the error wraps ErrNoIdentity and says of each
// path why.
func Identities(paths []string, passphrase func(path string) ([]byte, error)) ([]age.Identity, error) {
	var identities, locked []age.Identity
	var reasons []string
	for _, path := range paths {
		found, err := readIdentities(path, passphrase)
		if err != nil {
			reasons = append(reasons, path+" "+err.Error())
			continue
		}
		for _, i := range found {
			named := &identity{Identity: i, path: path}
			switch i.(type) {
			case *agessh.EncryptedSSHIdentity, *lockedIdentities:
				named.locked = true
				locked = append(locked, named)
			default:
				identities = append(identities, named)
			}
		}
	}
	identities = append(identities, locked...)
	if len(identities) == 0 {
		tried := "none was named or found in the usual places"
		if len(reasons) > 0 {
			tried = "tried " + strings.Join(reasons, "; ")
		}
		return nil, hinted(fmt.Errorf("%w to open the secrets with: %s", ErrNoIdentity, tried), nameIdentity)
	}
	return identities, nil
}

// readIdentities reads one file; its errors complete "PATH …" and never repeat
// the file's content.
func readIdentities(path string, passphrase func(string) ([]byte, error)) ([]age.Identity, error) {
	ask := func() ([]byte, error) {
		if passphrase == nil {
			return nil, errors.New("it needs a passphrase, and nobody can be asked")
		}
		return passphrase(path)
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("does not exist")
	}
	if err != nil {
		return nil, fmt.Errorf("can't be read: %w", errors.Unwrap(err))
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxIdentity+1))
	if err != nil {
		return nil, fmt.Errorf("can't be read: %w", err)
	}
	switch {
	case len(data) > maxIdentity:
		return nil, errors.New("is too large for a key")
	case bytes.HasPrefix(data, []byte(armor.Header)), bytes.HasPrefix(data, []byte("age-encryption.org/")):
		return []age.Identity{&lockedIdentities{data: data, passphrase: ask}}, nil
	case bytes.Contains(data, []byte("-----BEGIN")):
		key, err := parseSSHKey(path, data, ask)
		if err != nil {
			return nil, err
		}
		return []age.Identity{key}, nil
	}
	identities, err := age.ParseIdentities(bytes.NewReader(data))
	if err != nil {
		if _, _, _, _, err := ssh.ParseAuthorizedKey(data); err == nil {
			return nil, errors.New("is a public key; its private half is wanted")
		}
		return nil, errors.New("is neither an age identity nor an SSH private key")
	}
	return identities, nil
}

func parseSSHKey(path string, data []byte, ask func() ([]byte, error)) (age.Identity, error) {
	key, err := agessh.ParseIdentity(data)
	var locked *ssh.PassphraseMissingError
	switch {
	case err == nil:
		return key, nil
	case !errors.As(err, &locked):
		return nil, errors.New("is no SSH private key that age can use: it takes ed25519 and RSA")
	}
	public := locked.PublicKey
	if public == nil {
		// Only OpenSSH's own format holds the public key in the clear.
		line, err := os.ReadFile(path + ".pub")
		if err != nil {
			return nil, errors.New("is encrypted, and its public key is not beside it as .pub")
		}
		if public, _, _, _, err = ssh.ParseAuthorizedKey(line); err != nil {
			return nil, errors.New("is encrypted, and the .pub beside it is no public key")
		}
	}
	encrypted, err := agessh.NewEncryptedSSHIdentity(public, data, ask)
	if err != nil {
		return nil, errors.New("is no SSH private key that age can use: it takes ed25519 and RSA")
	}
	return encrypted, nil
}

// lockedIdentities is a file of age identities that is itself encrypted with a
// passphrase; it is opened when it is first needed.
type lockedIdentities struct {
	data       []byte
	passphrase func() ([]byte, error)
	opened     []age.Identity
}

func (l *lockedIdentities) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	if l.opened == nil {
		if err := l.open(); err != nil {
			return nil, err
		}
	}
	for _, i := range l.opened {
		key, err := i.Unwrap(stanzas)
		if !errors.Is(err, age.ErrIncorrectIdentity) {
			return key, err
		}
	}
	return nil, age.ErrIncorrectIdentity
}

func (l *lockedIdentities) open() error {
	word, err := l.passphrase()
	if err != nil {
		return err
	}
	scrypt, err := age.NewScryptIdentity(string(word))
	if err != nil {
		return errors.New("the passphrase is empty")
	}
	var source io.Reader = bytes.NewReader(l.data)
	if bytes.HasPrefix(l.data, []byte(armor.Header)) {
		source = armor.NewReader(source)
	}
	reader, err := age.Decrypt(source, scrypt)
	var mismatch *age.NoIdentityMatchError
	if errors.As(err, &mismatch) {
		return errors.New("the passphrase is wrong, or the file is not encrypted with one")
	}
	if err != nil {
		return errors.New("the file is damaged")
	}
	if l.opened, err = age.ParseIdentities(io.LimitReader(reader, maxIdentity)); err != nil {
		return errors.New("there is no age identity in it")
	}
	return nil
}
