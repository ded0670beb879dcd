package stacks

import "slices"

// An Exception lets one service break one rule of policy, with a reason.
type Exception struct {
	Stack   string
	Service string
	Rule    string
	Found   []string // what exactly is let through; empty: whatever the rule finds
	Reason  string
}

// Exceptions returns all that policy lets through.
func Exceptions() []Exception { return slices.Clone(exceptions) }

func excepted(stack, service, rule, found string) bool {
	return slices.ContainsFunc(exceptions, func(e Exception) bool {
		return e.Stack == stack && e.Service == service && e.Rule == rule && (len(e.Found) == 0 || slices.Contains(e.Found, found))
	})
}

const (
	entryAsRoot = "the entry point starts as root, gives the data folder to the program's user and becomes that user"
	copiedIn    = "files are copied into it when it is created, so that a new release does not restart it"
	untried     = "upstream does not say where it writes"
)

func adds(capabilities ...string) []string {
	var found []string
	for _, c := range capabilities {
		found = append(found, "adds the capability "+c)
	}
	return found
}

var exceptions = []Exception{
	{"edge", "caddy", "ports-loopback", []string{"publishes port 80 to every network", "publishes port 443 to every network"}, "it is what the public reaches"},
	{"edge", "caddy", "capabilities-added", adds("NET_BIND_SERVICE"), "it listens on ports below 1024"},

	{"supabase", "db", "capabilities-added", adds("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"), entryAsRoot},
	{"supabase", "db", "root-read-only", nil, copiedIn},
	{"supabase", "realtime", "capabilities-added", adds("DAC_OVERRIDE", "SETGID", "SETUID"), "the entry point runs migrations as nobody, who owns the program's folder"},
	{"supabase", "realtime", "root-read-only", nil, "an Elixir release writes into its own folder"},
	{"supabase", "storage", "root-read-only", nil, untried},
	{"supabase", "studio", "root-read-only", nil, "its start script writes settings into the built pages"},
	{"supabase", "functions", "root-read-only", nil, untried},
	{"supabase", "supavisor", "capabilities-added", adds("DAC_OVERRIDE"), "nobody owns the program's folder, and the program runs as root"},
	{"supabase", "supavisor", "root-read-only", nil, copiedIn},
	{"supabase", "meta", "health-check", nil, "its image has one"},

	{"trigger", "webapp", "capabilities-added", adds("CHOWN", "DAC_OVERRIDE", "FOWNER"), "it starts as root to give the shared volume to its user, and copies that user's files"},
	{"trigger", "webapp", "root-read-only", nil, "its start script copies the database's schema into the program's folder"},
	{"trigger", "postgres", "capabilities-added", adds("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"), entryAsRoot},
	{"trigger", "electric", "root-read-only", nil, "it keeps its shapes in its own folder"},
	{"trigger", "clickhouse", "capabilities-added", adds("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"), entryAsRoot},
	{"trigger", "clickhouse", "root-read-only", nil, copiedIn + ", and the entry point writes the user's settings beside them"},
	{"trigger", "minio", "root-read-only", nil, untried},
	{"trigger", "supervisor", "capabilities-added", adds("CHOWN", "DAC_OVERRIDE", "FOWNER"), "it starts as root to read the token in the shared volume"},
	{"trigger", "supervisor", "root-read-only", nil, untried},
	{"trigger", "docker-proxy", "no-docker-socket", nil, "it is the socket proxy: it alone holds the socket, and only the supervisor reaches it"},
	{"trigger", "supervisor", "no-secret-in-environment", []string{"shows TRIGGER_WORKER_TOKEN in the Compose file"}, "the value is the path of a file"},
}
