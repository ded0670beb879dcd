package kong

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// A document is a declarative configuration as it stands in the file. Only the
// entities that a gateway for HTTP needs are known; any other key is an error,
// as it is to Kong's schema.
type document struct {
	FormatVersion string            `yaml:"_format_version"`
	Transform     *bool             `yaml:"_transform"`
	Services      []serviceEntity   `yaml:"services"`
	Routes        []routeEntity     `yaml:"routes"`
	Consumers     []consumerEntity  `yaml:"consumers"`
	Plugins       []pluginEntity    `yaml:"plugins"`
	ACLs          []aclEntity       `yaml:"acls"`
	KeyAuth       []keyAuthEntity   `yaml:"keyauth_credentials"`
	BasicAuth     []basicAuthEntity `yaml:"basicauth_credentials"`
}

type serviceEntity struct {
	ID             string         `yaml:"id"`
	Name           string         `yaml:"name"`
	URL            string         `yaml:"url"`
	Protocol       string         `yaml:"protocol"`
	Host           string         `yaml:"host"`
	Port           int            `yaml:"port"`
	Path           string         `yaml:"path"`
	Retries        *int           `yaml:"retries"`
	ConnectTimeout int            `yaml:"connect_timeout"` // milliseconds
	WriteTimeout   int            `yaml:"write_timeout"`
	ReadTimeout    int            `yaml:"read_timeout"`
	Enabled        *bool          `yaml:"enabled"`
	Tags           []string       `yaml:"tags"`
	Comment        string         `yaml:"_comment"`
	Ignore         any            `yaml:"_ignore"`
	Routes         []routeEntity  `yaml:"routes"`
	Plugins        []pluginEntity `yaml:"plugins"`
}

type routeEntity struct {
	ID                string              `yaml:"id"`
	Name              string              `yaml:"name"`
	Service           reference           `yaml:"service"`
	Protocols         []string            `yaml:"protocols"`
	Methods           []string            `yaml:"methods"`
	Hosts             []string            `yaml:"hosts"`
	Paths             []string            `yaml:"paths"`
	Headers           map[string][]string `yaml:"headers"`
	Expression        string              `yaml:"expression"`
	Priority          int                 `yaml:"priority"`
	RegexPriority     int                 `yaml:"regex_priority"`
	StripPath         *bool               `yaml:"strip_path"`
	PreserveHost      bool                `yaml:"preserve_host"`
	PathHandling      string              `yaml:"path_handling"`
	RequestBuffering  *bool               `yaml:"request_buffering"`
	ResponseBuffering *bool               `yaml:"response_buffering"`
	HTTPSRedirect     int                 `yaml:"https_redirect_status_code"`
	Tags              []string            `yaml:"tags"`
	Comment           string              `yaml:"_comment"`
	Plugins           []pluginEntity      `yaml:"plugins"`
}

type consumerEntity struct {
	ID        string            `yaml:"id"`
	Username  string            `yaml:"username"`
	CustomID  string            `yaml:"custom_id"`
	Tags      []string          `yaml:"tags"`
	KeyAuth   []keyAuthEntity   `yaml:"keyauth_credentials"`
	BasicAuth []basicAuthEntity `yaml:"basicauth_credentials"`
	ACLs      []aclEntity       `yaml:"acls"`
	Plugins   []pluginEntity    `yaml:"plugins"`
}

type keyAuthEntity struct {
	ID       string    `yaml:"id"`
	Consumer reference `yaml:"consumer"`
	Key      string    `yaml:"key"`
	Tags     []string  `yaml:"tags"`
}

type basicAuthEntity struct {
	ID       string    `yaml:"id"`
	Consumer reference `yaml:"consumer"`
	Username string    `yaml:"username"`
	Password string    `yaml:"password"`
	Tags     []string  `yaml:"tags"`
}

