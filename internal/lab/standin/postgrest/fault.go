package postgrest

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// A fault is an error in the form that clients get; see "Errors" in
// PostgREST's reference.
type fault struct {
	status  int
	Code    string  `json:"code"`
	Message string  `json:"message"`
	Details *string `json:"details"`
	Hint    *string `json:"hint"`
}

func (f *fault) Error() string { return f.Code + ": " + f.Message }

func newFault(status int, code, message, hint string) *fault {
	f := &fault{status: status, Code: code, Message: message}
	if hint != "" {
		f.Hint = &hint
	}
	return f
}

func unsupported(what string) *fault {
	return newFault(http.StatusNotImplemented, "STANDIN", "the stand-in for PostgREST does not know "+what, "")
}

// FromDatabase maps an error of PostgreSQL, with the status that PostgREST
// gives it. Signed says whether the request came with a token.
func fromDatabase(err error, signed bool) *fault {
	var f *fault
	if errors.As(err, &f) {
		return f
	}
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		slog.Error("database", "err", err)
		return newFault(http.StatusServiceUnavailable, "PGRST001", "Database client error. Retrying the connection.", "")
	}
	f = newFault(statusOf(pg.Code, signed), pg.Code, pg.Message, pg.Hint)
	if pg.Detail != "" {
		f.Details = &pg.Detail
	}
	return f
}

func statusOf(code string, signed bool) int {
	switch {
	case code == "42501" && signed:
		return http.StatusForbidden
	case code == "42501":
		return http.StatusUnauthorized
	case code == "42883", code == "42P01":
		return http.StatusNotFound
	case code == "23503", code == "23505":
		return http.StatusConflict
	case code == "25006":
		return http.StatusMethodNotAllowed
	case code == "42P17", code == "57014":
		return http.StatusInternalServerError
	case code == "P0001":
		return http.StatusBadRequest
	}
	for prefix, status := range map[string]int{
		"08": 503, "53": 503, "28": 403, "09": 500, "25": 500, "2D": 500, "38": 500, "39": 500, "3B": 500,
		"40": 500, "54": 500, "55": 500, "57": 500, "58": 500, "F0": 500, "HV": 500, "P0": 500, "XX": 500,
	} {
		if strings.HasPrefix(code, prefix) {
			return status
		}
	}
	return http.StatusBadRequest
}

func (f *fault) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if f.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	w.WriteHeader(f.status)
	_ = json.NewEncoder(w).Encode(f) // a client that has gone can't be told
}
