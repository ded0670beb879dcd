// Package verify holds the facts that Holdfast's proof rests on: what was
// observed of an environment, as typed data. Package collect gathers them,
// package baseline evaluates rules over them, package report tells people.
//
// The json tag of a field is its name in rules (CEL) and in facts files; both
// are one contract, so a tag never changes without a new Version.
//
// Absence has one meaning. A nil pointer is something that could not be
// observed: a rule that reads it ends in an error and never passes. An empty
// list is an observation: there was nothing.
package verify

import "time"

// Version is the version of the facts document that this package describes.
const Version = 1

// The roles of servers: the keys of Facts.Servers.
const (
	Production = "production"
	Audit      = "audit"
)

// The layers of facts: every rule and every CollectError belongs to one.
const (
	LayerServer   = "server"
	LayerCompose  = "compose"
	LayerGateway  = "gateway"
	LayerDatabase = "database"
	LayerNetwork  = "network"
)

// Layers lists all layers in the order reports show them.
func Layers() []string {
	return []string{LayerServer, LayerCompose, LayerGateway, LayerDatabase, LayerNetwork}
}

// Facts is everything observed of one environment in one collection.
type Facts struct {
	Version     int                `json:"version"`
	Environment string             `json:"environment"`
	CollectedAt time.Time          `json:"collected_at"`
	Servers     map[string]*Server `json:"servers"` // by role; a role that could not be observed is absent
	Compose     *Compose           `json:"compose"`
	Gateway     *Gateway           `json:"gateway"`
	Database    *Database          `json:"database"`
	Network     *Network           `json:"network"`
	Errors      []CollectError     `json:"errors"` // what could not be collected, and why
}

// A CollectError says which part of the facts is missing and why.
type CollectError struct {
	Layer   string `json:"layer"`
	Server  string `json:"server"`  // role; empty when the part belongs to no single server
	What    string `json:"what"`    // the missing part, as a path in rules: "server.sshd", "gateway.probes"
	Message string `json:"message"` // reads on from "could not be collected: "
}
