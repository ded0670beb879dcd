package kong

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// A route decides which requests go to a service.
type route struct {
	name         string
	service      *service
	methods      []string
	hosts        []string
	paths        []pathMatch
	headers      map[string][]string
	expression   expression
	priority     int
	stripPath    bool
	preserveHost bool
	plugins      []*instance
}

// A pathMatch is a prefix, or a regular expression anchored at the start.
type pathMatch struct {
	prefix string
	regex  *regexp.Regexp
}

func (b *builder) route(e routeEntity, s *service) error {
	if s == nil && e.Service != "" {
		if s = b.services[string(e.Service)]; s == nil {
			return fmt.Errorf("service: there is no service %q", e.Service)
		}
	}
	r := &route{
		name: e.Name, service: s, methods: e.Methods, hosts: e.Hosts, headers: e.Headers,
		stripPath: e.StripPath == nil || *e.StripPath, preserveHost: e.PreserveHost, priority: e.RegexPriority,
	}
	if e.PathHandling != "" && e.PathHandling != "v0" {
		return fmt.Errorf("path_handling: the stand-in knows v0, not %q", e.PathHandling)
	}
	for _, p := range e.Protocols {
		if !slices.Contains([]string{"http", "https", "ws", "wss"}, p) {
			return fmt.Errorf("protocols: the stand-in does not know %q", p)
		}
	}
	for _, p := range e.Paths {
		m := pathMatch{prefix: p}
		if regex, ok := strings.CutPrefix(p, "~"); ok {
			compiled, err := regexp.Compile("^(?:" + strings.TrimPrefix(regex, "^") + ")")
			if err != nil {
				return fmt.Errorf("paths: %w", err)
			}
			m = pathMatch{regex: compiled}
		} else if !strings.HasPrefix(p, "/") {
			return fmt.Errorf("paths: %q should start with: /", p)
		}
		r.paths = append(r.paths, m)
	}
	plain := len(e.Paths)+len(e.Hosts)+len(e.Methods)+len(e.Headers) > 0
	switch {
	case e.Expression != "" && b.set.flavour != "expressions":
		return errors.New("expression: unknown field; KONG_ROUTER_FLAVOR is not 'expressions'")
	case e.Expression != "" && plain:
		return errors.New("expression cannot be given together with paths, hosts, methods or headers")
	case e.Expression != "":
		compiled, err := compileExpression(e.Expression)
		if err != nil {
			return fmt.Errorf("expression: %w", err)
		}
		r.expression, r.priority = compiled, e.Priority
	case !plain:
		return errors.New("must set one of 'methods', 'hosts', 'headers', 'paths'")
	}
	if e.Name != "" {
		if b.named[e.Name] != nil {
			return fmt.Errorf("uniqueness violation: %q is already the name of a route", e.Name)
		}
		b.named[e.Name] = r
	}
	for _, p := range e.Plugins {
		if err := b.plugin(p, "route "+e.Name, &r.plugins); err != nil {
			return err
		}
	}
	b.model.routes = append(b.model.routes, r)
	return nil
}

// SortRoutes brings the routes into the order in which they are tried:
// expressions first, then the more specific, then the longer path. Kong's
// reference calls this the router's priority.
func (m *model) sortRoutes() {
	slices.SortStableFunc(m.routes, func(a, b *route) int {
		return cmp.Or(
			-cmp.Compare(boolInt(a.expression != nil), boolInt(b.expression != nil)),
			-cmp.Compare(a.attributes(), b.attributes()),
			-cmp.Compare(boolInt(a.hasRegex()), boolInt(b.hasRegex())),
			-cmp.Compare(a.priority, b.priority),
			-cmp.Compare(a.longest(), b.longest()),
		)
	})
}

func (r *route) attributes() int {
	return boolInt(len(r.methods) > 0) + boolInt(len(r.hosts) > 0) + boolInt(len(r.paths) > 0) + len(r.headers)
}

func (r *route) hasRegex() bool {
	return slices.ContainsFunc(r.paths, func(p pathMatch) bool { return p.regex != nil })
}

