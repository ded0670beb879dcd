package environment

import (
	"bufio"
	"bytes"
	"crypto/rsa"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
)

// maxKeyFile is the largest public key file in bytes; one key has at most a few KiB.
const maxKeyFile = 64 << 10

// minRSA is the shortest RSA key, in bits, that may log in (BSI TR-02102-1, 3.5;
// ssh-audit flags shorter ones).
const minRSA = 3072

// Path returns the path of a file that is named relative to the folder.
func (e *Environment) Path(name string) string { return filepath.Join(e.Dir, filepath.FromSlash(name)) }

// SecretsPath is the encrypted secrets.
func (e *Environment) SecretsPath() string { return e.Path("secrets.age") }

// RecipientsPath lists who may open the secrets; see SecretRecipients.
func (e *Environment) RecipientsPath() string { return e.Path(recipientsFile) }

// BaselinePath is the user's security-baseline.yml; it need not exist.
func (e *Environment) BaselinePath() string { return e.Path("security-baseline.yml") }

// MigrationsDir holds the project's migrations, in the Supabase CLI's layout.
func (e *Environment) MigrationsDir() string { return e.Path("supabase/migrations") }

// FunctionsDir holds the project's edge functions, in the Supabase CLI's layout.
func (e *Environment) FunctionsDir() string { return e.Path("supabase/functions") }

// KnownHostsPath is the folder's own known_hosts, beside the pins in
// holdfast.yml: what was confirmed on first contact.
func (e *Environment) KnownHostsPath() string { return e.Path(".holdfast/known_hosts") }

// ReportsDir is where reports go; the folder's .gitignore leaves it out.
func (e *Environment) ReportsDir() string { return e.Path("reports") }

// SecretRecipients returns the lines of secrets.recipients, without comments:
// the public keys, of age or SSH, that secrets.age is encrypted to. Its format
// is that of `age -R`.
func (e *Environment) SecretRecipients() ([]string, error) {
	file := e.Path(recipientsFile)
	data, err := read(file, maxKeyFile)
	if err != nil {
		return nil, Errors{{File: file, Message: "can't be read: " + err.Error(),
			Hint: "it lists, one a line, the age or SSH public keys that may open secrets.age"}}
	}
	lines := keyLines(data)
	if len(lines) == 0 {
		return nil, Errors{{File: file, Message: "it names nobody", Hint: "add an age or SSH public key, one a line"}}
	}
	texts := make([]string, len(lines))
	for i, l := range lines {
		texts[i] = l.text
	}
	return texts, nil
}

// OperatorKeys reads the files under access.operators and returns their SSH
// public keys as authorized_keys lines without options, "type base64 comment",
// each key once, in the order of the files. Every error is an Errors.
//
// A private key is refused without a word of it in the error, and so are keys
// with options, certificates, DSA keys and RSA keys under 3072 bits.
func (e *Environment) OperatorKeys() ([]string, error) {
	var keys []string
	var wrong Errors
	seen := map[string]bool{}
	for i, name := range e.Access.Operators {
		path := fmt.Sprintf("access.operators[%d]", i)
		data, err := read(e.Path(name), maxKeyFile)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			wrong = append(wrong, e.ErrorAt(path, quote(name)+" does not exist", "copy the .pub file of an SSH key there"))
			continue
		case err != nil:
			wrong = append(wrong, e.ErrorAt(path, quote(name)+" can't be read: "+err.Error(), ""))
			continue
		case isPrivateKey(data):
			wrong = append(wrong, e.ErrorAt(path, quote(name)+" holds a private key",
				"name its .pub file instead; if this folder was shared, replace the key"))
			continue
		}
		lines := keyLines(data)
		if len(lines) == 0 {
			wrong = append(wrong, e.ErrorAt(path, quote(name)+" holds no key", ""))
		}
		for _, line := range lines {
			key, err := parseOperatorKey(line.text)
			if err != nil {
				wrong = append(wrong, Error{File: e.Path(name), Line: line.number, Path: path, Message: err.Error()})
				continue
			}
			if id := strings.Join(strings.Fields(key)[:2], " "); !seen[id] {
				seen[id] = true
				keys = append(keys, key)
			}
		}
	}
	if err := wrong.orNil(); err != nil {
		return nil, err
	}
	return keys, nil
}

// parseOperatorKey returns one authorized_keys line in its plainest form. Its
// errors don't repeat the line.
func parseOperatorKey(line string) (string, error) {
	if isPrivateKey([]byte(line)) {
		return "", errors.New("this is a private key, the .pub file is wanted")
	}
	key, comment, options, rest, err := ssh.ParseAuthorizedKey([]byte(line))
	switch {
	case err != nil:
		return "", errors.New(`this line is no SSH public key, such as "ssh-ed25519 AAAA… ada@laptop"`)
	case len(options) > 0:
		return "", errors.New("options in front of a key, such as from= or command=, are not supported: access.ssh-from limits where logins come from")
	case len(bytes.TrimSpace(rest)) > 0:
		return "", errors.New("there is more than one key on this line")
	}
	switch key.Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256,
		ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521:
	case ssh.KeyAlgoRSA:
		crypto, ok := key.(ssh.CryptoPublicKey)
		if !ok {
			return "", errors.New("this RSA key can't be read")
		}
		if k, ok := crypto.CryptoPublicKey().(*rsa.PublicKey); !ok || k.N.BitLen() < minRSA {
			return "", fmt.Errorf("this RSA key has less than %d bits: make a new key with `ssh-keygen -t ed25519`", minRSA)
		}
	default:
		return "", fmt.Errorf("keys of type %s may not log in: make a new key with `ssh-keygen -t ed25519`", key.Type())
	}
	text := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
	// The comment only tells people whose key it is.
	comment = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, comment)
	return strings.TrimSpace(text + " " + comment), nil
}

func isPrivateKey(data []byte) bool {
	return bytes.Contains(data, []byte("PRIVATE KEY-----")) ||
		bytes.Contains(data, []byte("AGE-SECRET-KEY-")) ||
		bytes.Contains(data, []byte("PuTTY-User-Key-File"))
}

// keyLine is a line of a key file that is neither empty nor a comment.
type keyLine struct {
	number int // from 1
	text   string
}

func keyLines(data []byte) []keyLine {
	var lines []keyLine
	scanner := bufio.NewScanner(bytes.NewReader(data))
	scanner.Buffer(nil, maxKeyFile+1)
	for number := 1; scanner.Scan(); number++ {
		if text := strings.TrimSpace(scanner.Text()); text != "" && text[0] != '#' {
			lines = append(lines, keyLine{number, text})
		}
	}
	return lines
}