type aclEntity struct {
	ID       string    `yaml:"id"`
	Consumer reference `yaml:"consumer"`
	Group    string    `yaml:"group"`
	Tags     []string  `yaml:"tags"`
}

type pluginEntity struct {
	ID           string    `yaml:"id"`
	Name         string    `yaml:"name"`
	InstanceName string    `yaml:"instance_name"`
	Service      reference `yaml:"service"`
	Route        reference `yaml:"route"`
	Consumer     reference `yaml:"consumer"`
	Config       yaml.Node `yaml:"config"`
	Enabled      *bool     `yaml:"enabled"`
	Protocols    []string  `yaml:"protocols"`
	Tags         []string  `yaml:"tags"`
	Comment      string    `yaml:"_comment"`
}

// A reference names another entity, either as "name" or as {name: …}.
type reference string

func (r *reference) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*r = reference(n.Value)
		return nil
	}
	var by struct{ Name, ID, Username string }
	if err := n.Decode(&by); err != nil {
		return err
	}
	for _, v := range []string{by.Name, by.Username, by.ID} {
		if v != "" {
			*r = reference(v)
			return nil
		}
	}
	return fmt.Errorf("line %d: a reference needs a name or an id", n.Line)
}

// Model is what a configuration means: entities joined, plugins built.
type model struct {
	routes    []*route
	consumers []*consumer
	byKey     map[string]*consumer
	byBasic   map[string]basicCredential
	global    []*instance
}

type service struct {
	name     string
	protocol string
	host     string // host:port
	path     string
	connect  int // milliseconds
	read     int
	plugins  []*instance
}

type consumer struct {
	id       string
	username string
	customID string
	groups   []string
	plugins  []*instance
}

type basicCredential struct {
	password string
	consumer *consumer
}

// An instance is one configured plugin.
type instance struct {
	name string
	id   string
	impl any
}

// Settings are what the environment of Kong adds to its declarative file.
type settings struct {
	plugins map[string]bool // enabled plugins
	flavour string          // KONG_ROUTER_FLAVOR
}

// Parse reads a declarative configuration and builds everything that it
// configures. Its errors are those Kong would stop its start with.
func parse(content []byte, set settings) (*model, error) {
	var doc document
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	if err := decoder.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("the declarative configuration is empty")
		}
		return nil, fmt.Errorf("read the declarative configuration: %w", err)
	}
	if !slices.Contains([]string{"1.1", "2.1", "3.0"}, doc.FormatVersion) {
		return nil, fmt.Errorf("in '_format_version': expected 1.1, 2.1 or 3.0, got %q", doc.FormatVersion)
	}
	b := builder{
		set:       set,
		services:  map[string]*service{},
		named:     map[string]*route{},
		people:    map[string]*consumer{},
		model:     &model{byKey: map[string]*consumer{}, byBasic: map[string]basicCredential{}},
		instances: map[string]bool{},
	}
	if err := b.build(&doc); err != nil {
		return nil, err
	}
	b.model.sortRoutes()
	return b.model, nil
}

type builder struct {
	set       settings
	model     *model
	services  map[string]*service
	named     map[string]*route
	people    map[string]*consumer
	instances map[string]bool // scope and name of each plugin: Kong allows one
}

func (b *builder) build(doc *document) error {
	for i, e := range doc.Services {
		if err := b.service(e); err != nil {
			return fmt.Errorf("in 'services' entry %d (%s): %w", i+1, e.Name, err)
		}
	}
	for i, e := range doc.Routes {
		if err := b.route(e, nil); err != nil {
			return fmt.Errorf("in 'routes' entry %d (%s): %w", i+1, e.Name, err)
		}
	}
	for i, e := range doc.Consumers {
		if err := b.consumer(e); err != nil {
			return fmt.Errorf("in 'consumers' entry %d (%s): %w", i+1, e.Username, err)
		}
	}
	for _, e := range doc.KeyAuth {
		if err := b.keyAuth(e, b.people[string(e.Consumer)]); err != nil {
			return fmt.Errorf("in 'keyauth_credentials' of consumer %q: %w", e.Consumer, err)
		}
	}
	for _, e := range doc.BasicAuth {
		if err := b.basicAuth(e, b.people[string(e.Consumer)]); err != nil {
			return fmt.Errorf("in 'basicauth_credentials' of consumer %q: %w", e.Consumer, err)
		}
	}
	for _, e := range doc.ACLs {
		if err := b.acl(e, b.people[string(e.Consumer)]); err != nil {
			return fmt.Errorf("in 'acls' of consumer %q: %w", e.Consumer, err)
		}
	}
	return b.topPlugins(doc.Plugins)
}

