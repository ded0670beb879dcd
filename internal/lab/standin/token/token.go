// Package token signs and checks the JSON Web Tokens that Supabase's services
// share, for the lab's stand-ins of those services.
package token

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// ErrExpired is what errors.Is finds when a token was good once, or is not yet.
var ErrExpired = errors.New("JWT expired")

// Claims are the decoded payload of a token.
type Claims map[string]any

// Role is the "role" claim, or "".
func (c Claims) Role() string {
	role, _ := c["role"].(string)
	return role
}

// Keys are what tokens are checked with.
type Keys struct {
	secret []byte
	public map[string]*ecdsa.PublicKey // by key id
}

// ParseKeys reads a secret as PostgREST and Realtime take it: a JWK set as
// JSON, with symmetric and P-256 keys, or else the HS256 secret itself.
func ParseKeys(s string) (Keys, error) {
	if !strings.HasPrefix(strings.TrimSpace(s), "{") {
		if len(s) < 32 {
			return Keys{}, fmt.Errorf("the JWT secret must be at least 32 characters long, it has %d", len(s))
		}
		return Keys{secret: []byte(s)}, nil
	}
	var set struct {
		Keys []struct{ Kty, Kid, K, X, Y string }
	}
	if err := json.Unmarshal([]byte(s), &set); err != nil {
		return Keys{}, errors.New("the JWK set is no valid JSON") // err might quote the secret
	}
	keys := Keys{public: map[string]*ecdsa.PublicKey{}}
	for _, k := range set.Keys {
		switch k.Kty {
		case "oct":
			secret, err := base64.RawURLEncoding.DecodeString(k.K)
			if err != nil {
				return Keys{}, fmt.Errorf("key %q of the JWK set: k is no base64url", k.Kid)
			}
			keys.secret = secret
		case "EC":
			x, errX := base64.RawURLEncoding.DecodeString(k.X)
			y, errY := base64.RawURLEncoding.DecodeString(k.Y)
			if errX != nil || errY != nil {
				return Keys{}, fmt.Errorf("key %q of the JWK set: x or y is no base64url", k.Kid)
			}
			// Uncompressed form: 4, then both coordinates (SEC 1, 2.3.3).
			public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
			if err != nil {
				return Keys{}, fmt.Errorf("key %q of the JWK set: %w", k.Kid, err)
			}
			keys.public[k.Kid] = public
		}
	}
	return keys, nil
}

// Verify checks signature and lifetime. The error satisfies ErrExpired when
// only the lifetime is at fault.
func (k Keys) Verify(signed string) (Claims, error) {
	claims := jwt.MapClaims{}
	_, err := jwt.ParseWithClaims(signed, claims, k.find, jwt.WithValidMethods([]string{"HS256", "ES256"}), jwt.WithLeeway(30*time.Second))
	if errors.Is(err, jwt.ErrTokenExpired) || errors.Is(err, jwt.ErrTokenNotValidYet) {
		return nil, ErrExpired
	}
	if err != nil {
		return nil, fmt.Errorf("JWT not accepted: %w", err)
	}
	return Claims(claims), nil
}

func (k Keys) find(t *jwt.Token) (any, error) {
	if t.Method.Alg() == "HS256" && len(k.secret) > 0 {
		return k.secret, nil
	}
	kid, _ := t.Header["kid"].(string)
	if key := k.public[kid]; key != nil && t.Method.Alg() == "ES256" {
		return key, nil
	}
	return nil, errors.New("no suitable key")
}

// Sign makes an HS256 token of claims.
func Sign(secret string, claims Claims) (string, error) {
	return jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims(claims)).SignedString([]byte(secret))
}

// Bearer returns the token of an Authorization header, or "" when there is
// none. The scheme is compared without regard to case (RFC 9110, 11.1).
func Bearer(header string) string {
	scheme, value, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(value)
}