func (r *route) longest() int {
	n := 0
	for _, p := range r.paths {
		n = max(n, len(p.prefix))
	}
	return n
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Match returns the first route that takes the request, and the part of the
// path by which it did. Path is normalized.
func (m *model) match(r *http.Request, path string) (*route, string) {
	for _, candidate := range m.routes {
		if matched, ok := candidate.takes(r, path); ok {
			return candidate, matched
		}
	}
	return nil, ""
}

func (r *route) takes(req *http.Request, path string) (matched string, ok bool) {
	if r.expression != nil {
		c := &asked{request: req, path: path}
		ok := r.expression(c)
		return c.matched, ok
	}
	if len(r.methods) > 0 && !slices.Contains(r.methods, req.Method) {
		return "", false
	}
	if len(r.hosts) > 0 && !slices.ContainsFunc(r.hosts, func(h string) bool { return hostMatches(h, req.Host) }) {
		return "", false
	}
	for name, values := range r.headers {
		if !slices.ContainsFunc(values, func(v string) bool { return strings.EqualFold(v, req.Header.Get(name)) }) {
			return "", false
		}
	}
	if len(r.paths) == 0 {
		return "", true
	}
	best, found := "", false
	for _, p := range r.paths {
		if p.regex != nil {
			if loc := p.regex.FindStringIndex(path); loc != nil && (!found || loc[1] > len(best)) {
				best, found = path[:loc[1]], true
			}
		} else if strings.HasPrefix(path, p.prefix) && (!found || len(p.prefix) > len(best)) {
			best, found = p.prefix, true
		}
	}
	return best, found
}

// HostMatches compares without the port; one leading or trailing wildcard
// label is allowed, as in Kong.
func hostMatches(pattern, host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	pattern, host = strings.ToLower(pattern), strings.ToLower(host)
	if suffix, ok := strings.CutPrefix(pattern, "*"); ok {
		return strings.HasSuffix(host, suffix) && len(host) > len(suffix)
	}
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(host, prefix) && len(host) > len(prefix)
	}
	return pattern == host
}

// NormalPath brings a request's path into the form that routes are matched
// with: dot segments resolved, slashes merged, percent-encoding undone where
// it changes nothing (Kong's normalize of RFC 3986, section 6.2.2). Without
// it, "/rest/v1/%2e" would be another route than "/rest/v1/".
func normalPath(u *url.URL) string {
	path := decodeUnreserved(u.EscapedPath())
	trailing := strings.HasSuffix(path, "/") || strings.HasSuffix(path, "/.") || strings.HasSuffix(path, "/..")
	var kept []string
	for _, segment := range strings.Split(path, "/") {
		switch segment {
		case "", ".":
		case "..":
			kept = kept[:max(0, len(kept)-1)]
		default:
			kept = append(kept, segment)
		}
	}
	out := "/" + strings.Join(kept, "/")
	if trailing && out != "/" {
		out += "/"
	}
	return out
}

// DecodeUnreserved undoes the percent-encoding of letters, digits, "-", ".",
// "_" and "~", and leaves the rest with upper case digits.
func decodeUnreserved(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' || i+2 >= len(s) {
			b.WriteByte(s[i])
			continue
		}
		c, err := url.PathUnescape(s[i : i+3])
		if err != nil {
			b.WriteByte(s[i])
			continue
		}
		if isUnreserved(c[0]) {
			b.WriteString(c)
		} else {
			b.WriteString(strings.ToUpper(s[i : i+3]))
		}
		i += 2
	}
	return b.String()
}

func isUnreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// UpstreamPath joins a service's path and what is left of the request's, as
// path_handling v0 does: with exactly one slash in between.
func (r *route) upstreamPath(path, matched string) string {
	rest := path
	if r.stripPath {
		rest = path[len(matched):]
	}
	base := r.service.path
	if base == "" {
		base = "/"
	}
	if rest == "" {
		return base
	}
	return strings.TrimSuffix(base, "/") + "/" + strings.TrimPrefix(rest, "/")
}
