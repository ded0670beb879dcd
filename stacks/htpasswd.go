package stacks

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	//lint:ignore SA1019 bcrypt is made of it, and the registry accepts nothing else
	"golang.org/x/crypto/blowfish"
)

// bcryptCost is 2^5 rounds. The password is random with 128 bits, which no cost
// makes harder to guess; the cost is paid at each request to the registry.
const bcryptCost = 5

// bcryptEncoding is base64 in bcrypt's own order of the alphabet.
var bcryptEncoding = base64.NewEncoding("./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789").WithPadding(base64.NoPadding)

// htpasswd returns one line of an Apache password file with a bcrypt hash, the
// one kind that Docker's registry accepts.
//
// The salt follows from user and password: the same secrets have to give the
// same release. golang.org/x/crypto/bcrypt only takes random salts, hence these
// few lines over its cipher (Provos and Mazières, "A Future-Adaptable Password
// Scheme", USENIX 1999).
func htpasswd(user, password string) (string, error) {
	if len(password) > 72 {
		return "", errors.New("TRIGGER_REGISTRY_PASSWORD is longer than the 72 bytes that bcrypt reads")
	}
	sum := sha256.Sum256([]byte("htpasswd\x00" + user + "\x00" + password))
	salt := sum[:16]
	key := append([]byte(password), 0)
	cipher, err := blowfish.NewSaltedCipher(key, salt)
	if err != nil {
		return "", err
	}
	for range 1 << bcryptCost {
		blowfish.ExpandKey(key, cipher)
		blowfish.ExpandKey(salt, cipher)
	}
	digest := []byte("OrpheanBeholderScryDoubt")
	for block := 0; block < len(digest); block += 8 {
		for range 64 {
			cipher.Encrypt(digest[block:block+8], digest[block:block+8])
		}
	}
	return fmt.Sprintf("%s:$2a$%02d$%s%s\n", user, bcryptCost, bcryptEncoding.EncodeToString(salt), bcryptEncoding.EncodeToString(digest[:23])), nil
}
