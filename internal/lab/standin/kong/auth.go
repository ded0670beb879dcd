package kong

import (
	"crypto/subtle"
	"errors"
	"net/http"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Texts of Kong 3.9.
const (
	noKey        = "No API key found in request"
	invalid      = "Unauthorized"
	notConsumed  = "You cannot consume this service"
	duplicateKey = "Duplicate API key found"
)

type keyAuth struct {
	KeyNames        []string `yaml:"key_names"`
	HideCredentials bool     `yaml:"hide_credentials"`
	Anonymous       string   `yaml:"anonymous"`
	KeyInHeader     *bool    `yaml:"key_in_header"`
	KeyInQuery      *bool    `yaml:"key_in_query"`
	KeyInBody       bool     `yaml:"key_in_body"`
	RunOnPreflight  *bool    `yaml:"run_on_preflight"`
	Realm           string   `yaml:"realm"`

	model *model
}

func buildKeyAuth(n yaml.Node, m *model) (any, error) {
	p := &keyAuth{model: m}
	if err := strict(n, p); err != nil {
		return nil, err
	}
	if p.KeyInBody {
		return nil, errors.New("config.key_in_body: the stand-in reads keys from header and query only")
	}
	if len(p.KeyNames) == 0 {
		p.KeyNames = []string{"apikey"}
	}
	return p, nil
}

func (p *keyAuth) access(x *exchange) *reply {
	if x.in.Method == http.MethodOptions && p.RunOnPreflight != nil && !*p.RunOnPreflight {
		return nil
	}
	if p.Anonymous != "" && x.consumer != nil {
		return nil
	}
	key, fault := p.find(x)
	switch {
	case fault != "":
	case key == "":
		fault = noKey
	case p.model.byKey[key] == nil:
		fault = invalid
	default:
		x.authenticate(p.model.byKey[key])
		return nil
	}
	if p.Anonymous != "" {
		return x.anonymous(p.model, p.Anonymous)
	}
	challenge := "Key"
	if p.Realm != "" {
		challenge += ` realm="` + p.Realm + `"`
	}
	return &reply{status: http.StatusUnauthorized, message: fault, header: http.Header{"Www-Authenticate": {challenge}}}
}

// Find returns the key of a request and hides it from the upstream if so
// configured.
func (p *keyAuth) find(x *exchange) (key, fault string) {
	on := func(b *bool) bool { return b == nil || *b }
	for _, name := range p.KeyNames {
		var found []string
		if on(p.KeyInHeader) {
			found = x.in.Header.Values(name)
		}
		if len(found) == 0 && on(p.KeyInQuery) {
			found = x.in.URL.Query()[name]
		}
		if len(found) == 0 {
			continue
		}
		if len(found) > 1 {
			return "", duplicateKey
		}
		if p.HideCredentials {
			x.header.Del(name)
			x.query.Del(name)
		}
		return found[0], ""
	}
	return "", ""
}

type basicAuth struct {
	HideCredentials bool   `yaml:"hide_credentials"`
	Anonymous       string `yaml:"anonymous"`
	Realm           string `yaml:"realm"`

	model *model
}

func buildBasicAuth(n yaml.Node, m *model) (any, error) {
	p := &basicAuth{Realm: "service", model: m}
	return p, strict(n, p)
}

func (p *basicAuth) access(x *exchange) *reply {
	if p.Anonymous != "" && x.consumer != nil {
		return nil
	}
	user, password, given := x.in.BasicAuth()
	if p.HideCredentials {
		x.header.Del("Authorization")
	}
	credential, known := p.model.byBasic[user]
	if given && known && subtle.ConstantTimeCompare([]byte(password), []byte(credential.password)) == 1 {
		x.authenticate(credential.consumer)
		return nil
	}
	if p.Anonymous != "" {
		return x.anonymous(p.model, p.Anonymous)
	}
	return &reply{
		status: http.StatusUnauthorized, message: invalid,
		header: http.Header{"Www-Authenticate": {`Basic realm="` + p.Realm + `"`}},
	}
}

type acl struct {
	Allow            []string `yaml:"allow"`
	Deny             []string `yaml:"deny"`
	HideGroupsHeader bool     `yaml:"hide_groups_header"`
	AlwaysAuth       bool     `yaml:"always_use_authenticated_groups"`
	ConsumerGroups   bool     `yaml:"include_consumer_groups"`
}

func buildACL(n yaml.Node, _ *model) (any, error) {
	p := &acl{}
	if err := strict(n, p); err != nil {
		return nil, err
	}
	if (len(p.Allow) > 0) == (len(p.Deny) > 0) {
		return nil, errors.New("config: exactly one of 'allow' and 'deny' must be set")
	}
	return p, nil
}

func (p *acl) access(x *exchange) *reply {
	if x.consumer == nil {
		return &reply{status: http.StatusUnauthorized, message: invalid}
	}
	has := func(list []string) bool {
		return slices.ContainsFunc(list, func(g string) bool { return slices.Contains(x.consumer.groups, g) })
	}
	if len(p.Allow) > 0 && !has(p.Allow) || has(p.Deny) {
		return &reply{status: http.StatusForbidden, message: notConsumed}
	}
	if !p.HideGroupsHeader {
		x.header.Set("X-Consumer-Groups", strings.Join(x.consumer.groups, ", "))
	}
	return nil
}
