package gotrue

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"holdfast/internal/lab/pgtest"
	"holdfast/internal/lab/standin/token"
)

const secret = "a-secret-of-at-least-thirty-two-characters"

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

func newHandler(t *testing.T, change func(*Config)) *Handler {
	t.Helper()
	c := Config{
		DatabaseURL: pgtest.New(t).URL("supabase_auth_admin", pgtest.Password), JWTSecret: secret, Issuer: "https://api.example.com/auth/v1",
		Audience: "authenticated", Lifetime: time.Hour, AutoConfirm: true, MinPasswordLength: 12,
	}
	change(&c)
	h, err := New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

func ask(h *Handler, method, path, body string, headers ...string) (int, map[string]any) {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var got map[string]any
	_ = json.Unmarshal(w.Body.Bytes(), &got)
	return w.Code, got
}

func TestAUserSignsUpInAndStaysSignedIn(t *testing.T) {
	h := newHandler(t, func(*Config) {})
	const who = `{"email":"Ada@Example.com","password":"a long enough one"}`
	if status, got := ask(h, "POST", "/signup", who); status != 200 {
		t.Fatalf("sign up: %d %v", status, got)
	}
	if status, got := ask(h, "POST", "/signup", who); status != 422 || got["error_code"] != "user_already_exists" {
		t.Errorf("sign up twice: %d %v", status, got)
	}
	if status, got := ask(h, "POST", "/token?grant_type=password", `{"email":"ada@example.com","password":"wrong"}`); status != 400 || got["error_code"] != "invalid_credentials" {
		t.Errorf("wrong password: %d %v", status, got)
	}
	if status, got := ask(h, "POST", "/token?grant_type=password", `{"email":"nobody@example.com","password":"wrong"}`); status != 400 || got["error_code"] != "invalid_credentials" {
		t.Errorf("unknown user: %d %v", status, got)
	}
	status, got := ask(h, "POST", "/token?grant_type=password", who)
	if status != 200 {
		t.Fatalf("sign in: %d %v", status, got)
	}
	keys, _ := token.ParseKeys(secret)
	claims, err := keys.Verify(got["access_token"].(string))
	if err != nil || claims.Role() != "authenticated" || claims["email"] != "ada@example.com" {
		t.Errorf("claims %v, %v", claims, err)
	}
	if status, user := ask(h, "GET", "/user", "", "Authorization", "Bearer "+got["access_token"].(string)); status != 200 || user["id"] != claims["sub"] {
		t.Errorf("user: %d %v", status, user)
	}
	refresh := `{"refresh_token":"` + got["refresh_token"].(string) + `"}`
	if status, got := ask(h, "POST", "/token?grant_type=refresh_token", refresh); status != 200 {
		t.Errorf("refresh: %d %v", status, got)
	}
	if status, _ := ask(h, "POST", "/token?grant_type=refresh_token", refresh); status != 400 {
		t.Errorf("a refresh token was good twice")
	}
	if status, _ := ask(h, "GET", "/user", ""); status != 401 {
		t.Errorf("user without a token: %d", status)
	}
}

func TestSignUpKeepsTheRules(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		body   string
		status int
		code   string
	}{
		"closed":        {func(c *Config) { c.DisableSignup = true }, `{"email":"a@b.c","password":"long enough now"}`, 422, "signup_disabled"},
		"weak password": {func(*Config) {}, `{"email":"a@b.c","password":"short"}`, 422, "weak_password"},
		"no address":    {func(*Config) {}, `{"email":"a","password":"long enough now"}`, 400, "validation_failed"},
		"no JSON":       {func(*Config) {}, `{`, 400, "bad_json"},
	} {
		t.Run(name, func(t *testing.T) {
			if status, got := ask(newHandler(t, c.change), "POST", "/signup", c.body); status != c.status || got["error_code"] != c.code {
				t.Errorf("%d %v", status, got)
			}
		})
	}
	h := newHandler(t, func(c *Config) { c.AutoConfirm = false })
	const who = `{"email":"a@b.c","password":"long enough now"}`
	if status, got := ask(h, "POST", "/signup", who); status != 200 || got["access_token"] != nil {
		t.Errorf("sign up with confirmation: %d %v", status, got)
	}
	if status, got := ask(h, "POST", "/token?grant_type=password", who); status != 400 || got["error_code"] != "email_not_confirmed" {
		t.Errorf("sign in before confirmation: %d %v", status, got)
	}
}
