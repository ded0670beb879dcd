package transport

import (
	"crypto/rand"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// certify signs a user certificate for public.
func certify(t *testing.T, authority ssh.Signer, public ssh.PublicKey, user string) *ssh.Certificate {
	t.Helper()
	cert := &ssh.Certificate{Key: public, CertType: ssh.UserCert, KeyId: "ada", ValidPrincipals: []string{user}, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, authority); err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestAUserCertificateLogsIn(t *testing.T) {
	authority := signer(t, newKey(t, "ecdsa"))
	server := startSSHD(t, []string{"ed25519"}, "TrustedUserCAKeys $DIR/authority")
	writeFile(t, server.dir+"/authority", string(ssh.MarshalAuthorizedKey(authority.PublicKey())))
	for _, kind := range []string{"ed25519", "rsa", "ecdsa"} {
		private := newKey(t, kind)
		cert := certify(t, authority, signer(t, private).PublicKey(), "root")
		target := server.target("root")
		target.Identity = writeKey(t, filepath.Join(folder(t), "id"), private)
		dialFails(t, target, Options{}, ErrAuth)

		writeFile(t, target.Identity+"-cert.pub", string(ssh.MarshalAuthorizedKey(cert)))
		dial(t, target, Options{})

		apart := writeFile(t, filepath.Join(folder(t), "apart.pub"), string(ssh.MarshalAuthorizedKey(cert))+"\r\n")
		target.Identity = writeKey(t, filepath.Join(folder(t), "id"), private)
		config := writeFile(t, filepath.Join(folder(t), "config"), "Host *\nCertificateFile "+apart+"\n")
		dial(t, target, Options{Config: config})

		keyring := agent.NewKeyring()
		if err := keyring.Add(agent.AddedKey{PrivateKey: private, Certificate: cert}); err != nil {
			t.Fatal(err)
		}
		t.Run("agent "+kind, func(t *testing.T) {
			t.Setenv("SSH_AUTH_SOCK", serveAgent(t, keyring))
			target.Identity = ""
			dial(t, target, Options{})
		})
	}
	other := certify(t, signer(t, newKey(t, "ed25519")), signer(t, newKey(t, "ed25519")).PublicKey(), "root")
	apart := writeFile(t, filepath.Join(folder(t), "apart.pub"), string(ssh.MarshalAuthorizedKey(other)))
	config := writeFile(t, filepath.Join(folder(t), "config"), "Host *\nCertificateFile "+apart+"\n")
	target := server.target("root")
	server.admit("root")
	dialFails(t, target, Options{Config: config}, ErrAuth, apart, "its private key is not there")
}
