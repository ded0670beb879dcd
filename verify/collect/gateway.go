package collect

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"holdfast/verify"
)

const (
	// gatewayAddress is where the gateway listens on production.
	gatewayAddress = "127.0.0.1:8000"
	// probeTimeout bounds one request. A server that is busy, or far away, may
	// take seconds; a gateway that does not answer at all costs this much once,
	// because the requests go out side by side.
	probeTimeout = 6 * time.Second
	// maxBurst bounds how many requests are spent to see a rate limit work. A
	// higher limit is judged by the config alone.
	maxBurst = 80
	// foreignOrigin is a web site that no environment allows (RFC 2606).
	foreignOrigin = "https://attacker.example"
	// wrongKey looks like a key and is none.
	wrongKey = "sb_publishable_this_is_not_a_key_00000000"
)

// watchedHeaders are the response headers kept as evidence.
var watchedHeaders = []string{
	"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Content-Security-Policy", "Content-Type", "Location",
	"Referrer-Policy", "Server", "Strict-Transport-Security", "Via", "X-Content-Type-Options", "X-Frame-Options",
}

// A request is one probe of the gateway.
type request struct {
	name    string
	method  string
	path    string
	key     string // sent as apikey, when set
	headers map[string]string
}

// gatewayRequests are the probes that need nothing but the anonymous key. The
// paths after a prefix name nothing that exists: what matters is who answers.
func gatewayRequests(anon string) []request {
	foreign := map[string]string{"Origin": foreignOrigin}
	preflight := map[string]string{"Origin": foreignOrigin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "apikey"}
	return []request{
		{name: "rest-no-key", method: "GET", path: "/rest/v1/holdfast_probe"},
		{name: "rest-wrong-key", method: "GET", path: "/rest/v1/holdfast_probe", key: wrongKey},
		{name: "rest-anon", method: "GET", path: "/rest/v1/holdfast_probe", key: anon},
		{name: "rest-root-anon", method: "GET", path: "/rest/v1/", key: anon},
		{name: "auth-no-key", method: "GET", path: "/auth/v1/settings"},
		{name: "auth-anon", method: "GET", path: "/auth/v1/health", key: anon},
		{name: "auth-admin-anon", method: "GET", path: "/auth/v1/admin/users", key: anon},
		{name: "graphql-no-key", method: "POST", path: "/graphql/v1"},
		{name: "realtime-no-key", method: "GET", path: "/realtime/v1/api/holdfast-probe"},
		{name: "pg-no-key", method: "GET", path: "/pg/tables"},
		{name: "pg-anon", method: "GET", path: "/pg/tables", key: anon},
		{name: "mcp", method: "GET", path: "/mcp"},
		{name: "api-mcp", method: "GET", path: "/api/mcp"},
		{name: "analytics", method: "GET", path: "/analytics/v1/api/endpoints", key: anon},
		{name: "dashboard", method: "GET", path: "/"},
		{name: "dashboard-project", method: "GET", path: "/project/default"},
		{name: "cors-foreign", method: "GET", path: "/auth/v1/health", key: anon, headers: foreign},
		{name: "cors-preflight", method: "OPTIONS", path: "/rest/v1/holdfast_probe", headers: preflight},
	}
}

