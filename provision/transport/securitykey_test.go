package transport

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"path/filepath"
	"testing"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// A securityKey is an agent that holds one key as a FIDO device would, and
// signs with it as one that has been touched (PROTOCOL.u2f of OpenSSH).
type securityKey struct {
	agent.Agent
	public  ssh.PublicKey
	private ed25519.PrivateKey
}

func newSecurityKey(t *testing.T) *securityKey {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := ssh.ParsePublicKey(ssh.Marshal(struct {
		Name        string
		Key         []byte
		Application string
	}{ssh.KeyAlgoSKED25519, public, "ssh:"}))
	if err != nil {
		t.Fatal(err)
	}
	return &securityKey{Agent: agent.NewKeyring(), public: parsed, private: private}
}

func (k *securityKey) List() ([]*agent.Key, error) {
	return []*agent.Key{{Format: k.public.Type(), Blob: k.public.Marshal(), Comment: "on a stick"}}, nil
}

func (k *securityKey) Sign(key ssh.PublicKey, data []byte) (*ssh.Signature, error) {
	return k.SignWithFlags(key, data, 0)
}

func (k *securityKey) SignWithFlags(_ ssh.PublicKey, data []byte, _ agent.SignatureFlags) (*ssh.Signature, error) {
	application, message := sha256.Sum256([]byte("ssh:")), sha256.Sum256(data)
	touched := []byte{1, 0, 0, 0, 7} // flags and counter
	signed := append(append(application[:], touched...), message[:]...)
	blob, err := k.private.Sign(rand.Reader, signed, crypto.Hash(0))
	return &ssh.Signature{Format: k.public.Type(), Blob: blob, Rest: touched}, err
}

func (k *securityKey) Extension(string, []byte) ([]byte, error) {
	return nil, agent.ErrExtensionUnsupported
}

func TestAKeyOnASecurityKeyLogsInThroughTheAgent(t *testing.T) {
	server := startSSHD(t, []string{"ed25519"})
	device := newSecurityKey(t)
	target := server.target("root")
	server.admit("root", device.public)
	identity := writeFile(t, filepath.Join(folder(t), "id_ed25519_sk"), "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n")
	writeFile(t, identity+".pub", string(ssh.MarshalAuthorizedKey(device.public)))
	target.Identity = identity
	dialFails(t, target, Options{}, ErrAuth, identity, "ssh-add")
	t.Setenv("SSH_AUTH_SOCK", serveAgent(t, device))
	for _, identity := range []string{identity, identity + ".pub", ""} {
		target.Identity = identity
		dial(t, target, Options{})
	}
}

func TestAHostKeyOnASecurityKeyIsChecked(t *testing.T) {
	t.Parallel()
	device := newSecurityKey(t)
	file := writeFile(t, filepath.Join(folder(t), "host.pub"), string(ssh.MarshalAuthorizedKey(device.public)))
	server := startSSHD(t, []string{"rsa"}, "HostKeyAgent "+serveAgent(t, device), "HostKey "+file,
		"HostKeyAlgorithms +sk-ssh-ed25519@openssh.com")
	dial(t, server.unpinned(knownhosts.Line([]string{server.addr()}, device.public)+"\n"), Options{})
	other := newSecurityKey(t)
	dialFails(t, server.unpinned(knownhosts.Line([]string{server.addr()}, other.public)+"\n"), Options{}, ErrHostKey, "has changed")
}
