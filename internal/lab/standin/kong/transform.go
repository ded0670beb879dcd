package kong

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"

	"gopkg.in/yaml.v3"
)

// A pair is one "name:value" of a transformer.
type pair struct {
	name  string
	value template
}

func pairs(list []string) ([]pair, error) {
	var out []pair
	for _, s := range list {
		name, value, found := strings.Cut(s, ":")
		if !found || name == "" {
			return nil, fmt.Errorf("config: %q: invalid value, expected name:value", s)
		}
		t, err := compileTemplate(strings.TrimSpace(value))
		if err != nil {
			return nil, fmt.Errorf("config: %s: %w", name, err)
		}
		out = append(out, pair{name, t})
	}
	return out, nil
}

// A places says what to do to the headers, the query and the body. The body
// is not transformed by the stand-in.
type places struct {
	Headers     []string `yaml:"headers"`
	Querystring []string `yaml:"querystring"`
	Body        []string `yaml:"body"`
	URI         string   `yaml:"uri"`

	headers, querystring []pair
	uri                  template
}

func (p *places) compile() (err error) {
	if len(p.Body) > 0 {
		return errors.New("config: the stand-in does not transform bodies")
	}
	if p.headers, err = pairs(p.Headers); err != nil {
		return err
	}
	if p.querystring, err = pairs(p.Querystring); err != nil {
		return err
	}
	p.uri, err = compileTemplate(p.URI)
	return err
}

type requestTransformer struct {
	HTTPMethod string `yaml:"http_method"`
	Remove     places `yaml:"remove"`
	Rename     places `yaml:"rename"`
	Replace    places `yaml:"replace"`
	Add        places `yaml:"add"`
	Append     places `yaml:"append"`
	DotsInKeys *bool  `yaml:"dots_in_keys"`
}

