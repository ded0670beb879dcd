package kong

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Version is what the stand-in says it is: the release whose behaviour it
// follows, named as a stand-in.
const version = "3.9.3-stand-in"

// A gateway answers requests by a model.
type gateway struct {
	model      *model
	trusted    []netip.Prefix // KONG_TRUSTED_IPS
	realHeader string         // KONG_REAL_IP_HEADER
	recursive  bool           // KONG_REAL_IP_RECURSIVE
	quiet      bool           // KONG_HEADERS=off: says nothing of itself
	log        *slog.Logger   // of requests; nil is none
	transport  http.RoundTripper
	now        func() time.Time
}

func newGateway(m *model) *gateway {
	return &gateway{
		model:      m,
		realHeader: "X-Real-IP",
		transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			MaxIdleConnsPerHost: 16,
			IdleConnTimeout:     time.Minute,
			DisableCompression:  true, // bodies pass through as they are
		},
		now: time.Now,
	}
}

// An exchange is one request on its way through the gateway, with what will
// be sent to the upstream.
type exchange struct {
	in       *http.Request
	route    *route
	path     string // normalized
	clientIP string
	consumer *consumer
	now      func() time.Time

	method       string
	upstreamPath string
	header       http.Header
	query        url.Values
	body         io.Reader // instead of the request's, when a plugin has read it

	response  http.Header // set on whatever the client gets
	preflight bool        // cors has answered
}

// A reply is an answer of the gateway itself.
type reply struct {
	status  int
	message string // wrapped as JSON, as Kong does
	body    string // as it is, instead of message
	header  http.Header
}

func (x *exchange) authenticate(c *consumer) {
	x.consumer = c
	x.header.Set("X-Consumer-ID", c.id)
	x.header.Del("X-Anonymous-Consumer")
	for name, value := range map[string]string{"X-Consumer-Username": c.username, "X-Consumer-Custom-ID": c.customID} {
		if x.header.Del(name); value != "" {
			x.header.Set(name, value)
		}
	}
}

// Anonymous lets the request pass as the named consumer.
func (x *exchange) anonymous(m *model, name string) *reply {
	for _, c := range m.consumers {
		if c.username == name || c.id == name {
			x.authenticate(c)
			x.header.Set("X-Anonymous-Consumer", "true")
			return nil
		}
	}
	return &reply{status: http.StatusInternalServerError, message: "An unexpected error occurred"}
}

// claimed are the headers by which the gateway vouches for something; a client
// must not be able to send them.
var claimed = []string{"X-Consumer-ID", "X-Consumer-Username", "X-Consumer-Custom-ID", "X-Consumer-Groups", "X-Credential-Identifier", "X-Anonymous-Consumer"}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	recorded := &recorder{ResponseWriter: w}
	g.handle(recorded, r)
	if g.log != nil {
		// Without the query: keys and tokens travel in it.
		g.log.Info("request", "from", r.RemoteAddr, "method", r.Method, "path", r.URL.Path, "status", recorded.status)
	}
}

// A recorder remembers the status for the access log.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach what the server can do.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (g *gateway) handle(w http.ResponseWriter, r *http.Request) {
	x := &exchange{in: r, path: normalPath(r.URL), now: g.now, method: r.Method, header: r.Header.Clone(), query: r.URL.Query(), response: http.Header{}}
	x.clientIP = g.clientIP(r)
	if !g.quiet {
		x.response.Set("X-Kong-Request-Id", strings.ReplaceAll(uuid(), "-", ""))
	}
	matched := ""
	if x.route, matched = g.model.match(r, x.path); x.route == nil {
		g.answer(w, x, nil, &reply{status: http.StatusNotFound, message: "no Route matched with those values"})
		return
	}
	for _, name := range claimed {
		x.header.Del(name)
	}
	if x.route.service != nil {
		x.upstreamPath = x.route.upstreamPath(x.path, matched)
	}
	rep := g.access(x)
	plugins := g.model.applicable(x.route, x.consumer)
	switch {
	case rep != nil:
		g.answer(w, x, plugins, rep)
	case x.route.service == nil:
		g.answer(w, x, plugins, &reply{status: http.StatusServiceUnavailable, message: "no Service found with those values"})
	default:
		g.proxy(w, x, plugins)
	}
}

// Access runs the plugins one after another. The list is asked for anew after
// each: authentication may bring the consumer's own plugins in.
func (g *gateway) access(x *exchange) *reply {
	done := map[string]bool{}
	for {
		list := g.model.applicable(x.route, x.consumer)
		i := slices.IndexFunc(list, func(p *instance) bool { return !done[p.name] })
		if i < 0 {
			return nil
		}
		done[list[i].name] = true
		if a, ok := list[i].impl.(accessor); ok {
			if rep := a.access(x); rep != nil {
				return rep
			}
		}
	}
}

// Finish gives the plugins the response's header, last.
func (g *gateway) finish(x *exchange, plugins []*instance, h http.Header) {
	for name, values := range x.response {
		h[name] = values
	}
	for _, p := range plugins {
		if f, ok := p.impl.(headerFilter); ok {
			f.headerFilter(x, h)
		}
	}
}

