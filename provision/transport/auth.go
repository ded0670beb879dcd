package transport

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// maxKeys is how many keys are offered at most: sshd's MaxAuthTries is 6 by
// default, and each refused key counts.
const maxKeys = 5

// maxPassphrases is how often the passphrase of a key is asked for.
const maxPassphrases = 3

var defaultKeys = []string{"~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa"}

// A login offers the keys of one hop to the server, one after another, and
// remembers what became of each; after them the password, where there is one.
// It may take several connections.
type login struct {
	hop        hop
	passphrase func(string) ([]byte, error)
	password   password
	ask        func(func()) // runs what waits for a person, with the clock stopped

	loaded bool
	keys   []*key   // in the order they are offered
	notes  []string // keys that could not be offered, and why
	agent  net.Conn

	// Of the present connection:
	traffic *meter
	offered []*key
	reached bool     // the server has answered about authentication
	methods []string // what it takes
	banner  string   // what it says before the login
	err     error    // why next gave up
}

// A key is a signer whose private half may still be locked.
type key struct {
	ssh.Signer
	source string // "~/.ssh/id_ed25519", `agent key "ada@laptop"`
	note   string // why a key that the server accepts could not sign
}

func (k *key) String() string {
	s := ssh.FingerprintSHA256(k.PublicKey()) + " (" + k.source
	if k.note != "" {
		s += "; " + k.note
	}
	return s + ")"
}

// begin is called with each new connection.
func (l *login) begin(traffic *meter, ask func(func())) error {
	l.traffic = traffic
	l.ask, l.offered, l.reached, l.methods, l.banner, l.err = ask, nil, false, nil, "", nil
	l.password.offered = false
	if l.loaded {
		return nil
	}
	l.loaded = true
	return l.load()
}

// load gathers the keys: the required one, the configured ones, the agent's,
// the usual files.
func (l *login) load() error {
	held := l.agentKeys()
	if l.hop.required != "" {
		if err := l.addFile(l.hop.required, held); err != nil {
			return fail(ErrAuth, err, "log in to %s: the identity %s cannot be used: %v", l.hop, l.hop.required, cause(err))
		}
	}
	files := func(names []string) {
		for _, name := range names {
			if err := l.addFile(name, held); err != nil && !errors.Is(err, fs.ErrNotExist) {
				l.notes = append(l.notes, fmt.Sprintf("%s: %v", name, cause(err)))
			}
		}
	}
	files(l.hop.identities)
	if !l.hop.only {
		for _, k := range held {
			l.add(k)
		}
		for _, name := range defaultKeys {
			files([]string{expandHome(name)})
		}
	}
	for _, name := range l.hop.certificates {
		if err := l.addCertificate(name, held); err != nil {
			l.notes = append(l.notes, fmt.Sprintf("%s: %v", name, cause(err)))
		}
	}
	return nil
}

// addCertificate adds a certificate that lies apart from its key, before it.
func (l *login) addCertificate(name string, held []*key) error {
	public, err := readPublic(name)
	if err != nil {
		return err
	}
	cert, ok := public.(*ssh.Certificate)
	if !ok {
		return errors.New("it is not a certificate")
	}
	at := slices.IndexFunc(l.keys, func(k *key) bool { return bytes.Equal(k.PublicKey().Marshal(), cert.Key.Marshal()) })
	signer := find(held, cert.Key)
	if at >= 0 {
		signer = l.keys[at].Signer
	}
	if signer == nil {
		return errors.New("its private key is not there")
	}
	certified, err := ssh.NewCertSigner(cert, signer)
	if err != nil {
		return err
	}
	l.keys = slices.Insert(l.keys, max(at, 0), &key{Signer: certified, source: name})
	return nil
}

// cause drops the path from a file error whose path is named already.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// add appends k unless its public key is there already.
func (l *login) add(k *key) {
	if !slices.ContainsFunc(l.keys, func(other *key) bool { return samePublic(other, k) }) {
		l.keys = append(l.keys, k)
	}
}

func samePublic(a, b *key) bool {
	return bytes.Equal(a.PublicKey().Marshal(), b.PublicKey().Marshal())
}

