package verify

import "time"

// Network is production as seen from other machines.
type Network struct {
	Outside   *Reach      `json:"outside"`    // from the operator's machine
	FromAudit *Reach      `json:"from_audit"` // from the audit server
	TLS       *TLS        `json:"tls"`        // port 443
	HTTP      *PlainProbe `json:"http"`       // port 80
}

// Reach is which of production's TCP ports could be reached from one place.
type Reach struct {
	Ports []PortState `json:"ports"`
}

// A PortState is the outcome of one TCP connect.
type PortState struct {
	Address string `json:"address"` // of production: as the operator reaches it, or its private one
	Port    int    `json:"port"`
	State   string `json:"state"` // "open", "closed" (refused) or "filtered" (no answer)
}

// TLS is how production's domains are served on port 443.
type TLS struct {
	Sites []Site `json:"sites"` // one a domain
}

// A Site is one domain as served on port 443.
type Site struct {
	Domain     string           `json:"domain"`
	Serves     string           `json:"serves"`   // "api", "app" or "jobs"
	Error      string           `json:"error"`    // why no TLS session came about; empty when one did
	Versions   []string         `json:"versions"` // versions the server agrees to: "1.0", "1.1", "1.2", "1.3"
	Issuer     string           `json:"issuer"`
	NotAfter   time.Time        `json:"not_after"`
	HoursLeft  int              `json:"hours_left"`  // until the certificate expires
	HoursLong  int              `json:"hours_long"`  // the certificate's whole lifetime
	CoversName bool             `json:"covers_name"` // the certificate is for this domain
	Trusted    bool             `json:"trusted"`     // the operator's machine trusts its chain
	Key        string           `json:"key"`         // "ECDSA 256", "RSA 2048"
	Probes     map[string]Probe `json:"probes"`      // requests through the edge proxy, by name
}

// PlainProbe is how port 80 answers a request without TLS.
type PlainProbe struct {
	Status   int    `json:"status"`
	Location string `json:"location"`
}
