package collect

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"holdfast/verify"
)

// tlsVersions are the protocol versions tried, each alone.
var tlsVersions = []struct {
	name string
	id   uint16
}{{"1.0", tls.VersionTLS10}, {"1.1", tls.VersionTLS11}, {"1.2", tls.VersionTLS12}, {"1.3", tls.VersionTLS13}}

// edgeRequests are sent through the edge proxy to a domain that serves the API:
// nothing of this may be there for the public.
var edgeRequests = []request{
	{name: "root", method: "GET", path: "/"},
	{name: "pg", method: "GET", path: "/pg/tables"},
	{name: "mcp", method: "GET", path: "/mcp"},
	{name: "analytics", method: "GET", path: "/analytics/v1/api/endpoints"},
	{name: "rest-no-key", method: "GET", path: "/rest/v1/holdfast_probe"},
	{name: "auth-health", method: "GET", path: "/auth/v1/health"},
}

// site observes one domain on port 443. Certificates are judged, not trusted:
// a private or expired one must be described, so nothing is refused here.
func (c *collection) site(ctx context.Context, address string, d Domain) verify.Site {
	site := verify.Site{Domain: d.Name, Serves: d.Serves, Versions: []string{}, Probes: map[string]verify.Probe{}}
	agreed := make([]bool, len(tlsVersions))
	var mu sync.Mutex
	var group sync.WaitGroup
	for i, v := range tlsVersions {
		group.Go(func() {
			state, err := handshake(ctx, net.JoinHostPort(address, "443"), d.Name, v.id)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				if v.id >= tls.VersionTLS12 {
					site.Error = err.Error()
				}
				return
			}
			agreed[i] = true
			if v.id >= tls.VersionTLS12 {
				describe(&site, state)
			}
		})
	}
	requests := edgeRequests
	if d.Serves != "api" {
		requests = edgeRequests[:1]
	}
	client := edgeClient(address, d.Name)
	for _, r := range requests {
		group.Go(func() {
			probe, err := send(ctx, client, "https://"+d.Name, r)
			if err != nil {
				return // Error says why there is no TLS; a rule that asks for this probe finds it missing
			}
			mu.Lock()
			defer mu.Unlock()
			site.Probes[r.name] = probe
		})
	}
	group.Wait()
	for i, v := range tlsVersions {
		if agreed[i] {
			site.Versions = append(site.Versions, v.name)
		}
	}
	if agreed[2] || agreed[3] {
		site.Error = ""
	}
	return site
}

// clientConfig accepts any certificate: see site.
func clientConfig(name string) *tls.Config {
	return &tls.Config{ServerName: name, InsecureSkipVerify: true} //nolint:gosec // judged by rules instead
}

// edgeClient asks production's address, whatever the domain's name resolves to.
func edgeClient(address, name string) *http.Client {
	client := newClient(func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: connectTimeout}).DialContext(ctx, network, net.JoinHostPort(address, "443"))
	})
	client.Transport.(*http.Transport).TLSClientConfig = clientConfig(name)
	return client
}

// handshake agrees on exactly one version of TLS.
func handshake(ctx context.Context, address, name string, version uint16) (tls.ConnectionState, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	config := clientConfig(name)
	config.MinVersion, config.MaxVersion = version, version
	if version < tls.VersionTLS12 {
		// What Go leaves out by default is what such a server may be left with.
		for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
			config.CipherSuites = append(config.CipherSuites, suite.ID)
		}
	}
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: connectTimeout}, Config: config}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState(), nil
}

// describe notes what the certificate says.
func describe(site *verify.Site, state tls.ConnectionState) {
	if len(state.PeerCertificates) == 0 {
		return
	}
	leaf := state.PeerCertificates[0]
	site.Issuer = leaf.Issuer.String()
	site.NotAfter = leaf.NotAfter.UTC()
	site.HoursLeft = int(time.Until(leaf.NotAfter).Hours())
	site.HoursLong = int(leaf.NotAfter.Sub(leaf.NotBefore).Hours())
	site.CoversName = leaf.VerifyHostname(site.Domain) == nil
	site.Key = keyKind(leaf)
	between := x509.NewCertPool()
	for _, cert := range state.PeerCertificates[1:] {
		between.AddCert(cert)
	}
	_, err := leaf.Verify(x509.VerifyOptions{DNSName: site.Domain, Intermediates: between})
	site.Trusted = err == nil
}

func keyKind(cert *x509.Certificate) string {
	switch key := cert.PublicKey.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", key.N.BitLen())
	case *ecdsa.PublicKey:
		return fmt.Sprintf("ECDSA %d", key.Params().BitSize)
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return strings.TrimSpace(cert.PublicKeyAlgorithm.String())
}
