package postgrest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"holdfast/internal/lab/standin/token"
)

// A request is one HTTP request with what it means.
type request struct {
	*http.Request
	schema string
	role   string
	claims token.Claims // nil without a token
	prefer []string
	one    bool // Accept asks for a single object
}

// An answer is a result on its way out. Rows are counted for Content-Range.
type answer struct {
	status int
	body   []byte
	rows   int
	offset int
	ranged bool
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req := &request{Request: r, one: strings.Contains(r.Header.Get("Accept"), "application/vnd.pgrst.object+json")}
	for _, v := range r.Header.Values("Prefer") {
		req.prefer = append(req.prefer, list(v)...)
	}
	a, err := h.answer(req)
	if err != nil {
		fromDatabase(err, req.claims != nil).write(w)
		return
	}
	w.Header().Set("Content-Profile", req.schema)
	if a.ranged {
		span := "*"
		if a.rows > 0 {
			span = fmt.Sprintf("%d-%d", a.offset, a.offset+a.rows-1)
		}
		w.Header().Set("Content-Range", span+"/*")
	}
	if a.body != nil {
		contentType := "application/json; charset=utf-8"
		if req.one {
			contentType = "application/vnd.pgrst.object+json; charset=utf-8"
		}
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	w.WriteHeader(a.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(a.body) // a client that has gone can't be told
	}
}

func (h *Handler) answer(r *request) (*answer, error) {
	if err := h.authenticate(r); err != nil {
		return nil, err
	}
	if err := h.profile(r); err != nil {
		return nil, err
	}
	build, err := h.statement(r)
	if err != nil {
		return nil, err
	}
	var a *answer
	err = h.inTransaction(r, func(ctx context.Context, tx pgx.Tx) (err error) {
		a, err = build(ctx, tx)
		return err
	})
	return a, err
}

// Authenticate finds the role of a request, from its token or else the
// anonymous one.
func (h *Handler) authenticate(r *request) error {
	signed := token.Bearer(r.Header.Get("Authorization"))
	if signed == "" {
		if h.config.AnonRole == "" {
			return newFault(http.StatusUnauthorized, "PGRST302", "Anonymous access is disabled", "")
		}
		r.role = h.config.AnonRole
		return nil
	}
	if h.config.JWTSecret == "" {
		return newFault(http.StatusInternalServerError, "PGRST300", "Server lacks JWT secret", "")
	}
	claims, err := h.keys.Verify(signed)
	switch {
	case errors.Is(err, token.ErrExpired):
		return newFault(http.StatusUnauthorized, "PGRST303", "JWT expired", "")
	case err != nil:
		return newFault(http.StatusUnauthorized, "PGRST301", "No suitable key or wrong key type", "")
	}
	r.claims = claims
	if r.role = claims.Role(); r.role == "" {
		r.role = h.config.AnonRole
	}
	if r.role == "" {
		return newFault(http.StatusUnauthorized, "PGRST302", "Anonymous access is disabled", "")
	}
	return nil
}

// Profile chooses the schema: the first exposed one, or the one that a header
// names. A schema that is not exposed is refused before the database is asked.
func (h *Handler) profile(r *request) error {
	name := "Content-Profile"
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		name = "Accept-Profile"
	}
	r.schema = h.config.Schemas[0]
	if asked := r.Header.Get(name); asked != "" {
		if !slices.Contains(h.config.Schemas, asked) {
			return newFault(http.StatusNotAcceptable, "PGRST106", "Invalid schema: "+asked,
				"Only the following schemas are exposed: "+strings.Join(h.config.Schemas, ", "))
		}
		r.schema = asked
	}
	return nil
}

// A statement runs a request inside its transaction.
type statement func(context.Context, pgx.Tx) (*answer, error)

func (h *Handler) statement(r *request) (statement, error) {
	path := strings.Trim(r.URL.Path, "/")
	function, isCall := strings.CutPrefix(path, "rpc/")
	switch {
	case path == "":
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			return nil, newFault(http.StatusMethodNotAllowed, "PGRST117", "Unsupported HTTP method: "+r.Method, "")
		}
		return h.root(r), nil
	case strings.Contains(path, "/") && !isCall || strings.Contains(function, "/"):
		return nil, newFault(http.StatusNotFound, "PGRST125", "Invalid path specified in request URL", "")
	case isCall:
		return h.call(r, function)
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return h.read(r, path)
	case http.MethodPost:
		return h.insert(r, path)
	case http.MethodPatch:
		return h.update(r, path)
	case http.MethodDelete:
		return h.remove(r, path)
	}
	return nil, newFault(http.StatusMethodNotAllowed, "PGRST117", "Unsupported HTTP method: "+r.Method, "")
}

// InTransaction sets the scene of a request (search path, role, claims,
// headers) in one statement, runs do, and commits. Reads run read-only.
func (h *Handler) inTransaction(r *request, do func(context.Context, pgx.Tx) error) error {
	mode := pgx.ReadWrite
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		mode = pgx.ReadOnly
	}
	claims := map[string]any(r.claims)
	if claims == nil {
		claims = map[string]any{}
	}
	claims["role"] = r.role
	headers := map[string]string{}
	for name, values := range r.Header {
		headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	encodedClaims, err := json.Marshal(claims)
	if err != nil {
		return err
	}
	encodedHeaders, err := json.Marshal(headers)
	if err != nil {
		return err
	}
	var searchPath []string
	for _, s := range append([]string{r.schema}, h.config.SearchPath...) {
		searchPath = append(searchPath, pgx.Identifier{s}.Sanitize())
	}
	ctx := r.Context()
	return pgx.BeginTxFunc(ctx, h.pool, pgx.TxOptions{AccessMode: mode}, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `select set_config('search_path', $1, true), set_config('request.jwt.claims', $2, true),
			set_config('request.method', $3, true), set_config('request.path', $4, true), set_config('request.headers', $5, true),
			set_config('role', $6, true)`,
			strings.Join(searchPath, ", "), string(encodedClaims), r.Method, r.URL.Path, string(encodedHeaders), r.role)
		if err != nil {
			return err
		}
		// The role's own settings, such as statement_timeout, hold too, as
		// PostgREST has it since version 11.
		_, err = tx.Exec(ctx, `select set_config(split_part(s, '=', 1), substr(s, strpos(s, '=') + 1), true)
			from pg_roles r, unnest(r.rolconfig) s
			where r.rolname = $1 and split_part(s, '=', 1) in ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout')`, r.role)
		if err != nil {
			return err
		}
		return do(ctx, tx)
	})
}

func (r *request) prefers(what string) bool { return slices.Contains(r.prefer, what) }

// MaxBody is the longest request body that is read, in bytes.
const maxBody = 64 << 20

func (r *request) json() ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return nil, err
	}
	if !json.Valid(body) {
		return nil, newFault(http.StatusBadRequest, "PGRST102", "Empty or invalid json", "")
	}
	return body, nil
}
