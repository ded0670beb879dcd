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

	"filippo.io/age"
	"filippo.io/age/armor"
)

// What can be wrong with opening a file of secrets.
var (
	// ErrNoIdentity: there is nothing to open it with.
	ErrNoIdentity = errors.New("no identity")
	// ErrWrongIdentity: it is encrypted to others.
	ErrWrongIdentity = errors.New("none of the identities opens it")
	// ErrDamaged: it is no age file, or was changed after it was encrypted.
	ErrDamaged = errors.New("it is damaged")
)

// maxFile is the largest encrypted file in bytes; armor adds a third.
const maxFile = 2 << 20

// Save encrypts f to the recipients and puts it at path, atomically and with
// mode 0600: at any moment the old file is there whole or the new one is. The
// file is an armored age file that `age -d` opens; inside is YAML.
func Save(path string, f *File, recipients []age.Recipient) error {
	if err := save(path, f, recipients); err != nil {
		return fmt.Errorf("write secrets to %s: %w", path, err)
	}
	return nil
}

func save(path string, f *File, recipients []age.Recipient) error {
	plain, err := marshal(f)
	if err != nil {
		return err
	}
	encrypted, err := encrypt(plain, recipients)
	if err != nil {
		return err
	}
	return replace(path, encrypted)
}

func encrypt(plain []byte, recipients []age.Recipient) ([]byte, error) {
	if len(recipients) == 0 {
		return nil, errors.New("nobody could open them: there are no recipients")
	}
	var b bytes.Buffer
	text := armor.NewWriter(&b)
	encrypted, err := age.Encrypt(text, recipients...)
	if err != nil {
		return nil, err
	}
	if _, err := encrypted.Write(plain); err != nil {
		return nil, err
	}
	if err := errors.Join(encrypted.Close(), text.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Opens returns an error unless one of the identities opens what is encrypted to
// the recipients.
func Opens(identities []age.Identity, recipients []age.Recipient) error {
	encrypted, err := encrypt([]byte(heading), recipients)
	if err != nil {
		return err
	}
	_, err = decrypt(encrypted, identities)
	return err
}

// replace writes a file beside its place and renames it there.
func replace(path string, content []byte) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), ".secrets-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	_, err = file.Write(content)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

// Load opens the file at path with the first of the identities that fits.
//
// Its errors wrap fs.ErrNotExist, ErrNoIdentity, ErrWrongIdentity or ErrDamaged,
// or say why an identity's file could not be used, and have a Hint method that
// says what to do.
func Load(path string, identities []age.Identity) (*File, error) {
	f, err := load(path, identities)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return f, nil
}

func load(path string, identities []age.Identity) (*File, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, hinted(fmt.Errorf("there are no secrets yet: %w", fs.ErrNotExist), "`holdfast init` makes them")
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if len(identities) == 0 {
		return nil, hinted(fmt.Errorf("%w to open it with", ErrNoIdentity), nameIdentity)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("it is larger than %d KiB", maxFile>>10)
	}
	plain, err := decrypt(data, identities)
	if err != nil {
		return nil, err
	}
	f, err := unmarshal(plain)
	if err != nil {
		return nil, fmt.Errorf("read the decrypted secrets: %w", err)
	}
	return f, nil
}

const restore = "put the version back that you committed last; nothing in it can be trusted"

func decrypt(data []byte, identities []age.Identity) ([]byte, error) {
	var source io.Reader = bytes.NewReader(data)
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte(armor.Header)) {
		source = armor.NewReader(source)
	}
	reader, err := age.Decrypt(source, identities...)
	var mismatch *age.NoIdentityMatchError
	var unusable *identityError
	switch {
	case errors.As(err, &mismatch):
		return nil, hinted(fmt.Errorf("%w: it was not encrypted to %s", ErrWrongIdentity, identityPaths(identities)), nameIdentity)
	case errors.As(err, &unusable):
		return nil, unusable
	case err != nil:
		// age's own words quote the file, which may be secrets in the clear.
		return nil, hinted(fmt.Errorf("%w, or is no age file", ErrDamaged), restore)
	}
	plain, err := io.ReadAll(io.LimitReader(reader, maxPlain+1))
	switch {
	case err != nil:
		return nil, hinted(fmt.Errorf("%w: it was changed or cut after it was encrypted", ErrDamaged), restore)
	case len(plain) > maxPlain:
		return nil, fmt.Errorf("its content is larger than %d KiB", maxPlain>>10)
	}
	return plain, nil
}

// identityPaths names the files that the identities came from.
func identityPaths(identities []age.Identity) string {
	var paths []string
	for _, i := range identities {
		if named, ok := i.(*identity); ok && (len(paths) == 0 || paths[len(paths)-1] != named.path) {
			paths = append(paths, named.path)
		}
	}
	if len(paths) == 0 {
		return "the identity given"
	}
	return strings.Join(paths, ", ")
}

// hint is an error that knows what to do next; internal/ui shows it.
type hint struct {
	error
	text string
}

func (h hint) Unwrap() error { return h.error }
func (h hint) Hint() string  { return h.text }

func hinted(err error, text string) error { return hint{err, text} }