func (b *builder) service(e serviceEntity) error {
	if e.Enabled != nil && !*e.Enabled {
		return nil
	}
	s := &service{name: e.Name, protocol: e.Protocol, path: e.Path, connect: e.ConnectTimeout, read: e.ReadTimeout}
	if s.protocol == "" {
		s.protocol = "http"
	}
	host, port := e.Host, e.Port
	if e.URL != "" {
		u, err := url.Parse(e.URL)
		if err != nil || u.Host == "" {
			return errors.New("url: missing host in url")
		}
		s.protocol, s.path, host = u.Scheme, u.Path, u.Hostname()
		port, _ = strconv.Atoi(u.Port()) // an absent port is the default below
	}
	if s.protocol != "http" && s.protocol != "https" {
		return fmt.Errorf("protocol: the stand-in proxies http and https, not %q", s.protocol)
	}
	if host == "" {
		return errors.New("host: required field missing")
	}
	if s.path != "" && s.path[0] != '/' {
		return errors.New("path: should start with: /")
	}
	if port == 0 {
		port = map[string]int{"http": 80, "https": 443}[s.protocol]
	}
	s.host = host + ":" + strconv.Itoa(port)
	if s.connect == 0 {
		s.connect = 60_000
	}
	if s.read == 0 {
		s.read = 60_000
	}
	if b.services[e.Name] != nil && e.Name != "" {
		return fmt.Errorf("uniqueness violation: %q is already the name of a service", e.Name)
	}
	b.services[e.Name] = s
	for _, p := range e.Plugins {
		if err := b.plugin(p, "service "+e.Name, &s.plugins); err != nil {
			return err
		}
	}
	for i, r := range e.Routes {
		if err := b.route(r, s); err != nil {
			return fmt.Errorf("in 'routes' entry %d (%s): %w", i+1, r.Name, err)
		}
	}
	return nil
}

