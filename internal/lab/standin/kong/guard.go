package kong

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"slices"

	"gopkg.in/yaml.v3"
)

type ipRestriction struct {
	Allow   []string `yaml:"allow"`
	Deny    []string `yaml:"deny"`
	Status  int      `yaml:"status"`
	Message string   `yaml:"message"`

	allow, deny []netip.Prefix
}

func buildIPRestriction(n yaml.Node, _ *model) (any, error) {
	p := &ipRestriction{Status: http.StatusForbidden}
	if err := strict(n, p); err != nil {
		return nil, err
	}
	if len(p.Allow)+len(p.Deny) == 0 {
		return nil, errors.New("config: at least one of these fields must be non-empty: 'allow', 'deny'")
	}
	var err error
	if p.allow, err = prefixes(p.Allow); err != nil {
		return nil, fmt.Errorf("config.allow: %w", err)
	}
	if p.deny, err = prefixes(p.Deny); err != nil {
		return nil, fmt.Errorf("config.deny: %w", err)
	}
	return p, nil
}

func prefixes(list []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range list {
		if addr, err := netip.ParseAddr(s); err == nil {
			out = append(out, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		prefix, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("invalid ip or cidr range: %q", s)
		}
		out = append(out, prefix)
	}
	return out, nil
}

func within(list []netip.Prefix, ip string) bool {
	addr, err := netip.ParseAddr(ip)
	return err == nil && slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(addr.Unmap()) })
}

func (p *ipRestriction) access(x *exchange) *reply {
	if within(p.deny, x.clientIP) || len(p.allow) > 0 && !within(p.allow, x.clientIP) {
		message := p.Message
		if message == "" {
			message = "IP address not allowed: " + x.clientIP
		}
		return &reply{status: p.Status, message: message}
	}
	return nil
}

type botDetection struct {
	Allow []string `yaml:"allow"`
	Deny  []string `yaml:"deny"`

	allow, deny []*regexp.Regexp
}

// Of Kong's list of bots, the few that a test would use.
var bots = []string{`(?i)ahrefsbot`, `(?i)scrapy`, `(?i)sqlmap`, `(?i)nikto`}

func buildBotDetection(n yaml.Node, _ *model) (any, error) {
	p := &botDetection{}
	if err := strict(n, p); err != nil {
		return nil, err
	}
	for _, list := range []struct {
		from []string
		into *[]*regexp.Regexp
	}{{p.Allow, &p.allow}, {append(bots, p.Deny...), &p.deny}} {
		for _, s := range list.from {
			compiled, err := regexp.Compile(s)
			if err != nil {
				return nil, fmt.Errorf("config: %w", err)
			}
			*list.into = append(*list.into, compiled)
		}
	}
	return p, nil
}

func (p *botDetection) access(x *exchange) *reply {
	agent := x.in.Header.Get("User-Agent")
	matches := func(r *regexp.Regexp) bool { return r.MatchString(agent) }
	if !slices.ContainsFunc(p.allow, matches) && slices.ContainsFunc(p.deny, matches) {
		return &reply{status: http.StatusForbidden, message: "Forbidden"}
	}
	return nil
}

type termination struct {
	StatusCode  int    `yaml:"status_code"`
	Message     string `yaml:"message"`
	ContentType string `yaml:"content_type"`
	Body        string `yaml:"body"`
	Echo        bool   `yaml:"echo"`
	Trigger     string `yaml:"trigger"`
}

func buildTermination(n yaml.Node, _ *model) (any, error) {
	p := &termination{StatusCode: http.StatusServiceUnavailable}
	if err := strict(n, p); err != nil {
		return nil, err
	}
	if p.Message != "" && (p.Body != "" || p.ContentType != "") {
		return nil, errors.New("config: message cannot be used with content_type or body")
	}
	return p, nil
}

func (p *termination) access(x *exchange) *reply {
	if p.Trigger != "" && x.in.Header.Get(p.Trigger) == "" && !x.in.URL.Query().Has(p.Trigger) {
		return nil
	}
	if p.Body != "" {
		contentType := p.ContentType
		if contentType == "" {
			contentType = "application/json; charset=utf-8"
		}
		return &reply{status: p.StatusCode, body: p.Body, header: http.Header{"Content-Type": {contentType}}}
	}
	message := p.Message
	if message == "" {
		message = http.StatusText(p.StatusCode)
	}
	return &reply{status: p.StatusCode, message: message}
}
