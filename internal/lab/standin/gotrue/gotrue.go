// Package gotrue is a stand-in for Supabase's auth server (GoTrue), for labs
// without a container registry. It keeps users in auth.users with bcrypt
// hashes, signs them up and in with a password, and issues the tokens that the
// other services accept. It sends no mail: with confirmation required, an
// account stays unconfirmed and can't sign in.
package gotrue

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/crypto/bcrypt"

	"holdfast/internal/lab/standin/token"
)

// A Config is what GoTrue reads from its environment.
type Config struct {
	DatabaseURL       string        // GOTRUE_DB_DATABASE_URL: a login of supabase_auth_admin
	JWTSecret         string        // GOTRUE_JWT_SECRET
	Issuer            string        // GOTRUE_JWT_ISSUER
	Audience          string        // GOTRUE_JWT_AUD, default authenticated
	Lifetime          time.Duration // GOTRUE_JWT_EXP in seconds, default one hour
	DisableSignup     bool          // GOTRUE_DISABLE_SIGNUP
	AutoConfirm       bool          // GOTRUE_MAILER_AUTOCONFIRM
	MinPasswordLength int           // GOTRUE_PASSWORD_MIN_LENGTH, default 6
}

// Main serves with the configuration of the environment until ctx is done.
func Main(ctx context.Context, _ []string, _ io.Writer) error {
	seconds, err := strconv.Atoi(environ("GOTRUE_JWT_EXP", "3600"))
	if err != nil {
		return fmt.Errorf("GOTRUE_JWT_EXP: %w", err)
	}
	length, err := strconv.Atoi(environ("GOTRUE_PASSWORD_MIN_LENGTH", "6"))
	if err != nil {
		return fmt.Errorf("GOTRUE_PASSWORD_MIN_LENGTH: %w", err)
	}
	for _, required := range []string{"API_EXTERNAL_URL", "GOTRUE_SITE_URL", "GOTRUE_DB_DRIVER"} {
		if os.Getenv(required) == "" {
			return fmt.Errorf("required key %s missing value", required)
		}
	}
	h, err := New(ctx, Config{
		DatabaseURL:       environ("GOTRUE_DB_DATABASE_URL", os.Getenv("DATABASE_URL")),
		JWTSecret:         os.Getenv("GOTRUE_JWT_SECRET"),
		Issuer:            environ("GOTRUE_JWT_ISSUER", os.Getenv("API_EXTERNAL_URL")),
		Audience:          environ("GOTRUE_JWT_AUD", "authenticated"),
		Lifetime:          time.Duration(seconds) * time.Second,
		DisableSignup:     os.Getenv("GOTRUE_DISABLE_SIGNUP") == "true",
		AutoConfirm:       os.Getenv("GOTRUE_MAILER_AUTOCONFIRM") == "true",
		MinPasswordLength: length,
	})
	if err != nil {
		return err
	}
	defer h.Close()
	server := &http.Server{
		Addr:    net.JoinHostPort(environ("GOTRUE_API_HOST", ""), environ("GOTRUE_API_PORT", environ("PORT", "9999"))),
		Handler: h, ReadHeaderTimeout: time.Minute,
	}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	slog.Info("stand-in for GoTrue started")
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func environ(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// A Handler answers the auth server's requests.
type Handler struct {
	*http.ServeMux
	config Config
	keys   token.Keys
	pool   *pgxpool.Pool
}

// New connects to the database and brings the auth schema up to date.
func New(ctx context.Context, c Config) (*Handler, error) {
	if c.DatabaseURL == "" {
		return nil, errors.New("required key GOTRUE_DB_DATABASE_URL missing value")
	}
	keys, err := token.ParseKeys(c.JWTSecret)
	if err != nil {
		return nil, fmt.Errorf("GOTRUE_JWT_SECRET: %w", err)
	}
	config, err := pgxpool.ParseConfig(c.DatabaseURL)
	if err != nil {
		return nil, errors.New("GOTRUE_DB_DATABASE_URL can't be understood") // err might quote the password
	}
	config.MaxConns = 5
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	if _, err := pool.Exec(ctx, schema); err != nil {
		pool.Close()
		return nil, fmt.Errorf("migrate the auth schema: %w", err)
	}
	h := &Handler{ServeMux: http.NewServeMux(), config: c, keys: keys, pool: pool}
	h.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]string{"version": "v2.196.0-stand-in", "name": "GoTrue", "description": "GoTrue is a user registration and authentication API"})
	})
	h.HandleFunc("GET /.well-known/jwks.json", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]any{"keys": []any{}})
	})
	h.HandleFunc("GET /settings", h.settings)
	h.HandleFunc("POST /signup", h.signup)
	h.HandleFunc("POST /token", h.token)
	h.HandleFunc("GET /user", h.user)
	return h, nil
}

