package transport

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"holdfast/internal/shell"
)

// plainAlgorithms are asked for where nothing is known of a host, best first.
var plainAlgorithms = []string{
	ssh.KeyAlgoED25519,
	ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
	ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
}

var certAlgorithms = []string{
	ssh.CertAlgoED25519v01,
	ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01,
	ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01,
	ssh.CertAlgoSKED25519v01, ssh.CertAlgoSKECDSA256v01,
}

// parsePin checks a pinned fingerprint and returns it as ssh prints them.
func parsePin(pin string) (string, error) {
	if pin == "" {
		return "", nil
	}
	encoded, ok := strings.CutPrefix(pin, "SHA256:")
	encoded = strings.TrimRight(encoded, "=")
	sum, err := base64.RawStdEncoding.DecodeString(encoded)
	// The decoder overlooks line breaks and spare bits.
	if !ok || err != nil || len(sum) != 32 || base64.RawStdEncoding.EncodeToString(sum) != encoded {
		return "", fmt.Errorf(`the pinned host key %q is not of the form "SHA256:" and 43 characters, as "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub" prints it on the server`, pin)
	}
	return "SHA256:" + encoded, nil
}

// A hostCheck decides about the host key of one hop. A pin says nothing of the
// key's type, and a server proves one key a connection; so under a pin the
// type it was recorded with, else ed25519, is asked for first, and while the
// offered key is not the pinned one, the connection is made anew without the
// types already seen, until the server has no other.
type hostCheck struct {
	hop    hop
	known  *knownKeys
	accept func(host, keyType, fingerprint string) bool
	ask    func(func())
	record string // file that accepted keys are written to, or ""

	seen     []ssh.PublicKey // offered under a pin, none the pinned one
	accepted ssh.PublicKey
	err      error // why the offered key was refused
}

func (c *hostCheck) host() string { return knownhosts.Normalize(c.hop.keyName()) }

// algorithms are the host key algorithms to negotiate, so that the server
// shows the key that is known and not another one it also has.
func (c *hostCheck) algorithms() []string {
	wanted := c.known.of(c.hop.keyName())
	if c.hop.pin != "" {
		return c.pinnedAlgorithms(wanted)
	}
	if len(wanted) == 0 {
		return plainAlgorithms
	}
	var algorithms []string
	certified := false
	for _, k := range wanted {
		if k.authority {
			certified = true
			continue
		}
		algorithms = append(algorithms, algorithmsOf(k.key)...)
	}
	if certified {
		// The certificate's type is the host key's, not the authority's.
		algorithms = append(slices.Clone(certAlgorithms), algorithms...)
	}
	return algorithms
}

func (c *hostCheck) pinnedAlgorithms(wanted []knownKey) []string {
	var first []string
	for _, k := range wanted {
		if ssh.FingerprintSHA256(k.key) == c.hop.pin {
			first = algorithmsOf(k.key)
		}
	}
	algorithms := slices.Clone(first)
	for _, a := range plainAlgorithms {
		if !slices.Contains(first, a) {
			algorithms = append(algorithms, a)
		}
	}
	for _, seen := range c.seen {
		algorithms = slices.DeleteFunc(algorithms, func(a string) bool { return slices.Contains(algorithmsOf(seen), a) })
	}
	return algorithms
}

// algorithmsOf are the signature algorithms for a key's type; none for what is
// not safe to use (DSA, and RSA with SHA-1).
func algorithmsOf(key ssh.PublicKey) []string {
	switch kind := key.Type(); {
	case kind == ssh.KeyAlgoRSA:
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	case slices.Contains(plainAlgorithms, kind), kind == ssh.KeyAlgoSKED25519, kind == ssh.KeyAlgoSKECDSA256:
		return []string{kind}
	}
	return nil
}

// verify is the ssh.HostKeyCallback. The handshake calls it after the server
// has proved to own key.
func (c *hostCheck) verify(_ string, _ net.Addr, key ssh.PublicKey) error {
	c.err = c.judge(key)
	if c.err == nil {
		c.accepted = key
	}
	return c.err
}

func (c *hostCheck) judge(key ssh.PublicKey) error {
	err := c.known.check(c.hop.keyName(), key)
	var revoked *xknownhosts.RevokedError
	if errors.As(err, &revoked) {
		return c.refuse(err, "its host key %s is revoked by %s; connect only when the owner of that line says so", show(key), c.known.place(revoked.Revoked))
	}
	if c.hop.pin != "" {
		return c.comparePin(key)
	}
	var mismatch *xknownhosts.KeyError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &mismatch) && len(mismatch.Want) == 0:
		return c.newcomer(key)
	case errors.As(err, &mismatch):
		return c.changed(key)
	}
	return c.refuse(err, "its host certificate is not valid: %v; have it signed anew, or pin the host key", err)
}

