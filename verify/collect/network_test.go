package collect

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"holdfast/verify"
)

func TestAPortIsOpenClosedOrFiltered(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if state := connect(t.Context(), listener.Addr().String()); state != "open" {
		t.Errorf("a listening port is %s", state)
	}
	listener.Close()
	if state := connect(t.Context(), listener.Addr().String()); state != "closed" {
		t.Errorf("a refusing port is %s", state)
	}
}

// tlsServer serves a self-signed certificate for example.com.
func tlsServer(t *testing.T, lowest uint16) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Strict-Transport-Security", "max-age=31536000")
		w.WriteHeader(http.StatusNotFound)
	}))
	server.TLS = &tls.Config{MinVersion: lowest}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

func TestEachTLSVersionIsTriedAlone(t *testing.T) {
	for lowest, want := range map[uint16][]string{tls.VersionTLS10: {"1.0", "1.1", "1.2", "1.3"}, tls.VersionTLS13: {"1.3"}} {
		server := tlsServer(t, lowest)
		var agreed []string
		for _, v := range tlsVersions {
			if state, err := handshake(t.Context(), server.Listener.Addr().String(), "example.com", v.id); err == nil {
				agreed = append(agreed, v.name)
				site := verify.Site{Domain: "example.com"}
				describe(&site, state)
				if !site.CoversName || site.Trusted || site.Key == "" || site.HoursLeft <= 0 || site.HoursLong < site.HoursLeft {
					t.Errorf("the certificate is described as %+v", site)
				}
				site.Domain = "other.example"
				if describe(&site, state); site.CoversName {
					t.Error("the certificate is said to cover another name")
				}
			}
		}
		if !slices.Equal(agreed, want) {
			t.Errorf("from %x on: %v", lowest, agreed)
		}
	}
}
