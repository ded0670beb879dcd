package collect

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"holdfast/verify"
)

func readSSHD(a answers, s *verify.Server) error {
	text, err := a.ok("sshd")
	if err != nil {
		return err
	}
	s.SSHD, err = parseSSHD(text)
	return err
}

// parseSSHD reads the output of "sshd -T": a lower-case option and its value a
// line, options with several values on one line or on several. Every setting
// that rules know must be there, or the answer is not one of sshd's.
func parseSSHD(text string) (*verify.SSHD, error) {
	given := map[string][]string{}
	for line := range strings.Lines(text) {
		option, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if ok {
			given[option] = append(given[option], value)
		}
	}
	settings := &verify.SSHD{}
	into := reflect.ValueOf(settings).Elem()
	for i := range into.NumField() {
		option := into.Type().Field(i).Tag.Get("json")
		values, ok := given[option]
		if !ok && !optionalSSHD[option] {
			return nil, fmt.Errorf("sshd -T does not mention %s", option)
		}
		if err := setSetting(into.Field(i), values); err != nil {
			return nil, fmt.Errorf("sshd -T: %s: %w", option, err)
		}
	}
	return settings, nil
}

// optionalSSHD are options that sshd prints only when they are set, or that
// are left out of some builds.
var optionalSSHD = map[string]bool{
	"allowusers": true, "allowgroups": true, "permitopen": true, "gssapiauthentication": true,
	"hostkeyalgorithms": true,
}

func setSetting(field reflect.Value, values []string) error {
	switch field.Kind() {
	case reflect.String:
		if len(values) > 0 {
			field.SetString(values[0]) // the first value counts, as in sshd itself
		}
	case reflect.Int:
		n, err := strconv.Atoi(values[0])
		if err != nil {
			return err
		}
		field.SetInt(int64(n))
	case reflect.Slice:
		items := reflect.MakeSlice(field.Type(), 0, len(values))
		for _, value := range values {
			for _, item := range strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' }) {
				if field.Type().Elem().Kind() == reflect.String {
					items = reflect.Append(items, reflect.ValueOf(item))
					continue
				}
				n, err := strconv.Atoi(item)
				if err != nil {
					return err
				}
				items = reflect.Append(items, reflect.ValueOf(n))
			}
		}
		field.Set(items)
	}
	return nil
}

func readHostKeys(a answers, s *verify.Server) error {
	text, err := a.ok("hostkeys")
	if err != nil {
		return err
	}
	moduli, err := a.ok("moduli")
	if err != nil {
		return err
	}
	keys := []verify.HostKey{}
	for line := range strings.Lines(text) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(fields) != 4 {
			return fmt.Errorf("unreadable host key line %q", line)
		}
		key, ok := parseFingerprint(fields[3])
		if !ok {
			return fmt.Errorf("ssh-keygen described %s as %q", fields[0], fields[3])
		}
		keys = append(keys, verify.HostKey{
			Path: fields[0], Mode: octal(fields[1]), Owner: fields[2],
			Type: key.kind, Bits: key.bits, Fingerprint: key.fingerprint,
		})
	}
	if len(keys) == 0 {
		return errors.New("sshd offers no host key that exists")
	}
	smallest := 0
	if moduli = strings.TrimSpace(moduli); moduli != "" {
		if smallest, err = strconv.Atoi(moduli); err != nil || smallest <= 0 {
			return fmt.Errorf("unreadable size of a group in moduli: %q", moduli)
		}
	}
	s.HostKeys = &verify.HostKeys{Keys: keys, SmallestGroup: smallest}
	return nil
}

// A fingerprint is one line of "ssh-keygen -l".
type fingerprint struct {
	bits        int
	fingerprint string
	kind        string // "RSA", "ED25519", …
}

var fingerprintLine = regexp.MustCompile(`^([0-9]{1,6}) (SHA256:[A-Za-z0-9+/]+) .*\(([A-Z0-9-]+)\)\s*$`)

func parseFingerprint(line string) (fingerprint, bool) {
	m := fingerprintLine.FindStringSubmatch(line)
	if m == nil {
		return fingerprint{}, false
	}
	bits, _ := strconv.Atoi(m[1])
	return fingerprint{bits: bits, fingerprint: m[2], kind: m[3]}, true
}

// weak reports whether a key is of a kind that is no longer accepted: DSA, and
// RSA below 3072 bits (NIST SP 800-57 part 1, 128-bit strength).
func (f fingerprint) weak() bool {
	return f.kind == "DSA" || f.kind == "RSA" && f.bits < 3072
}

func readKeys(a answers, s *verify.Server) error {
	text, err := a.ok("keys")
	if err != nil {
		return err
	}
	s.Keys, err = parseKeys(text)
	return err
}

// parseKeys reads what the keys probe prints: a line for each file, followed
// by one for each key in it.
func parseKeys(text string) (*verify.Keys, error) {
	keys := &verify.Keys{Authorized: []verify.AuthorizedKeys{}, Private: []verify.PrivateKey{}}
	known := map[string]bool{}
	var current *verify.AuthorizedKeys
	for line := range strings.Lines(text) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		switch {
		case fields[0] == "authorized" && len(fields) == 5:
			file := verify.AuthorizedKeys{
				User: fields[1], Mode: octal(fields[2]), Owner: fields[3], Path: fields[4],
				Fingerprints: []string{}, Weak: []string{},
			}
			current = &file
			if !known[file.Path+"\t"+file.User] {
				known[file.Path+"\t"+file.User] = true
				keys.Authorized = append(keys.Authorized, file)
				current = &keys.Authorized[len(keys.Authorized)-1]
			}
		case fields[0] == "key" && current != nil:
			key, ok := parseFingerprint(strings.Join(fields[1:], " "))
			if !ok {
				return nil, fmt.Errorf("ssh-keygen described a key in %s as %q", current.Path, line)
			}
			current.Fingerprints = append(current.Fingerprints, key.fingerprint)
			if key.weak() {
				current.Weak = append(current.Weak, key.fingerprint)
			}
		case fields[0] == "private" && len(fields) == 3:
			if !known[fields[2]] {
				known[fields[2]] = true
				keys.Private = append(keys.Private, verify.PrivateKey{Mode: octal(fields[1]), Path: fields[2]})
			}
		default:
			return nil, fmt.Errorf("unreadable line %q", line)
		}
	}
	return keys, nil
}

// octal pads a mode as stat prints it to four digits.
func octal(mode string) string {
	for len(mode) < 4 {
		mode = "0" + mode
	}
	return mode
}
