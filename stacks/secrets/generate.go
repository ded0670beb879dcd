package secrets

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"
)

// tokenLife is how long ANON_KEY and SERVICE_ROLE_KEY are valid: five years of
// 365 days, as upstream's generate-keys.sh makes them.
const tokenLife = 5 * 365 * 24 * time.Hour

// Generate returns existing with every secret of Rules that was missing or
// empty; what is there stays as it is, the user's own secrets included. The API
// keys are issued as of now. existing is not changed.
//
// It fails when an API key is there without the JWT_SECRET that signed it: a
// new JWT_SECRET would make the key worthless.
func Generate(existing Set, now time.Time) (Set, error) {
	set := maps.Clone(existing)
	if set == nil {
		set = Set{}
	}
	if set["JWT_SECRET"] == "" && (set["ANON_KEY"] != "" || set["SERVICE_ROLE_KEY"] != "") {
		return nil, hinted(errors.New("generate secrets: ANON_KEY or SERVICE_ROLE_KEY is there, but not the JWT_SECRET that signed it"),
			"add that JWT_SECRET, or remove both keys to have all three made anew")
	}
	for _, rule := range rules {
		if set[rule.Name] == "" {
			set[rule.Name] = rule.Recipe.make(set["JWT_SECRET"], now)
		}
	}
	return set, nil
}

func (r Recipe) make(jwtSecret string, now time.Time) string {
	switch r.Form {
	case Base64:
		return base64.StdEncoding.EncodeToString(randomBytes(r.Bytes))
	case Token:
		return newToken(r.Role, jwtSecret, now)
	case Opaque:
		return newOpaqueKey(r.Prefix)
	default:
		return r.Prefix + hex.EncodeToString(randomBytes(r.Bytes))
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails (crypto/rand)
	return b
}

// tokenHeader is the header of every token, byte by byte what upstream writes.
const tokenHeader = `{"alg":"HS256","typ":"JWT"}`

// newToken makes an API key; its claims stand in upstream's order.
func newToken(role, secret string, now time.Time) string {
	issued := now.Unix()
	claims := fmt.Sprintf(`{"role":%q,"iss":"supabase","iat":%d,"exp":%d}`, role, issued, issued+int64(tokenLife/time.Second))
	signed := base64.RawURLEncoding.EncodeToString([]byte(tokenHeader)) + "." +
		base64.RawURLEncoding.EncodeToString([]byte(claims))
	return signed + "." + sign(signed, secret)
}

func sign(text, secret string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// tokenClaims are what a key says of itself.
type tokenClaims struct {
	Role    string `json:"role"`
	Issuer  string `json:"iss"`
	Expires int64  `json:"exp"` // seconds since 1970
}

// readToken takes a token apart; genuine says that secret signed it by HS256.
func readToken(token, secret string) (claims tokenClaims, genuine, ok bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return claims, false, false
	}
	header, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err != nil {
		return claims, false, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return claims, false, false
	}
	var algorithm struct {
		Alg string `json:"alg"`
	}
	if json.Unmarshal(header, &algorithm) != nil || json.Unmarshal(payload, &claims) != nil {
		return claims, false, false
	}
	genuine = algorithm.Alg == "HS256" && hmac.Equal([]byte(parts[2]), []byte(sign(parts[0]+"."+parts[1], secret)))
	return claims, genuine, true
}

// newOpaqueKey makes an API key that is no JWT: the gateway exchanges it.
func newOpaqueKey(prefix string) string {
	head := prefix + base64.RawURLEncoding.EncodeToString(randomBytes(17))[:opaqueRandom]
	return head + "_" + opaqueChecksum(head)
}

// opaqueRandom is the number of random characters in an opaque key.
const opaqueRandom = 22

func opaqueChecksum(head string) string {
	sum := sha256.Sum256([]byte("supabase-self-hosted|" + head))
	return base64.RawURLEncoding.EncodeToString(sum[:])[:8]
}

// validOpaqueKey reports whether key has the form and the checksum of one.
func validOpaqueKey(key, prefix string) bool {
	head := len(prefix) + opaqueRandom
	return strings.HasPrefix(key, prefix) && len(key) == head+9 && key[head] == '_' && key[head+1:] == opaqueChecksum(key[:head])
}