// agentKeys lists what the agent holds. An agent that does not answer is as
// good as none.
func (l *login) agentKeys() []*key {
	if l.hop.agent == "" {
		return nil
	}
	conn, err := net.Dial("unix", l.hop.agent)
	if err != nil {
		slog.Debug("no ssh agent", "socket", l.hop.agent, "error", err)
		return nil
	}
	l.agent = conn
	signers, err := agent.NewClient(conn).Signers()
	if err != nil {
		slog.Debug("the ssh agent lists no keys", "socket", l.hop.agent, "error", err)
		return nil
	}
	var keys []*key
	for _, s := range signers {
		source := "agent key"
		if k, ok := s.PublicKey().(*agent.Key); ok && k.Comment != "" {
			source = fmt.Sprintf("agent key %q", k.Comment)
		}
		keys = append(keys, &key{Signer: s, source: source})
	}
	return keys
}

func (l *login) close() {
	if l.agent != nil {
		l.agent.Close()
	}
}

// addFile adds the key of an identity file, its certificate first where there
// is one ("-cert.pub", ssh_config(5) CertificateFile). The file may also hold
// a public key whose private half is in the agent.
func (l *login) addFile(name string, held []*key) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	signer, err := ssh.ParsePrivateKey(data)
	var locked *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &locked):
		if signer, err = l.lockedKey(name, data, locked.PublicKey, held); err != nil {
			return err
		}
	case err != nil:
		public, _, _, _, notPublic := ssh.ParseAuthorizedKey(data)
		if notPublic != nil {
			// One of a security key, which only an agent can use, is known by its
			// public half.
			if public, notPublic = readPublic(name + ".pub"); notPublic != nil || !strings.HasPrefix(public.Type(), "sk-") {
				return fmt.Errorf("it is not a private key: %w", err)
			}
		}
		if signer = find(held, public); signer == nil {
			return errors.New("the agent does not hold its private key (ssh-add)")
		}
	}
	if certificate, err := readPublic(name + "-cert.pub"); err == nil {
		if cert, ok := certificate.(*ssh.Certificate); ok {
			if certified, err := ssh.NewCertSigner(cert, signer); err == nil {
				l.add(&key{Signer: certified, source: name + "-cert.pub"})
			}
		}
	}
	l.add(&key{Signer: signer, source: name})
	return nil
}

func find(held []*key, public ssh.PublicKey) ssh.Signer {
	for _, k := range held {
		if bytes.Equal(k.PublicKey().Marshal(), public.Marshal()) {
			return k.Signer
		}
	}
	return nil
}

func readPublic(name string) (ssh.PublicKey, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey(data)
	return public, err
}

// lockedKey returns a signer for an encrypted key: the agent's where it holds
// the key, else one that asks for the passphrase when it is to sign.
func (l *login) lockedKey(name string, data []byte, public ssh.PublicKey, held []*key) (ssh.Signer, error) {
	if public == nil { // formats older than OpenSSH's hide it
		public, _ = readPublic(name + ".pub")
	}
	if public != nil {
		if signer := find(held, public); signer != nil {
			return signer, nil
		}
	}
	if l.passphrase == nil {
		return nil, errors.New("it is encrypted and nobody can be asked for its passphrase; add it to the agent (ssh-add)")
	}
	unlock := func() (ssh.Signer, error) { return l.unlock(name, data) }
	if public == nil {
		return unlock()
	}
	return &lockedSigner{public: public, unlock: unlock}, nil
}

func (l *login) unlock(name string, data []byte) (signer ssh.Signer, err error) {
	for range maxPassphrases {
		var phrase []byte
		l.ask(func() { phrase, err = l.passphrase(name) })
		if err != nil {
			return nil, fmt.Errorf("no passphrase: %w", err)
		}
		signer, err = ssh.ParsePrivateKeyWithPassphrase(data, phrase)
		clear(phrase)
		if !errors.Is(err, x509.IncorrectPasswordError) {
			return signer, err
		}
	}
	return nil, errors.New("the passphrase is wrong")
}

// A lockedSigner is offered by its public key and unlocked when the server
// wants a signature, so that nobody types a passphrase for a refused key.
type lockedSigner struct {
	public ssh.PublicKey
	unlock func() (ssh.Signer, error)
	open   ssh.Signer
}

func (s *lockedSigner) PublicKey() ssh.PublicKey { return s.public }

// Algorithms makes it an ssh.MultiAlgorithmSigner; RSA without SHA-1.
func (s *lockedSigner) Algorithms() []string {
	if s.public.Type() == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return []string{s.public.Type()}
}

func (s *lockedSigner) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return s.SignWithAlgorithm(rand, data, s.Algorithms()[0])
}