func (g *gateway) answer(w http.ResponseWriter, x *exchange, plugins []*instance, rep *reply) {
	h := w.Header()
	body := rep.body
	if rep.message != "" {
		content := map[string]string{"message": rep.message}
		if id := x.response.Get("X-Kong-Request-Id"); id != "" {
			content["request_id"] = id
		}
		encoded, _ := json.Marshal(content) // a map of strings always encodes
		body = string(encoded)
		h.Set("Content-Type", "application/json; charset=utf-8")
	}
	for name, values := range rep.header {
		h[name] = values
	}
	if !g.quiet {
		h.Set("Server", "kong/"+version)
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	g.finish(x, plugins, h)
	w.WriteHeader(rep.status)
	if x.in.Method != http.MethodHead {
		_, _ = io.WriteString(w, body) // a client that has gone can't be told
	}
}

func (g *gateway) proxy(w http.ResponseWriter, x *exchange, plugins []*instance) {
	s := x.route.service
	ctx, cancel := context.WithCancel(x.in.Context())
	defer cancel()
	// The read timeout is the time until the response's header, here; Kong
	// counts between two reads.
	timer := time.AfterFunc(time.Duration(s.connect+s.read)*time.Millisecond, cancel)
	timedOut := func() bool { return ctx.Err() != nil && x.in.Context().Err() == nil }

	proxy := &httputil.ReverseProxy{
		Transport:     g.transport,
		FlushInterval: -1,
		Rewrite: func(p *httputil.ProxyRequest) {
			upgrade := p.Out.Header.Get("Upgrade") // kept by ReverseProxy, lost in the clone
			p.Out.Header = x.header.Clone()
			for _, name := range []string{"Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Proxy-Connection"} {
				p.Out.Header.Del(name)
			}
			if upgrade != "" {
				p.Out.Header.Set("Connection", "Upgrade")
				p.Out.Header.Set("Upgrade", upgrade)
			}
			p.Out.Method = x.method
			p.Out.URL.Scheme, p.Out.URL.Host = s.protocol, s.host
			setPath(p.Out.URL, x.upstreamPath)
			p.Out.URL.RawQuery = x.query.Encode()
			if x.query.Encode() == x.in.URL.Query().Encode() {
				p.Out.URL.RawQuery = x.in.URL.RawQuery // unchanged: leave the order alone
			}
			p.Out.Host = s.host
			if x.route.preserveHost {
				p.Out.Host = x.in.Host
			}
			if x.body != nil {
				p.Out.Body = io.NopCloser(x.body)
			}
			g.forwarded(p.Out.Header, x)
		},
		ModifyResponse: func(resp *http.Response) error {
			timer.Stop()
			if !g.quiet {
				resp.Header.Set("Via", "1.1 kong/"+version)
			}
			g.finish(x, plugins, resp.Header)
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			rep := &reply{status: http.StatusBadGateway, message: "An invalid response was received from the upstream server"}
			var dns *net.DNSError
			switch {
			case timedOut():
				rep = &reply{status: http.StatusGatewayTimeout, message: "The upstream server is timing out"}
			case errors.As(err, &dns):
				rep = &reply{status: http.StatusServiceUnavailable, message: "name resolution failed"}
			}
			slog.Error("upstream", "service", s.name, "err", err)
			g.answer(w, x, plugins, rep)
		},
	}
	proxy.ServeHTTP(w, x.in.WithContext(ctx))
}

func setPath(u *url.URL, escaped string) {
	path, err := url.PathUnescape(escaped)
	if err != nil {
		path = escaped
	}
	u.Path, u.RawPath = path, escaped
}

// Forwarded tells the upstream who asked, and how. What an untrusted client
// said of that is replaced.
func (g *gateway) forwarded(h http.Header, x *exchange) {
	peer, _, _ := net.SplitHostPort(x.in.RemoteAddr)
	trusted := within(g.trusted, peer)
	keep := func(name, own string) {
		if !trusted || h.Get(name) == "" {
			h.Set(name, own)
		}
	}
	host, port, err := net.SplitHostPort(x.in.Host)
	if err != nil {
		host, port = x.in.Host, "8000"
	}
	keep("X-Forwarded-Proto", "http")
	keep("X-Forwarded-Host", host)
	keep("X-Forwarded-Port", port)
	keep("X-Forwarded-Path", x.in.URL.Path)
	h.Set("X-Real-IP", x.clientIP)
	if before := h.Get("X-Forwarded-For"); trusted && before != "" {
		h.Set("X-Forwarded-For", before+", "+peer)
	} else {
		h.Set("X-Forwarded-For", peer)
	}
}

// ClientIP is the peer's address, or the one that a trusted peer names in the
// configured header, as nginx's realip module reads it.
func (g *gateway) clientIP(r *http.Request) string {
	peer, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	if !within(g.trusted, peer) {
		return peer
	}
	named := splitList(strings.Join(r.Header.Values(g.realHeader), ","))
	for i := len(named) - 1; i >= 0; i-- {
		addr, err := netip.ParseAddr(named[i])
		if err != nil {
			return peer
		}
		if peer = addr.String(); !g.recursive || !within(g.trusted, peer) {
			return peer
		}
	}
	return peer
}

// SplitList takes a comma separated list apart; empty entries are dropped.
func splitList(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}
