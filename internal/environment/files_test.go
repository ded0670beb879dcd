package environment

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
)

func publicLine(t *testing.T, key any, comment string) string {
	t.Helper()
	public, err := ssh.NewPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public))) + " " + comment)
}

func edLine(t *testing.T, comment string) string {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return publicLine(t, public, comment)
}

// withKeys is the minimal environment whose operators are the files given.
func withKeys(t *testing.T, files map[string]string, operators ...string) *Environment {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env, err := decode(dir, []byte(strings.Replace(minimal, "keys/ada.pub", strings.Join(operators, ", "), 1)))
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func TestOperatorKeysAreTheLinesOfAllFilesOnce(t *testing.T) {
	ada, grace := edLine(t, "ada@laptop"), edLine(t, "grace@desk")
	ecdsaKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	curve := publicLine(t, ecdsaKey.Public(), "")
	env := withKeys(t, map[string]string{
		"ada.pub":  "# Ada\n\n  " + ada + "\r\n",
		"team.pub": grace + "\n" + strings.Replace(ada, "ada@laptop", "again", 1) + "\n" + curve,
	}, "ada.pub", "team.pub")
	got, err := env.OperatorKeys()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{ada, grace, curve}, got); diff != "" {
		t.Error(diff)
	}
}

func TestOperatorKeysThatMayNotLogInAreRefusedWithTheirPlace(t *testing.T) {
	short, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ed := edLine(t, "a")
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	pemText := string(pem.EncodeToMemory(block))
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certificate := &ssh.Certificate{Key: signer.PublicKey(), CertType: ssh.UserCert}
	if err := certificate.SignCert(rand.Reader, signer); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ content, want string }{
		"a private key":    {pemText, `holdfast.yml:6:15: access.operators[0]: "k.pub" holds a private key (name its .pub file instead; if this folder was shared, replace the key)`},
		"an age identity":  {"AGE-SECRET-KEY-1QQQ", "holds a private key"},
		"nothing":          {"# later\n", `holdfast.yml:6:15: access.operators[0]: "k.pub" holds no key`},
		"no key":           {ed + "\nhello\n", "k.pub:2: this line is no SSH public key"},
		"an option":        {`command="sh" ` + ed, "k.pub:1: options in front of a key"},
		"a short RSA key":  {publicLine(t, short.Public(), ""), "this RSA key has less than 3072 bits"},
		"a DSA key":        {"ssh-dss AAAAB3NzaC1kc3MAAAAB", "this line is no SSH public key"},
		"a certificate":    {string(ssh.MarshalAuthorizedKey(certificate)), "keys of type ssh-ed25519-cert-v01@openssh.com may not log in"},
		"a file too large": {strings.Repeat("#\n", maxKeyFile), `"k.pub" can't be read: it is larger than 64 KiB`},
		"a very long line": {"ssh-ed25519 " + strings.Repeat("A", 5000), "this line is no SSH public key"},
		"a torn key":       {ed[:40], "this line is no SSH public key"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := withKeys(t, map[string]string{"k.pub": c.content}, "k.pub").OperatorKeys()
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want it to contain %q", err, c.want)
			}
			if err != nil && (strings.Contains(err.Error(), "QQQ") || strings.Contains(err.Error(), pemText[50:80])) {
				t.Errorf("the error repeats a private key: %v", err)
			}
		})
	}
	_, err = withKeys(t, nil, "missing.pub").OperatorKeys()
	if want := `"missing.pub" does not exist (copy the .pub file of an SSH key there)`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want it to contain %q", err, want)
	}
}

func TestCommentsOfKeysCannotCarryControlCharacters(t *testing.T) {
	env := withKeys(t, map[string]string{"k.pub": edLine(t, "a\x1b[31m\tb\u202e")}, "k.pub")
	keys, err := env.OperatorKeys()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(keys[0], " a[31mb") {
		t.Errorf("%q", keys[0])
	}
}

func TestSecretRecipientsAreTheLinesOfTheirFile(t *testing.T) {
	env := withKeys(t, map[string]string{recipientsFile: "# who\nage1abc\n\n ssh-ed25519 AAAA ada \n"}, "k.pub")
	got, err := env.SecretRecipients()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"age1abc", "ssh-ed25519 AAAA ada"}, got); diff != "" {
		t.Error(diff)
	}
	if _, err := withKeys(t, nil, "k.pub").SecretRecipients(); err == nil {
		t.Error("a missing file went unnoticed")
	}
	if _, err := withKeys(t, map[string]string{recipientsFile: "#\n"}, "k.pub").SecretRecipients(); err == nil {
		t.Error("an empty file went unnoticed")
	}
}

func FuzzOperatorKey(f *testing.F) {
	f.Add("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIN0 ada@laptop")
	f.Add(`from="10.0.0.0/8" ssh-rsa AAAA`)
	f.Fuzz(func(t *testing.T, line string) {
		key, err := parseOperatorKey(line)
		if err == nil && (strings.ContainsAny(key, "\n\r\x00") || len(strings.Fields(key)) < 2) {
			t.Errorf("%q", key)
		}
		again, err2 := parseOperatorKey(key)
		if err == nil && (err2 != nil || again != key) {
			t.Errorf("%q reads back as %q, %v", key, again, err2)
		}
	})
}