// Close ends the connections to the database.
func (h *Handler) Close() { h.pool.Close() }

// Schema is the part of GoTrue's migrations that the stand-in needs. The
// tables may be there already, from the database's image.
const schema = `
create table if not exists auth.users (
    instance_id uuid,
    id uuid primary key,
    aud varchar(255),
    role varchar(255),
    email varchar(255) unique,
    encrypted_password varchar(255),
    raw_app_meta_data jsonb,
    raw_user_meta_data jsonb
);
alter table auth.users
    add column if not exists aud varchar(255),
    add column if not exists role varchar(255),
    add column if not exists email_confirmed_at timestamptz,
    add column if not exists last_sign_in_at timestamptz,
    add column if not exists created_at timestamptz,
    add column if not exists updated_at timestamptz;
alter table auth.users enable row level security;
create table if not exists auth.refresh_tokens (
    id bigserial primary key,
    token varchar(255) unique,
    user_id varchar(255),
    revoked boolean default false,
    created_at timestamptz default now()
);
alter table auth.refresh_tokens enable row level security;
create table if not exists auth.schema_migrations (version varchar(255) primary key);
alter table auth.schema_migrations enable row level security;`

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that has gone can't be told
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("X-Sb-Error-Code", code)
	reply(w, status, map[string]any{"code": status, "error_code": code, "msg": message})
}

func (h *Handler) failed(w http.ResponseWriter, err error) {
	slog.Error("request failed", "err", err)
	refuse(w, http.StatusInternalServerError, "unexpected_failure", "Unexpected failure, please check server logs for more information")
}

func (h *Handler) settings(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string]any{
		"external":           map[string]bool{"email": true, "phone": false, "anonymous_users": false},
		"disable_signup":     h.config.DisableSignup,
		"mailer_autoconfirm": h.config.AutoConfirm,
		"phone_autoconfirm":  false,
	})
}

// A User is a row of auth.users as clients see it.
type User struct {
	ID        string     `json:"id"`
	Audience  string     `json:"aud"`
	Role      string     `json:"role"`
	Email     string     `json:"email"`
	Confirmed *time.Time `json:"email_confirmed_at"`
	AppData   any        `json:"app_metadata"`
	UserData  any        `json:"user_metadata"`

	hash string
}

func (h *Handler) find(ctx context.Context, column, value string) (*User, error) {
	u := &User{}
	err := h.pool.QueryRow(ctx, `select id::text, coalesce(aud, ''), coalesce(role, ''), coalesce(email, ''), email_confirmed_at,
		coalesce(raw_app_meta_data, '{}'), coalesce(raw_user_meta_data, '{}'), coalesce(encrypted_password, '')
		from auth.users where `+pgx.Identifier{column}.Sanitize()+`::text = $1`, value).
		Scan(&u.ID, &u.Audience, &u.Role, &u.Email, &u.Confirmed, &u.AppData, &u.UserData, &u.hash)
	return u, err
}

type credentials struct {
	Email        string         `json:"email"`
	Password     string         `json:"password"`
	RefreshToken string         `json:"refresh_token"`
	Data         map[string]any `json:"data"`
}

func read(w http.ResponseWriter, r *http.Request) (credentials, bool) {
	var c credentials
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&c); err != nil {
		refuse(w, http.StatusBadRequest, "bad_json", "Could not parse request body as JSON")
		return c, false
	}
	c.Email = strings.ToLower(strings.TrimSpace(c.Email))
	return c, true
}