func (c *hostCheck) comparePin(key ssh.PublicKey) error {
	if ssh.FingerprintSHA256(key) != c.hop.pin {
		c.seen = append(c.seen, key)
		return c.pinMismatch(errPinMismatch)
	}
	if len(c.seen) == 0 || c.record == "" {
		return nil
	}
	// Record the type, so that the next connection asks for it at once.
	if err := record(c.record, c.host(), key); err != nil {
		return fmt.Errorf("record the host key of %s: %w", c.hop.name, err)
	}
	return nil
}

// retry reports whether another connection, asking for other types, could
// still meet the pinned key.
func (c *hostCheck) retry() bool {
	return errors.Is(c.err, errPinMismatch) && len(c.algorithms()) > 0
}

var errPinMismatch = errors.New("not the pinned key")

func (c *hostCheck) pinMismatch(cause error) error {
	var offered []string
	for _, k := range c.seen {
		offered = append(offered, show(k))
	}
	return c.refuse(cause, "its host key is not the pinned one: expected %s (pinned as host-key), the server offered %s. "+
		"Either the server was reinstalled or someone is in between. On the server's own console compare with %q; only if it matches, pin the new fingerprint",
		c.hop.pin, strings.Join(offered, " and "), keygenCommand(c.seen[0]))
}

// negotiation explains that the server has no key of a type that is known.
func (c *hostCheck) negotiation(err *ssh.AlgorithmNegotiationError) error {
	if c.hop.pin != "" && len(c.seen) > 0 {
		return c.pinMismatch(err)
	}
	wanted := c.known.of(c.hop.keyName())
	if len(wanted) == 0 {
		return c.refuse(err, "it has no host key of a type that is safe to use, it offers %s; create one with \"ssh-keygen -A\" there", strings.Join(err.RequestedAlgorithms, ", "))
	}
	return c.refuse(err, "its host key has changed: expected %s, the server has only keys for %s. %s",
		showAll(wanted), strings.Join(err.RequestedAlgorithms, ", "), c.remedy(wanted, nil))
}

// changed explains a key that contradicts known_hosts.
func (c *hostCheck) changed(key ssh.PublicKey) error {
	wanted := c.known.of(c.hop.keyName())
	return c.refuse(nil, "its host key has changed: expected %s, the server offered %s. %s",
		showAll(wanted), show(key), c.remedy(wanted, key))
}

func (c *hostCheck) remedy(wanted []knownKey, key ssh.PublicKey) string {
	return fmt.Sprintf("Either the server was reinstalled or someone is in between. On the server's own console compare with %q; "+
		"only if it matches, remove the old key: ssh-keygen -R %s -f %s",
		keygenCommand(key), shell.Quote(c.host()), shell.Quote(wanted[0].file))
}

// newcomer asks about a host that nothing is known of.
func (c *hostCheck) newcomer(key ssh.PublicKey) error {
	fingerprint := ssh.FingerprintSHA256(key)
	if c.accepted != nil && bytes.Equal(c.accepted.Marshal(), key.Marshal()) {
		return nil // on an earlier connection of the same login
	}
	if _, isCert := key.(*ssh.Certificate); isCert || c.accept == nil {
		pin := ""
		if !c.hop.bastion {
			pin = fmt.Sprintf("pin it (host-key: %q) or ", fingerprint)
		}
		return c.refuse(nil, "nothing is known of its host key %s; on the server's own console compare with %q, then %slog in once with ssh",
			show(key), keygenCommand(key), pin)
	}
	yes := false
	c.ask(func() { yes = c.accept(c.host(), key.Type(), fingerprint) })
	if !yes {
		return c.refuse(nil, "its host key %s was not accepted", show(key))
	}
	if c.record == "" {
		return nil
	}
	if err := record(c.record, c.host(), key); err != nil {
		return fmt.Errorf("record the host key of %s: %w", c.hop.name, err)
	}
	return nil
}

func (c *hostCheck) refuse(cause error, format string, args ...any) error {
	return fail(ErrHostKey, cause, "connect to %s: %s", c.hop, fmt.Sprintf(format, args...))
}

func show(key ssh.PublicKey) string {
	return fmt.Sprintf("%s (%s)", ssh.FingerprintSHA256(key), key.Type())
}

func showAll(wanted []knownKey) string {
	var all []string
	for _, k := range wanted {
		what := k.key.Type()
		if k.authority {
			what = "a certificate of authority " + what
		}
		all = append(all, fmt.Sprintf("%s (%s, %s:%d)", ssh.FingerprintSHA256(k.key), what, k.file, k.line))
	}
	return strings.Join(all, " or ")
}

// keygenCommand shows on a server's console the fingerprint of its key of the
// same type.
func keygenCommand(key ssh.PublicKey) string {
	kind := "ed25519"
	if key != nil {
		switch t := key.Type(); {
		case strings.Contains(t, "ecdsa"):
			kind = "ecdsa"
		case strings.Contains(t, "rsa"):
			kind = "rsa"
		}
	}
	return "ssh-keygen -lf /etc/ssh/ssh_host_" + kind + "_key.pub"
}
