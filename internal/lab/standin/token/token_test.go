package token

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const secret = "a-secret-of-at-least-thirty-two-characters"

func TestTokensAreGoodWithTheSecretThatSignedThem(t *testing.T) {
	signed, err := Sign(secret, Claims{"role": "anon", "exp": time.Now().Add(time.Hour).Unix()})
	if err != nil {
		t.Fatal(err)
	}
	set := fmt.Sprintf(`{"keys":[{"kty":"oct","k":%q}]}`, base64.RawURLEncoding.EncodeToString([]byte(secret)))
	for name, s := range map[string]string{"plain": secret, "JWK set": set} {
		keys, err := ParseKeys(s)
		if err != nil {
			t.Fatal(err)
		}
		if claims, err := keys.Verify(signed); err != nil || claims.Role() != "anon" {
			t.Errorf("%s: %v, %v", name, claims, err)
		}
	}
	other, err := ParseKeys(secret + "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Verify(signed); err == nil || errors.Is(err, ErrExpired) {
		t.Errorf("another secret: %v", err)
	}
}

func TestExpiredAndUnsignedTokensAreRefused(t *testing.T) {
	keys, _ := ParseKeys(secret)
	old, _ := Sign(secret, Claims{"exp": time.Now().Add(-time.Hour).Unix()})
	if _, err := keys.Verify(old); !errors.Is(err, ErrExpired) {
		t.Errorf("expired: %v", err)
	}
	none, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"role": "service_role"}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{none, "", "a.b.c", "x"} {
		if _, err := keys.Verify(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestAsymmetricTokensAreCheckedWithThePublicKey(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := private.PublicKey.Bytes() // 4, x, y
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	keys, err := ParseKeys(fmt.Sprintf(`{"keys":[{"kty":"EC","crv":"P-256","kid":"k","x":%q,"y":%q}]}`, encode(point[1:33]), encode(point[33:])))
	if err != nil {
		t.Fatal(err)
	}
	unsigned := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{"role": "authenticated"})
	unsigned.Header["kid"] = "k"
	signed, err := unsigned.SignedString(private)
	if err != nil {
		t.Fatal(err)
	}
	if claims, err := keys.Verify(signed); err != nil || claims.Role() != "authenticated" {
		t.Errorf("%v, %v", claims, err)
	}
	// The public key must not serve as an HMAC secret.
	if forged, _ := Sign(string(point), Claims{"role": "service_role"}); forged != "" {
		if _, err := keys.Verify(forged); err == nil {
			t.Error("a forged token was accepted")
		}
	}
}

func FuzzParseKeysAndVerify(f *testing.F) {
	f.Add(secret, "a.b.c")
	f.Add(`{"keys":[{"kty":"EC","x":"AA","y":"AA"}]}`, "eyJhbGciOiJFUzI1NiJ9.e30.AA")
	f.Fuzz(func(_ *testing.T, s, signed string) {
		if keys, err := ParseKeys(s); err == nil {
			_, _ = keys.Verify(signed)
		}
	})
}