func (b *builder) consumer(e consumerEntity) error {
	if e.Username == "" && e.CustomID == "" {
		return errors.New("at least one of these fields must be non-empty: 'custom_id', 'username'")
	}
	c := &consumer{id: orID(e.ID, "consumer", e.Username, e.CustomID), username: e.Username, customID: e.CustomID}
	if b.people[e.Username] != nil {
		return fmt.Errorf("uniqueness violation: %q is already the name of a consumer", e.Username)
	}
	b.people[e.Username] = c
	b.model.consumers = append(b.model.consumers, c)
	for _, k := range e.KeyAuth {
		if err := b.keyAuth(k, c); err != nil {
			return fmt.Errorf("in 'keyauth_credentials': %w", err)
		}
	}
	for _, k := range e.BasicAuth {
		if err := b.basicAuth(k, c); err != nil {
			return fmt.Errorf("in 'basicauth_credentials': %w", err)
		}
	}
	for _, a := range e.ACLs {
		if err := b.acl(a, c); err != nil {
			return fmt.Errorf("in 'acls': %w", err)
		}
	}
	for _, p := range e.Plugins {
		if err := b.plugin(p, "consumer "+e.Username, &c.plugins); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) keyAuth(e keyAuthEntity, c *consumer) error {
	if c == nil {
		return errors.New("consumer: there is no such consumer")
	}
	if e.Key == "" {
		return errors.New("key: length must be at least 1")
	}
	if b.model.byKey[e.Key] != nil {
		return errors.New("uniqueness violation: the same key is given twice") // the key is a secret
	}
	b.model.byKey[e.Key] = c
	return nil
}

func (b *builder) basicAuth(e basicAuthEntity, c *consumer) error {
	if c == nil {
		return errors.New("consumer: there is no such consumer")
	}
	if e.Username == "" || e.Password == "" {
		return errors.New("username and password: required field missing")
	}
	if _, taken := b.model.byBasic[e.Username]; taken {
		return fmt.Errorf("uniqueness violation: username %q is given twice", e.Username)
	}
	b.model.byBasic[e.Username] = basicCredential{e.Password, c}
	return nil
}

func (b *builder) acl(e aclEntity, c *consumer) error {
	if c == nil {
		return errors.New("consumer: there is no such consumer")
	}
	if e.Group == "" {
		return errors.New("group: required field missing")
	}
	c.groups = append(c.groups, e.Group)
	return nil
}

// TopPlugins places the plugins of the document's own list where their
// references say, or everywhere.
func (b *builder) topPlugins(list []pluginEntity) error {
	for i, p := range list {
		scope, target := "global", &b.model.global
		switch {
		case p.Route != "":
			r := b.named[string(p.Route)]
			if r == nil {
				return fmt.Errorf("in 'plugins' entry %d (%s): there is no route %q", i+1, p.Name, p.Route)
			}
			scope, target = "route "+string(p.Route), &r.plugins
		case p.Service != "":
			s := b.services[string(p.Service)]
			if s == nil {
				return fmt.Errorf("in 'plugins' entry %d (%s): there is no service %q", i+1, p.Name, p.Service)
			}
			scope, target = "service "+string(p.Service), &s.plugins
		case p.Consumer != "":
			c := b.people[string(p.Consumer)]
			if c == nil {
				return fmt.Errorf("in 'plugins' entry %d (%s): there is no consumer %q", i+1, p.Name, p.Consumer)
			}
			scope, target = "consumer "+string(p.Consumer), &c.plugins
		}
		if err := b.plugin(p, scope, target); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) plugin(e pluginEntity, scope string, into *[]*instance) error {
	fail := func(err error) error { return fmt.Errorf("in plugin %q of %s: %w", e.Name, scope, err) }
	kind, known := kinds[e.Name]
	if !known {
		return fail(errors.New("plugin not installed, or not known to the stand-in"))
	}
	if !b.set.plugins[e.Name] {
		return fail(fmt.Errorf("plugin '%s' not enabled; add it to the 'plugins' configuration property (KONG_PLUGINS)", e.Name))
	}
	if b.instances[scope+"\x00"+e.Name] {
		return fail(errors.New("uniqueness violation: it is configured twice"))
	}
	b.instances[scope+"\x00"+e.Name] = true
	if e.Enabled != nil && !*e.Enabled {
		return nil
	}
	impl, err := kind.build(e.Config, b.model)
	if err != nil {
		return fail(err)
	}
	*into = append(*into, &instance{name: e.Name, id: orID(e.ID, "plugin", scope, e.Name), impl: impl})
	return nil
}

// Strict decodes a plugin's config and refuses fields that T does not have.
func strict[T any](n yaml.Node, into *T) error {
	if n.IsZero() {
		return nil
	}
	content, err := yaml.Marshal(&n)
	if err != nil {
		return err
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("config: %w", err)
	}
	return nil
}

// OrID returns id, or a stable identifier made from an entity's names.
func orID(id string, names ...string) string {
	if id != "" {
		return id
	}
	h := sha256.Sum256([]byte(strings.Join(names, "\x00")))
	return fmt.Sprintf("%x-%x-5%x-a%x-%x", h[:4], h[4:6], h[6:8], h[8:10], h[10:16])[:36]
}