func (h *Handler) signup(w http.ResponseWriter, r *http.Request) {
	c, ok := read(w, r)
	switch {
	case !ok:
		return
	case h.config.DisableSignup:
		refuse(w, http.StatusUnprocessableEntity, "signup_disabled", "Signups not allowed for this instance")
		return
	case !strings.Contains(c.Email, "@"):
		refuse(w, http.StatusBadRequest, "validation_failed", "Unable to validate email address: invalid format")
		return
	case len(c.Password) < h.config.MinPasswordLength:
		refuse(w, http.StatusUnprocessableEntity, "weak_password", fmt.Sprintf("Password should be at least %d characters.", h.config.MinPasswordLength))
		return
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(c.Password), bcrypt.DefaultCost)
	if err != nil { // longer than bcrypt's 72 bytes
		refuse(w, http.StatusUnprocessableEntity, "weak_password", "Password cannot be longer than 72 characters")
		return
	}
	_, err = h.pool.Exec(r.Context(), `insert into auth.users (id, aud, role, email, encrypted_password, raw_app_meta_data, raw_user_meta_data, email_confirmed_at, created_at, updated_at)
		values (gen_random_uuid(), $1, 'authenticated', $2, $3, '{"provider":"email","providers":["email"]}', $4, case when $5 then now() end, now(), now())`,
		h.config.Audience, c.Email, string(hash), c.Data, h.config.AutoConfirm)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "23505" {
		refuse(w, http.StatusUnprocessableEntity, "user_already_exists", "User already registered")
		return
	}
	if err != nil {
		h.failed(w, err)
		return
	}
	u, err := h.find(r.Context(), "email", c.Email)
	if err != nil {
		h.failed(w, err)
		return
	}
	if !h.config.AutoConfirm {
		reply(w, http.StatusOK, u)
		return
	}
	h.session(w, r, u)
}

// An unknown address must take as long to refuse as a known one.
var decoy = []byte("$2a$10$7EqJtq98hPqEX7fNZaFWoOhi5Qe8rTqVxJq0Zc2nNQH0bQ0u3wK1e")

func (h *Handler) token(w http.ResponseWriter, r *http.Request) {
	c, ok := read(w, r)
	if !ok {
		return
	}
	switch r.URL.Query().Get("grant_type") {
	case "password":
		u, err := h.find(r.Context(), "email", c.Email)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			h.failed(w, err)
			return
		}
		hash := []byte(u.hash)
		if err != nil {
			hash = decoy
		}
		switch wrong := bcrypt.CompareHashAndPassword(hash, []byte(c.Password)); {
		case wrong != nil || err != nil:
			refuse(w, http.StatusBadRequest, "invalid_credentials", "Invalid login credentials")
		case u.Confirmed == nil:
			refuse(w, http.StatusBadRequest, "email_not_confirmed", "Email not confirmed")
		default:
			h.session(w, r, u)
		}
	case "refresh_token":
		var id string
		err := h.pool.QueryRow(r.Context(), "update auth.refresh_tokens set revoked = true where token = $1 and not revoked returning user_id", c.RefreshToken).Scan(&id)
		if err != nil {
			refuse(w, http.StatusBadRequest, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found")
			return
		}
		u, err := h.find(r.Context(), "id", id)
		if err != nil {
			h.failed(w, err)
			return
		}
		h.session(w, r, u)
	default:
		refuse(w, http.StatusBadRequest, "invalid_credentials", "unsupported_grant_type")
	}
}

// Session answers with a fresh pair of tokens.
func (h *Handler) session(w http.ResponseWriter, r *http.Request, u *User) {
	now := time.Now()
	access, err := token.Sign(h.config.JWTSecret, token.Claims{
		"iss": h.config.Issuer, "sub": u.ID, "aud": h.config.Audience, "role": "authenticated", "email": u.Email,
		"iat": now.Unix(), "exp": now.Add(h.config.Lifetime).Unix(), "aal": "aal1", "is_anonymous": false,
		"app_metadata": u.AppData, "user_metadata": u.UserData,
	})
	if err != nil {
		h.failed(w, err)
		return
	}
	refresh := rand.Text()
	if _, err := h.pool.Exec(r.Context(), "insert into auth.refresh_tokens (token, user_id, revoked, created_at) values ($1, $2, false, now())", refresh, u.ID); err != nil {
		h.failed(w, err)
		return
	}
	if _, err := h.pool.Exec(r.Context(), "update auth.users set last_sign_in_at = now() where id::text = $1", u.ID); err != nil {
		h.failed(w, err)
		return
	}
	reply(w, http.StatusOK, map[string]any{
		"access_token": access, "token_type": "bearer", "expires_in": int(h.config.Lifetime.Seconds()),
		"expires_at": now.Add(h.config.Lifetime).Unix(), "refresh_token": refresh, "user": u,
	})
}

func (h *Handler) user(w http.ResponseWriter, r *http.Request) {
	claims, err := h.keys.Verify(token.Bearer(r.Header.Get("Authorization")))
	if err != nil {
		refuse(w, http.StatusUnauthorized, "bad_jwt", "invalid JWT: unable to parse or verify signature")
		return
	}
	sub, _ := claims["sub"].(string)
	u, err := h.find(r.Context(), "id", sub)
	if err != nil {
		refuse(w, http.StatusForbidden, "user_not_found", "User from sub claim in JWT does not exist")
		return
	}
	reply(w, http.StatusOK, u)
}
