package verify

// Gateway is the API gateway: its declarative config as shipped, and how it
// answers.
type Gateway struct {
	Config *GatewayConfig   `json:"config"`
	Probes map[string]Probe `json:"probes"` // by name; a request that got no answer is absent
	Burst  *Burst           `json:"burst"`
}

// GatewayConfig is Kong's declarative configuration, reduced to what decides
// who may pass. Credentials are counted, never kept.
type GatewayConfig struct {
	Routes []Route `json:"routes"`
	// LiteralCredentials counts keys and passwords that stand in the file
	// itself instead of a reference to the environment.
	LiteralCredentials int `json:"literal_credentials"`
}

// A Route is one way through the gateway, with everything that applies to it:
// global plugins, its service's and its own, the innermost winning.
type Route struct {
	Service    string   `json:"service"`
	Name       string   `json:"name"`
	Upstream   string   `json:"upstream"`
	Paths      []string `json:"paths"`
	Expression string   `json:"expression"` // with Kong's expressions router
	Plugins    []string `json:"plugins"`
	Groups     []string `json:"groups"`     // groups that the acl plugin lets through
	Origins    []string `json:"origins"`    // allowed CORS origins; empty with a cors plugin means every origin
	PerSecond  int      `json:"per_second"` // rate limit; 0 when there is none
	PerMinute  int      `json:"per_minute"` // rate limit; 0 when there is none
	PerHour    int      `json:"per_hour"`   // rate limit; 0 when there is none
	BodyMiB    int      `json:"body_mib"`   // largest accepted request body; 0 when unlimited
	Closed     bool     `json:"closed"`     // answered by the gateway itself (request-termination)
}

// A Probe is one request and what came back.
type Probe struct {
	Method  string            `json:"method"`
	Path    string            `json:"path"`
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"` // the security-relevant response headers that were set, lower-case names
}

// A Burst is a number of quick requests to a rate-limited route.
type Burst struct {
	Path    string `json:"path"`
	Sent    int    `json:"sent"`
	Limited int    `json:"limited"` // answers with status 429
}
