// Package templates holds every file that Holdfast writes to an environment
// folder or sends to a server. It has no code: what fills a template in lives
// with the package that renders it.
package templates

import "embed"

// FS is the templates, by their path in this folder.
//
//go:embed compose environment kong lab migrations server trigger
var FS embed.FS
