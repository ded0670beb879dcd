package environment

import (
	_ "embed"
	"slices"
)

//go:embed holdfast.schema.json
var schema []byte

// Schema returns the JSON Schema (draft 2020-12) of holdfast.yml, which editors
// complete and check by. It is generated from Config, its tags and comments; it
// says of each value what a schema can say, Load says the rest.
func Schema() []byte { return slices.Clone(schema) }
