package images

import "strings"

// Settings are an image's part of a container's configuration.
type settings struct {
	User         string              `json:"User,omitempty"`
	Env          []string            `json:"Env"`
	Entrypoint   []string            `json:"Entrypoint,omitempty"`
	Cmd          []string            `json:"Cmd,omitempty"`
	WorkingDir   string              `json:"WorkingDir,omitempty"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
	Labels       map[string]string   `json:"Labels"`
	StopSignal   string              `json:"StopSignal,omitempty"`
}

// A recipe is an image: the layer it stands on, what it adds, and how it is
// run. The name is the service's in its Compose file.
type recipe struct {
	name   string
	debian bool // stands on Debian, otherwise on the stand-ins' layer
	nodes  []node
	settings
}

const (
	path         = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	pathPostgres = "PATH=/usr/lib/postgresql/17/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// Recipes follow the real images where Compose files rely on them: entry
// point, command, working folder, user, the folders that volumes take over.
var recipes = []recipe{
	// Supabase.
	postgres("db", []string{"POSTGRES_USER=supabase_admin", "POSTGRES_DB=postgres"},
		node{path: "docker-entrypoint-initdb.d/migrate.sh", content: file("supabase-init.sh")},
		node{path: "docker-entrypoint-initdb.d/init-scripts/"},
		node{path: "docker-entrypoint-initdb.d/migrations/"},
		node{path: "usr/share/holdfast-lab/"},
		node{path: "usr/share/holdfast-lab/supabase.sql", mode: 0o644, content: file("supabase.sql")},
		node{path: "usr/share/holdfast-lab/demote.sql", mode: 0o644, content: file("demote.sql")},
		node{path: "etc/postgresql/"},
		node{path: "etc/postgresql/postgresql.conf", mode: 0o644, content: file("postgresql.conf")},
		node{path: "etc/postgresql/pg_hba.conf", mode: 0o644, content: file("pg_hba.conf")},
		node{path: "etc/postgresql/pg_ident.conf", mode: 0o644, content: file("pg_ident.conf")},
		node{path: "etc/postgresql-custom/"},
	),
	standin("rest", settings{User: "1000", Cmd: []string{"postgrest"}}, "3000"),
	standin("auth", settings{User: "1000", Cmd: []string{"auth"}}, "9999"),
	standin("kong", settings{User: "kong", Entrypoint: []string{"/entrypoint.sh"}, Cmd: []string{"kong", "docker-start"}}, "8000",
		node{path: "entrypoint.sh", content: []byte("#!/bin/sh\nexec \"$@\"\n")},
		node{path: "home/kong/", uid: 1000, gid: 1000},
		node{path: "usr/local/kong/", uid: 1000, gid: 1000},
	),
	standin("realtime", settings{Cmd: []string{"realtime"}}, "4000"),
	standin("storage", settings{Cmd: []string{"storage"}}, "5000", node{path: "var/lib/storage/"}),
	standin("imgproxy", settings{User: "999", Cmd: []string{"imgproxy"}}, "8080", node{path: "var/lib/storage/"}),
	standin("meta", settings{Cmd: []string{"meta"}}, "8080"),
	standin("studio", settings{Cmd: []string{"studio"}}, "3000", node{path: "app/snippets/"}, node{path: "app/edge-functions/"}),
	standin("functions", settings{Entrypoint: []string{"edge-runtime"}}, "9000", node{path: "home/deno/functions/"}, node{path: "root/.cache/deno/"}),
	standin("supavisor", settings{Cmd: []string{"/app/bin/server"}, WorkingDir: "/app"}, "4000",
		script("app/bin/migrate", "exec standin supavisor migrate"),
		script("app/bin/supavisor", `exec standin supavisor "$@"`),
		script("app/bin/server", "exec standin supavisor"),
	),
	// The app.
	standin("app", settings{User: "1001", Cmd: []string{"standin", "app"}, WorkingDir: "/app"}, "3000", node{path: "app/.next/cache/", uid: 1001, gid: 1001}),
	// The edge.
	{name: "caddy", debian: true, settings: settings{
		Env:        []string{path, "XDG_CONFIG_HOME=/config", "XDG_DATA_HOME=/data"},
		Cmd:        []string{"caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"},
		WorkingDir: "/srv", ExposedPorts: ports("80", "443"), Labels: labels("caddy from Debian"),
	}, nodes: []node{{path: "data/"}, {path: "config/"}, {path: "etc/caddy/"}}},
	// Trigger.dev.
	standin("webapp", settings{User: "node", Cmd: []string{"./scripts/entrypoint.sh"}, WorkingDir: "/triggerdotdev"}, "3000",
		script("triggerdotdev/scripts/entrypoint.sh", "exec standin webapp"),
		node{path: "home/node/shared/", uid: 1000, gid: 1000},
	),
	postgres("postgres", nil),
	{name: "redis", debian: true, settings: settings{
		Env: []string{path}, Cmd: []string{"redis-server"}, WorkingDir: "/data", ExposedPorts: ports("6379"), Labels: labels("redis from Debian"),
	}, nodes: []node{{path: "data/", uid: 999, gid: 999}}},
	standin("electric", settings{Cmd: []string{"electric"}}, "3000", node{path: "app/persistent/"}),
	standin("clickhouse", settings{Cmd: []string{"clickhouse"}}, "8123", node{path: "var/lib/clickhouse/"}, node{path: "etc/clickhouse-server/config.d/"}, node{path: "etc/clickhouse-server/users.d/"}),
	{name: "registry", debian: true, settings: settings{
		Env: []string{path}, Entrypoint: []string{"/usr/bin/docker-registry", "serve"}, Cmd: []string{"/etc/docker/registry/config.yml"},
		ExposedPorts: ports("5000"), Labels: labels("docker-registry from Debian"),
	}, nodes: []node{
		{path: "etc/docker/registry/config.yml", mode: 0o644, content: file("registry.yml")},
		{path: "var/lib/registry/"},
	}},
	standin("minio", settings{Entrypoint: []string{"/usr/bin/docker-entrypoint.sh"}, Cmd: []string{"server", "/data"}}, "9000",
		script("usr/bin/docker-entrypoint.sh", `exec standin minio "$@"`),
		node{path: "data/"},
	),
	standin("supervisor", settings{User: "node", Entrypoint: []string{"/usr/bin/dumb-init", "--"}, Cmd: []string{"pnpm", "run", "--filter", "supervisor", "start"}, WorkingDir: "/app"}, "8020",
		script("usr/bin/dumb-init", `[ "$1" != -- ] || shift`, `exec "$@"`),
		script("usr/local/bin/pnpm", "exec standin supervisor"),
		node{path: "home/node/shared/", uid: 1000, gid: 1000},
	),
	standin("docker-proxy", settings{Cmd: []string{"docker-proxy"}}, "2375"),
}

// StandinNames are the names that the stand-ins' program goes by in images;
// the first ones are programs of health checks.
var standinNames = []string{
	"curl", "node", "bash", "nc", "clickhouse-client", "mc",
	"kong", "postgrest", "auth", "realtime", "storage", "imgproxy", "meta", "studio", "edge-runtime", "electric", "clickhouse", "docker-proxy",
}

func standin(name string, s settings, port string, nodes ...node) recipe {
	s.Env = []string{path}
	s.ExposedPorts = ports(port)
	s.Labels = labels("a stand-in, for labs only")
	return recipe{name: name, settings: s, nodes: nodes}
}

func postgres(name string, env []string, nodes ...node) recipe {
	const uid, gid = 102, 104 // postgres, as Debian's package makes it here; the entry point corrects it
	return recipe{name: name, debian: true,
		settings: settings{
			Env:        append([]string{pathPostgres, "PGDATA=/var/lib/postgresql/data", "LANG=C.UTF-8"}, env...),
			Entrypoint: []string{"docker-entrypoint.sh"}, Cmd: []string{"postgres"},
			ExposedPorts: ports("5432"), Labels: labels("PostgreSQL 17 from Debian"),
			StopSignal: "SIGINT", // fast shutdown, as in Docker's library image
		},
		nodes: append([]node{
			{path: "usr/local/bin/docker-entrypoint.sh", content: file("postgres-entrypoint.sh")},
			{path: "docker-entrypoint-initdb.d/"},
			{path: "var/lib/postgresql/data/", mode: 0o700, uid: uid, gid: gid},
			{path: "run/postgresql/", mode: 0o2775, uid: uid, gid: gid},
		}, nodes...),
	}
}

func ports(list ...string) map[string]struct{} {
	out := map[string]struct{}{}
	for _, p := range list {
		out[p+"/tcp"] = struct{}{}
	}
	return out
}

func labels(what string) map[string]string {
	return map[string]string{"org.opencontainers.image.description": "Holdfast lab: " + what}
}

func script(path string, lines ...string) node {
	return node{path: path, content: []byte("#!/bin/sh\n" + strings.Join(lines, "\n") + "\n")}
}

// StandinFiles is the root file system around the stand-ins.
func standinFiles() []node {
	return []node{
		{path: "bin/"},
		{path: "etc/"},
		{path: "root/", mode: 0o700},
		{path: "run/"},
		{path: "tmp/", mode: 0o1777},
		{path: "usr/"}, {path: "usr/bin/"}, {path: "usr/local/"}, {path: "usr/local/bin/"},
		{path: "var/"}, {path: "var/lib/"}, {path: "var/run", to: "/run"},
		{path: "usr/bin/env", to: "/bin/busybox"},
		{path: "usr/bin/bash", to: "/usr/local/bin/standin"},
		{path: "bin/bash", to: "/usr/local/bin/standin"},
		{path: "etc/passwd", mode: 0o644, content: []byte("root:x:0:0:root:/root:/bin/sh\nkong:x:1000:1000::/home/kong:/bin/sh\nnode:x:1000:1000::/home/node:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")},
		{path: "etc/group", mode: 0o644, content: []byte("root:x:0:\nkong:x:1000:\nnode:x:1000:\nnogroup:x:65534:\n")},
		{path: "etc/nsswitch.conf", mode: 0o644, content: []byte("hosts: files dns\n")},
	}
}