func buildRequestTransformer(n yaml.Node, _ *model) (any, error) {
	p := &requestTransformer{}
	if err := strict(n, p); err != nil {
		return nil, err
	}
	if len(p.Remove.Body) > 0 {
		return nil, errors.New("config: the stand-in does not transform bodies")
	}
	for _, list := range []*places{&p.Rename, &p.Replace, &p.Add, &p.Append} {
		if err := list.compile(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Access does the operations in Kong's order. Templates see the request as it
// came, without what earlier operations did to it.
func (p *requestTransformer) access(x *exchange) *reply {
	incoming := x.in.URL.Query()
	v := &variables{
		headers: func(name string) (string, bool) {
			values := x.in.Header.Values(strings.ReplaceAll(name, "_", "-"))
			return strings.Join(values, ", "), len(values) > 0
		},
		query: func(name string) (string, bool) { return incoming.Get(name), incoming.Has(name) },
	}
	if p.HTTPMethod != "" {
		x.method = strings.ToUpper(p.HTTPMethod)
	}
	transform(x.header, p, func(l *places) []pair { return l.headers }, p.Remove.Headers, v)
	transform(queryValues(x.query), p, func(l *places) []pair { return l.querystring }, p.Remove.Querystring, v)
	if len(p.Replace.uri) > 0 {
		x.upstreamPath = p.Replace.uri.render(v)
	}
	return nil
}

// A multimap is what headers and queries have in common.
type multimap interface {
	Get(string) string
	Set(name, value string)
	Add(name, value string)
	Del(string)
	Values(string) []string
}

type queryValues url.Values

func (q queryValues) Get(n string) string      { return url.Values(q).Get(n) }
func (q queryValues) Set(n, v string)          { url.Values(q).Set(n, v) }
func (q queryValues) Add(n, v string)          { url.Values(q).Add(n, v) }
func (q queryValues) Del(n string)             { url.Values(q).Del(n) }
func (q queryValues) Values(n string) []string { return q[n] }

func transform(on multimap, p *requestTransformer, in func(*places) []pair, remove []string, v *variables) {
	for _, name := range remove {
		on.Del(name)
	}
	for _, r := range in(&p.Rename) {
		if values := on.Values(r.name); len(values) > 0 {
			to := r.value.render(v)
			on.Set(to, values[0])
			on.Del(r.name)
		}
	}
	for _, r := range in(&p.Replace) {
		if len(on.Values(r.name)) > 0 {
			setOrDelete(on, r.name, r.value.render(v))
		}
	}
	for _, r := range in(&p.Add) {
		if len(on.Values(r.name)) == 0 {
			setOrDelete(on, r.name, r.value.render(v))
		}
	}
	for _, r := range in(&p.Append) {
		on.Add(r.name, r.value.render(v))
	}
}

// SetOrDelete keeps a header whose template came out empty from being sent.
func setOrDelete(on multimap, name, value string) {
	if value == "" {
		on.Del(name)
		return
	}
	on.Set(name, value)
}

type responseTransformer struct {
	Remove  responsePlaces `yaml:"remove"`
	Rename  responsePlaces `yaml:"rename"`
	Replace responsePlaces `yaml:"replace"`
	Add     responsePlaces `yaml:"add"`
	Append  responsePlaces `yaml:"append"`
}

type responsePlaces struct {
	Headers   []string `yaml:"headers"`
	JSON      []string `yaml:"json"`
	JSONTypes []string `yaml:"json_types"`
}

func buildResponseTransformer(n yaml.Node, _ *model) (any, error) {
	p := &responseTransformer{}
	if err := strict(n, p); err != nil {
		return nil, err
	}
	for i, list := range []responsePlaces{p.Remove, p.Rename, p.Replace, p.Add, p.Append} {
		if len(list.JSON) > 0 {
			return nil, errors.New("config: the stand-in does not transform bodies")
		}
		for _, h := range list.Headers {
			if name, _, found := strings.Cut(h, ":"); i > 0 && (!found || name == "") {
				return nil, fmt.Errorf("config: %q: invalid value, expected name:value", h)
			}
		}
	}
	return p, nil
}

func (p *responseTransformer) headerFilter(_ *exchange, h http.Header) {
	for _, name := range p.Remove.Headers {
		name, _, _ := strings.Cut(name, ":")
		h.Del(name)
	}
	for _, s := range p.Rename.Headers {
		from, to, _ := strings.Cut(s, ":")
		if values := h.Values(from); len(values) > 0 {
			h[http.CanonicalHeaderKey(to)] = values
			h.Del(from)
		}
	}
	for _, s := range p.Replace.Headers {
		if name, value, _ := strings.Cut(s, ":"); len(h.Values(name)) > 0 {
			h.Set(name, strings.TrimSpace(value))
		}
	}
	for _, s := range p.Add.Headers {
		if name, value, _ := strings.Cut(s, ":"); len(h.Values(name)) == 0 {
			h.Set(name, strings.TrimSpace(value))
		}
	}
	for _, s := range p.Append.Headers {
		name, value, _ := strings.Cut(s, ":")
		h.Add(name, strings.TrimSpace(value))
	}
}

type correlation struct {
	HeaderName     string `yaml:"header_name"`
	Generator      string `yaml:"generator"`
	EchoDownstream bool   `yaml:"echo_downstream"`

	prefix string
	count  atomic.Int64
}

func buildCorrelation(n yaml.Node, _ *model) (any, error) {
	p := &correlation{HeaderName: "Kong-Request-ID", Generator: "uuid#counter", prefix: uuid()}
	if err := strict(n, p); err != nil {
		return nil, err
	}
	switch p.Generator {
	case "uuid", "uuid#counter", "tracker":
		return p, nil
	}
	return nil, fmt.Errorf("config.generator: %q is none of uuid, uuid#counter, tracker", p.Generator)
}

func (p *correlation) access(x *exchange) *reply {
	id := x.header.Get(p.HeaderName)
	if id == "" {
		id = uuid()
		if p.Generator != "uuid" {
			id = p.prefix + "#" + strconv.FormatInt(p.count.Add(1), 10)
		}
		x.header.Set(p.HeaderName, id)
	}
	if p.EchoDownstream {
		x.response.Set(p.HeaderName, id)
	}
	return nil
}

func uuid() string {
	var b [16]byte
	rand.Read(b[:]) // never fails, see crypto/rand
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
