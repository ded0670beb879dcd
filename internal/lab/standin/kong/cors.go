package kong

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

type cors struct {
	Origins           []string `yaml:"origins"`
	Headers           []string `yaml:"headers"`
	ExposedHeaders    []string `yaml:"exposed_headers"`
	Methods           []string `yaml:"methods"`
	MaxAge            *int     `yaml:"max_age"` // seconds
	Credentials       bool     `yaml:"credentials"`
	PrivateNetwork    bool     `yaml:"private_network"`
	PreflightContinue bool     `yaml:"preflight_continue"`
	AllowOriginAbsent *bool    `yaml:"allow_origin_absent"`

	patterns []*regexp.Regexp // of Origins, nil for a plain one
}

var plainOrigin = regexp.MustCompile(`^[A-Za-z0-9.:/-]+$`)

func buildCORS(n yaml.Node, _ *model) (any, error) {
	p := &cors{Methods: []string{"GET", "HEAD", "PUT", "PATCH", "POST", "DELETE", "OPTIONS", "TRACE", "CONNECT"}}
	if err := strict(n, p); err != nil {
		return nil, err
	}
	for _, o := range p.Origins {
		var pattern *regexp.Regexp
		if o != "*" && !plainOrigin.MatchString(o) {
			var err error
			if pattern, err = regexp.Compile("^(?:" + strings.TrimSuffix(strings.TrimPrefix(o, "^"), "$") + ")$"); err != nil {
				return nil, fmt.Errorf("config.origins: %w", err)
			}
		}
		p.patterns = append(p.patterns, pattern)
	}
	return p, nil
}

func (p *cors) access(x *exchange) *reply {
	if x.in.Method != http.MethodOptions || x.in.Header.Get("Origin") == "" ||
		x.in.Header.Get("Access-Control-Request-Method") == "" || p.PreflightContinue {
		return nil
	}
	h := http.Header{}
	p.origin(x, h)
	if len(p.Headers) > 0 {
		h.Set("Access-Control-Allow-Headers", strings.Join(p.Headers, ","))
	} else if asked := x.in.Header.Get("Access-Control-Request-Headers"); asked != "" {
		h.Set("Access-Control-Allow-Headers", asked)
	}
	h.Set("Access-Control-Allow-Methods", strings.Join(p.Methods, ","))
	if p.MaxAge != nil {
		h.Set("Access-Control-Max-Age", strconv.Itoa(*p.MaxAge))
	}
	if p.PrivateNetwork && x.in.Header.Get("Access-Control-Request-Private-Network") == "true" {
		h.Set("Access-Control-Allow-Private-Network", "true")
	}
	x.preflight = true
	return &reply{status: http.StatusOK, header: h}
}

func (p *cors) headerFilter(x *exchange, h http.Header) {
	if x.preflight {
		return
	}
	if x.in.Header.Get("Origin") == "" && p.AllowOriginAbsent != nil && !*p.AllowOriginAbsent {
		return
	}
	p.origin(x, h)
	if len(p.ExposedHeaders) > 0 {
		h.Set("Access-Control-Expose-Headers", strings.Join(p.ExposedHeaders, ","))
	}
}

// Origin sets what the response says of the request's origin. An upstream's
// own opinion is overwritten. With one plain origin Kong names that one,
// whoever asks.
func (p *cors) origin(x *exchange, h http.Header) {
	const allow = "Access-Control-Allow-Origin"
	origin := normalOrigin(x.in.Header.Get("Origin"))
	all := len(p.Origins) == 0 || len(p.Origins) == 1 && p.Origins[0] == "*"
	if all {
		h.Set(allow, "*")
		if p.Credentials && origin != "" {
			h.Add("Vary", "Origin")
			h.Set(allow, origin)
			h.Set("Access-Control-Allow-Credentials", "true")
		}
		return
	}
	h.Add("Vary", "Origin")
	if p.Credentials {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	if len(p.Origins) == 1 && p.patterns[0] == nil {
		h.Set(allow, p.Origins[0])
		return
	}
	h.Del(allow)
	for i, o := range p.Origins {
		switch {
		case o == "*":
			h.Set(allow, "*")
			return
		case origin == "":
		case p.patterns[i] != nil && p.patterns[i].MatchString(p.subject(o, origin)),
			p.patterns[i] == nil && normalOrigin(o) == origin:
			h.Set(allow, origin)
			return
		}
	}
}

// Subject is what a regular expression is compared with: the whole origin if
// the pattern has a colon, otherwise the host name.
func (p *cors) subject(pattern, origin string) string {
	if strings.Contains(pattern, ":") {
		return origin
	}
	if u, err := url.Parse(origin); err == nil && u.Host != "" {
		return u.Hostname()
	}
	return origin
}

// NormalOrigin leaves out a scheme's own port.
func normalOrigin(o string) string {
	u, err := url.Parse(o)
	if err != nil || u.Host == "" {
		return o
	}
	host := u.Host
	if u.Scheme == "http" && u.Port() == "80" || u.Scheme == "https" && u.Port() == "443" {
		host = u.Hostname()
	}
	return u.Scheme + "://" + host
}