// gateway probes how the gateway answers, from production's own loopback.
func (c *collection) gateway(ctx context.Context, s Server, config <-chan *verify.GatewayConfig) {
	facts := &verify.Gateway{Probes: map[string]verify.Probe{}}
	defer func() { c.set(func(f *verify.Facts) { f.Gateway = facts }) }()

	var mu sync.Mutex
	record := func(name string, probe verify.Probe, err error) {
		if err != nil {
			c.failed(verify.LayerGateway, verify.Production, "gateway.probes", fmt.Errorf("%s: %w", name, err))
			return
		}
		mu.Lock()
		defer mu.Unlock()
		facts.Probes[name] = probe
	}
	var group sync.WaitGroup
	defer group.Wait()
	probing := s.Dial != nil && c.in.AnonKey != ""
	if !probing {
		c.failed(verify.LayerGateway, verify.Production, "gateway.probes", errors.New("no way to the gateway or no public API key was given"))
	} else {
		client := newClient(func(ctx context.Context, network, _ string) (net.Conn, error) {
			return s.Dial(ctx, network, gatewayAddress)
		})
		for _, r := range gatewayRequests(c.in.AnonKey) {
			group.Go(func() {
				probe, err := send(ctx, client, "http://"+gatewayAddress, r)
				record(r.name, probe, err)
			})
		}
	}
	select {
	case facts.Config = <-config:
	case <-ctx.Done():
		c.failed(verify.LayerGateway, verify.Production, "gateway.config", ctx.Err())
	}
	if !probing || facts.Config == nil {
		c.failed(verify.LayerGateway, verify.Production, "gateway.burst", errors.New("the gateway's limits are not known"))
		return
	}
	group.Go(func() {
		probe, err := sendOversize(ctx, s, c.in.AnonKey, facts.Config)
		record("oversize", probe, err)
	})
	group.Go(func() {
		burst, err := sendBurst(ctx, s, c.in.AnonKey, facts.Config)
		if err != nil {
			c.failed(verify.LayerGateway, verify.Production, "gateway.burst", err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		facts.Burst = burst
	})
}

// newClient returns a client that shows redirects instead of following them.
func newClient(dial func(ctx context.Context, network, address string) (net.Conn, error)) *http.Client {
	return &http.Client{
		Timeout:       probeTimeout,
		Transport:     &http.Transport{DialContext: dial, DisableKeepAlives: true, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func send(ctx context.Context, client *http.Client, base string, r request) (verify.Probe, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, base+r.path, nil)
	if err != nil {
		return verify.Probe{}, err
	}
	for name, value := range r.headers {
		req.Header.Set(name, value)
	}
	if r.key != "" {
		req.Header.Set("apikey", r.key)
	}
	res, err := client.Do(req)
	if err != nil {
		return verify.Probe{}, unwrapURL(err)
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // read to its end, the connection serves again
	return answer(r.method, r.path, res), nil
}

// unwrapURL drops the URL that net/http puts before an error: the probe's name
// says it better.
func unwrapURL(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}

func answer(method, path string, res *http.Response) verify.Probe {
	probe := verify.Probe{Method: method, Path: path, Status: res.StatusCode, Headers: map[string]string{}}
	for _, name := range watchedHeaders {
		if value := res.Header.Get(name); value != "" {
			probe.Headers[strings.ToLower(name)] = value
		}
	}
	return probe
}

// sendOversize announces a body one MiB above the limit and sends none of it:
// a gateway that limits bodies answers the announcement.
func sendOversize(ctx context.Context, s Server, key string, config *verify.GatewayConfig) (verify.Probe, error) {
	const path = "/rest/v1/holdfast_probe"
	limit := routeFor(config, path).BodyMiB
	if limit == 0 {
		limit = 1024 // no limit is declared: announce what nobody should accept
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	conn, err := s.Dial(ctx, "tcp", gatewayAddress)
	if err != nil {
		return verify.Probe{}, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\napikey: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n",
		path, gatewayAddress, key, (limit+1)<<20)
	if err != nil {
		return verify.Probe{}, err
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		if ctx.Err() != nil { // it waits for the body: that is the answer
			return verify.Probe{Method: "POST", Path: path, Headers: map[string]string{}}, nil
		}
		return verify.Probe{}, err
	}
	defer res.Body.Close()
	return answer("POST", path, res), nil
}

// routeFor returns the route with the longest path that path starts with.
func routeFor(config *verify.GatewayConfig, path string) verify.Route {
	var best verify.Route
	longest := 0
	for _, r := range config.Routes {
		for _, p := range r.Paths {
			if strings.HasPrefix(path, p) && len(p) > longest {
				best, longest = r, len(p)
			}
		}
	}
	return best
}

// sendBurst asks the token endpoint until the rate limit answers, or a few
// times more than it allows in a minute. The requests carry no credentials, so
// the auth service refuses each cheaply, and they name a caller of the
// documentation network, so that nobody real is locked out.
func sendBurst(ctx context.Context, s Server, key string, config *verify.GatewayConfig) (*verify.Burst, error) {
	const path = "/auth/v1/token"
	limit := routeFor(config, path).PerMinute
	burst := &verify.Burst{Path: path}
	if limit == 0 || limit+burstMargin > maxBurst {
		return burst, nil
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return s.Dial(ctx, network, gatewayAddress)
		},
		MaxIdleConnsPerHost: burstWorkers,
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Timeout: probeTimeout, Transport: transport}
	r := request{method: "POST", path: path + "?grant_type=password", key: key, headers: map[string]string{"X-Forwarded-For": "192.0.2.1"}}
	var mu sync.Mutex
	var group sync.WaitGroup
	var failed error
	left := limit + burstMargin
	next := func() bool {
		mu.Lock()
		defer mu.Unlock()
		left--
		return left >= 0 && burst.Limited == 0
	}
	for range burstWorkers {
		group.Go(func() {
			for next() {
				probe, err := send(ctx, client, "http://"+gatewayAddress, r)
				mu.Lock()
				switch {
				case err != nil:
					failed = err
				case probe.Status == http.StatusTooManyRequests:
					burst.Limited++
				}
				burst.Sent++
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if burst.Limited == 0 && failed != nil {
		return nil, fmt.Errorf("burst of %d requests to %s: %w", limit+burstMargin, path, failed)
	}
	return burst, nil
}

const (
	// burstMargin is how many requests above the limit are sent: a minute may
	// turn over in between, and a distributed counter may lag.
	burstMargin = 5
	// burstWorkers is how many requests of a burst are under way at once.
	burstWorkers = 6
)
