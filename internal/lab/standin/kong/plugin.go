package kong

import (
	"cmp"
	"errors"
	"log/slog"
	"net/http"
	"slices"

	"gopkg.in/yaml.v3"
)

// A kind is a plugin that the gateway knows: when it runs, and how an instance
// is built from its config. An instance takes part in the phases whose
// interface it implements.
type kind struct {
	priority int // Kong's own; the higher runs first
	build    func(config yaml.Node, m *model) (any, error)
}

// Access is the phase before the upstream is asked. A reply ends the request.
type accessor interface {
	access(*exchange) *reply
}

// HeaderFilter is the phase before the client gets the response's header;
// it runs for the gateway's own replies too.
type headerFilter interface {
	headerFilter(*exchange, http.Header)
}

// Kinds are the plugins the stand-in plays, with the priorities of Kong 3.9.
var kinds = map[string]kind{
	"pre-function":          {1_000_000, buildFunction},
	"correlation-id":        {100_001, buildCorrelation},
	"bot-detection":         {2500, buildBotDetection},
	"cors":                  {2000, buildCORS},
	"key-auth":              {1250, buildKeyAuth},
	"basic-auth":            {1100, buildBasicAuth},
	"ip-restriction":        {990, buildIPRestriction},
	"request-size-limiting": {951, buildSizeLimit},
	"acl":                   {950, buildACL},
	"rate-limiting":         {910, buildRateLimit},
	"request-transformer":   {801, buildRequestTransformer},
	"response-transformer":  {800, buildResponseTransformer},
	"request-termination":   {2, buildTermination},
	"post-function":         {-1000, buildFunction},
}

// Bundled are the further plugins that come with Kong and may be named in
// KONG_PLUGINS; configuring one is an error in the stand-in.
var bundled = []string{
	"acme", "ai-prompt-decorator", "ai-prompt-guard", "ai-prompt-template", "ai-proxy", "ai-request-transformer",
	"ai-response-transformer", "aws-lambda", "azure-functions", "datadog", "file-log", "grpc-gateway", "grpc-web",
	"hmac-auth", "http-log", "jwt", "ldap-auth", "loggly", "oauth2", "opentelemetry", "prometheus", "proxy-cache",
	"response-ratelimiting", "session", "standard-webhooks", "statsd", "syslog", "tcp-log", "udp-log", "zipkin", "redirect",
}

// A function is Lua code that the stand-in can't run.
type function struct{}

func buildFunction(n yaml.Node, _ *model) (any, error) {
	var config struct {
		Certificate, Rewrite, Access, Log []string
		HeaderFilter                      []string `yaml:"header_filter"`
		BodyFilter                        []string `yaml:"body_filter"`
		WSHandshake                       []string `yaml:"ws_handshake"`
	}
	if err := strict(n, &config); err != nil {
		return nil, err
	}
	slog.Warn("this is a stand-in for Kong: a pre-function or post-function is ignored")
	return function{}, nil
}

// Applicable returns the plugins that run for a request, in their order. Of
// one name the most specific instance runs alone: consumer before route before
// service before global.
func (m *model) applicable(r *route, c *consumer) []*instance {
	chosen := map[string]*instance{}
	for _, list := range [][]*instance{m.global, r.servicePlugins(), r.plugins, c.ownPlugins()} {
		for _, p := range list {
			chosen[p.name] = p
		}
	}
	out := make([]*instance, 0, len(chosen))
	for _, p := range chosen {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *instance) int {
		return cmp.Or(-cmp.Compare(kinds[a.name].priority, kinds[b.name].priority), cmp.Compare(a.name, b.name))
	})
	return out
}

func (r *route) servicePlugins() []*instance {
	if r.service == nil {
		return nil
	}
	return r.service.plugins
}

func (c *consumer) ownPlugins() []*instance {
	if c == nil {
		return nil
	}
	return c.plugins
}

// Enabled reads KONG_PLUGINS: a comma separated list in which "bundled" stands
// for all that come with Kong, "off" for none.
func enabled(list string) (map[string]bool, error) {
	on := map[string]bool{}
	for _, name := range splitList(list) {
		switch {
		case name == "off":
		case name == "bundled":
			for known := range kinds {
				on[known] = true
			}
			for _, known := range bundled {
				on[known] = true
			}
		case kinds[name].build != nil || slices.Contains(bundled, name):
			on[name] = true
		default:
			return nil, errors.New(name + " plugin is enabled but not installed")
		}
	}
	return on, nil
}
