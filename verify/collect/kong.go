package collect

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"holdfast/verify"
)

// gatewayConfig makes the gateway's config facts of production's answers; nil
// when there is none to read.
func (c *collection) gatewayConfig(a answers) *verify.GatewayConfig {
	text, err := a.ok("kong")
	if err != nil {
		c.failed(verify.LayerGateway, verify.Production, "gateway.config", err)
		return nil
	}
	config, err := parseKong([]byte(text))
	if err != nil {
		c.failed(verify.LayerGateway, verify.Production, "gateway.config", err)
		return nil
	}
	return config
}

// The parts of Kong's declarative format that are read; plugins may stand at
// the top, in a service or in a route.
type (
	kongFile struct {
		Services  []kongService  `yaml:"services"`
		Plugins   []kongPlugin   `yaml:"plugins"`
		Consumers []kongConsumer `yaml:"consumers"`
		// Credentials and routes may also stand apart from their owner.
		Routes    []kongRoute      `yaml:"routes"`
		KeyAuth   []kongCredential `yaml:"keyauth_credentials"`
		BasicAuth []kongCredential `yaml:"basicauth_credentials"`
	}
	kongService struct {
		Name    string       `yaml:"name"`
		URL     string       `yaml:"url"`
		Host    string       `yaml:"host"`
		Routes  []kongRoute  `yaml:"routes"`
		Plugins []kongPlugin `yaml:"plugins"`
	}
	kongRoute struct {
		Name       string       `yaml:"name"`
		Paths      []string     `yaml:"paths"`
		Expression string       `yaml:"expression"`
		Plugins    []kongPlugin `yaml:"plugins"`
	}
	kongPlugin struct {
		Name    string `yaml:"name"`
		Enabled *bool  `yaml:"enabled"`
		Config  struct {
			Second  any      `yaml:"second"`
			Minute  any      `yaml:"minute"`
			Hour    any      `yaml:"hour"`
			Size    any      `yaml:"allowed_payload_size"`
			Unit    string   `yaml:"size_unit"`
			Origins []string `yaml:"origins"`
			Allow   []string `yaml:"allow"`
		} `yaml:"config"`
	}
	kongConsumer struct {
		KeyAuth   []kongCredential `yaml:"keyauth_credentials"`
		BasicAuth []kongCredential `yaml:"basicauth_credentials"`
	}
	kongCredential struct {
		Key      string `yaml:"key"`
		Password string `yaml:"password"`
	}
)

// parseKong reads a declarative Kong configuration, as shipped: with $NAME
// where the container's environment is filled in.
func parseKong(data []byte) (*verify.GatewayConfig, error) {
	var file kongFile
	if err := yaml.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("read kong.yml: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	config := &verify.GatewayConfig{Routes: []verify.Route{}}
	for _, s := range file.Services {
		for i, r := range s.Routes {
			route := verify.Route{
				Service: s.Name, Name: cmp.Or(r.Name, fmt.Sprintf("%s[%d]", s.Name, i)), Upstream: cmp.Or(s.URL, s.Host),
				Paths: append([]string{}, r.Paths...), Expression: r.Expression,
				Plugins: []string{}, Groups: []string{}, Origins: []string{},
			}
			applyPlugins(&route, file.Plugins, s.Plugins, r.Plugins)
			config.Routes = append(config.Routes, route)
		}
	}
	for _, r := range file.Routes {
		return nil, fmt.Errorf("read kong.yml: route %q stands outside its service, which is not understood", r.Name)
	}
	config.LiteralCredentials = literals(file.KeyAuth) + literals(file.BasicAuth)
	for _, c := range file.Consumers {
		config.LiteralCredentials += literals(c.KeyAuth) + literals(c.BasicAuth)
	}
	return config, nil
}

// literals counts credentials that are not a reference to the environment.
func literals(credentials []kongCredential) int {
	n := 0
	for _, c := range credentials {
		for _, value := range []string{c.Key, c.Password} {
			if value != "" && !strings.HasPrefix(value, "$") && !strings.HasPrefix(value, "{vault://") {
				n++
			}
		}
	}
	return n
}

// applyPlugins notes what the plugins of a route do; a later list is closer to
// the route, and its plugin of the same name replaces an earlier one.
func applyPlugins(route *verify.Route, lists ...[]kongPlugin) {
	effective := map[string]kongPlugin{}
	for _, list := range lists {
		for _, p := range list {
			effective[p.Name] = p
		}
	}
	for _, name := range slices.Sorted(maps.Keys(effective)) {
		p := effective[name]
		if p.Enabled != nil && !*p.Enabled {
			continue
		}
		route.Plugins = append(route.Plugins, name)
		switch name {
		case "rate-limiting":
			route.PerSecond, route.PerMinute, route.PerHour = number(p.Config.Second), number(p.Config.Minute), number(p.Config.Hour)
		case "request-size-limiting":
			route.BodyMiB = mebibytes(number(p.Config.Size), p.Config.Unit)
		case "cors":
			route.Origins = append(route.Origins, p.Config.Origins...)
		case "acl":
			route.Groups = append(route.Groups, p.Config.Allow...)
		case "request-termination":
			route.Closed = true
		}
	}
}

// number reads a YAML number; anything else, such as a $NAME, is 0: unlimited
// as far as can be known.
func number(value any) int {
	n, _ := value.(int)
	return n
}

// mebibytes converts a size of the request-size-limiting plugin, rounded up.
func mebibytes(size int, unit string) int {
	switch unit {
	case "bytes":
		return (size + 1<<20 - 1) >> 20
	case "kilobytes":
		return (size + 1<<10 - 1) >> 10
	}
	return size
}