func (s *lockedSigner) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	if s.open == nil {
		open, err := s.unlock()
		if err != nil {
			return nil, err
		}
		s.open = open
	}
	if a, ok := s.open.(ssh.AlgorithmSigner); ok {
		return a.SignWithAlgorithm(rand, data, algorithm)
	}
	return s.open.Sign(rand, data)
}

// watched notes on the key why it could not sign.
type watched struct {
	ssh.AlgorithmSigner
	key *key
}

func (w watched) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	signature, err := w.AlgorithmSigner.SignWithAlgorithm(rand, data, algorithm)
	if err != nil {
		w.key.note = "accepted by the server, but " + err.Error()
	}
	return signature, err
}

type watchedMulti struct {
	watched
	multi ssh.MultiAlgorithmSigner
}

func (w watchedMulti) Algorithms() []string { return w.multi.Algorithms() }

// signer returns what signs for k. The wrapper keeps the interfaces of the
// signer, because they decide which algorithms may be negotiated.
func (k *key) signer() ssh.Signer {
	switch s := k.Signer.(type) {
	case ssh.MultiAlgorithmSigner:
		return watchedMulti{watched{s, k}, s}
	case ssh.AlgorithmSigner:
		return watched{s, k}
	}
	return k.Signer
}

// next is the ssh.ClientAuthCallback: it offers one key a call, or the
// password.
func (l *login) next(state *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
	l.reached, l.methods = true, state.AllowedMethods
	tried := len(l.offered)
	switch {
	case l.err != nil:
	case l.traffic.broken.Load():
		l.err = errCut
	case len(state.PartialSuccessMethods) > 0:
		return l.secondFactor(state.PartialSuccessMethods[0])
	case l.password.value != "" || l.password.offered:
		return l.offerPassword()
	case !slices.Contains(l.methods, "publickey"):
		l.err = fmt.Errorf("it takes no keys, only %s; set PubkeyAuthentication yes in its sshd_config", strings.Join(l.methods, ", "))
	case tried == len(l.keys) && tried == 0:
		l.err = fmt.Errorf("there is no key to offer%s; start an agent, or name a key file (identity)", l.unusable())
	case tried == len(l.keys) || tried == maxKeys:
		l.err = errors.New(l.refused())
	default:
		k := l.keys[tried]
		l.offered = append(l.offered, k)
		slog.Debug("offer a key", "host", l.hop.addr(), "user", l.hop.user, "key", ssh.FingerprintSHA256(k.PublicKey()), "source", k.source)
		return ssh.PublicKeys(k.signer()), nil
	}
	return nil, l.err
}

func (l *login) refused() string {
	var keys []string
	for _, k := range l.offered {
		keys = append(keys, k.String())
	}
	text := fmt.Sprintf("it accepted none of these keys for user %q: %s", l.hop.user, strings.Join(keys, ", "))
	if left := len(l.keys) - len(l.offered); left > 0 {
		text += fmt.Sprintf(" (%d more were not tried, servers count tries; name the right one with identity)", left)
	}
	text += l.unusable() + "; check the user name, that the public key is in that user's ~/.ssh/authorized_keys, and "
	if l.hop.user == "root" {
		return text + "PermitRootLogin and AllowUsers in its sshd_config"
	}
	return text + "AllowUsers and AllowGroups in its sshd_config"
}

// hear is the ssh.BannerCallback.
func (l *login) hear(text string) error {
	l.banner += text
	l.banner = l.banner[max(0, len(l.banner)-stderrTail):]
	return nil
}

// cut explains a connection that ended while the server was about to let us
// in, or did nothing about it for too long.
func (l *login) cut(slow bool) string {
	said := strings.ToLower(l.banner)
	switch {
	case strings.Contains(said, "not permitted to log in"), strings.Contains(said, "system is going down"):
		return fmt.Sprintf("it lets nobody in while it starts or stops (it says %q); try again in a minute", lastLines(l.banner, 2))
	case slow:
		return "it answers, but the login was not done in time; it may look names up slowly (UseDNS in its sshd_config), or be overloaded: wait longer (--connect-timeout)"
	case l.banner != "":
		return fmt.Sprintf("it closed the connection during the login and says %q", lastLines(l.banner, 2))
	}
	return fmt.Sprintf("it closed the connection during the login; the account of user %q may have expired or be locked (chage -l, passwd -S), or PAM's rules exclude it (see \"journalctl -u ssh\" there)", l.hop.user)
}

func (l *login) unusable() string {
	if len(l.notes) == 0 {
		return ""
	}
	return " (not offered: " + strings.Join(l.notes, "; ") + ")"
}
