package stacks

import (
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
)

// safe is a service that breaks no rule.
func safe() types.ServiceConfig {
	return types.ServiceConfig{
		Restart: "unless-stopped",
		ContainerSpec: types.ContainerSpec{
			Image: "caddy:2.11.4", CapDrop: []string{"ALL"}, SecurityOpt: []string{"no-new-privileges:true"}, ReadOnly: true,
			MemLimit: 1 << 28, CPUS: 1, PidsLimit: 64,
			Logging: &types.LoggingConfig{Driver: "local", Options: map[string]string{"max-size": "20m", "max-file": "5"}},
		},
		WorkloadSpec: types.WorkloadSpec{HealthCheck: &types.HealthCheckConfig{Test: []string{"CMD", "true"}}},
	}
}

func variable(name, value string) types.MappingWithEquals {
	return types.MappingWithEquals{name: &value}
}

func TestEachRuleFindsTheUnsafeAndLetsItsTwinPass(t *testing.T) {
	type service = types.ServiceConfig
	bind := func(source string, readOnly bool) []types.ServiceVolumeConfig {
		return []types.ServiceVolumeConfig{{Type: "bind", Source: source, Target: "/x", ReadOnly: readOnly}}
	}
	tested := map[string]bool{}
	for _, test := range []struct {
		rule         string
		unsafe, twin func(*service)
	}{
		{"image-pinned", func(s *service) { s.Image = "caddy:2.11" }, func(s *service) { s.Image = "caddy:2.11.4" }},
		{"no-build", func(s *service) { s.Build = &types.BuildConfig{Context: "."} }, func(s *service) { s.Build = nil }},
		{"ports-loopback", func(s *service) { s.Ports = []types.ServicePortConfig{{Target: 80, Published: "80"}} },
			func(s *service) {
				s.Ports = []types.ServicePortConfig{{Target: 80, Published: "80", HostIP: "127.0.0.1"}}
			}},
		{"ports-loopback", func(s *service) {
			s.Ports = []types.ServicePortConfig{{Target: 80, Published: "80", HostIP: "0.0.0.0"}}
		},
			func(s *service) { s.Ports = []types.ServicePortConfig{{Target: 80, Published: "80", HostIP: "::1"}} }},
		{"not-privileged", func(s *service) { s.Privileged = true }, func(s *service) { s.Privileged = false }},
		{"not-privileged", func(s *service) { s.Devices = []types.DeviceMapping{{Source: "/dev/kvm"}} }, func(s *service) { s.Devices = nil }},
		{"own-namespaces", func(s *service) { s.NetworkMode = "host" }, func(s *service) { s.NetworkMode = "none" }},
		{"own-namespaces", func(s *service) { s.Pid = "host" }, func(s *service) { s.Pid = "" }},
		{"own-namespaces", func(s *service) { s.Ipc = "container:x" }, func(s *service) { s.Ipc = "private" }},
		{"no-new-privileges", func(s *service) { s.SecurityOpt = nil }, func(s *service) { s.SecurityOpt = []string{"no-new-privileges"} }},
		{"no-new-privileges", func(s *service) { s.SecurityOpt = []string{"no-new-privileges:false"} }, func(s *service) {}},
		{"confined", func(s *service) { s.SecurityOpt = append(s.SecurityOpt, "seccomp:unconfined") },
			func(s *service) { s.SecurityOpt = append(s.SecurityOpt, "seccomp:strict.json") }},
		{"capabilities-dropped", func(s *service) { s.CapDrop = []string{"NET_RAW"} }, func(s *service) { s.CapDrop = []string{"all"} }},
		{"capabilities-added", func(s *service) { s.CapAdd = []string{"SYS_ADMIN"} }, func(s *service) { s.CapAdd = nil }},
		{"root-read-only", func(s *service) { s.ReadOnly = false }, func(s *service) { s.ReadOnly = true }},
		{"limits", func(s *service) { s.MemLimit = 0 }, func(s *service) { s.MemLimit = 1 }},
		{"limits", func(s *service) { s.CPUS = 0 }, func(s *service) { s.CPUS = 0.5 }},
		{"limits", func(s *service) { s.PidsLimit = -1 }, func(s *service) { s.PidsLimit = 1 }},
		{"log-rotation", func(s *service) { s.Logging = nil }, func(s *service) { s.Logging.Driver = "json-file" }},
		{"log-rotation", func(s *service) { s.Logging.Options = map[string]string{"max-size": "1m"} }, func(s *service) {}},
		{"log-rotation", func(s *service) { s.Logging.Driver = "syslog" }, func(s *service) {}},
		{"health-check", func(s *service) { s.HealthCheck = nil }, func(s *service) {}},
		{"health-check", func(s *service) { s.HealthCheck.Disable = true }, func(s *service) {}},
		{"health-check", func(s *service) { s.HealthCheck.Test = []string{"NONE"} }, func(s *service) {}},
		{"restart", func(s *service) { s.Restart = "no" }, func(s *service) { s.Restart = "always" }},
		{"no-docker-socket", func(s *service) { s.Volumes = bind("/var/run/docker.sock", true) }, func(s *service) { s.Volumes = bind("./kong.yml", true) }},
		{"no-docker-socket", func(s *service) { s.UseAPISocket = true }, func(s *service) {}},
		{"no-host-paths", func(s *service) { s.Volumes = bind("/etc", true) }, func(s *service) { s.Volumes = bind("./etc", true) }},
		{"no-host-paths", func(s *service) { s.Volumes = bind("./data", false) },
			func(s *service) {
				s.Volumes = []types.ServiceVolumeConfig{{Type: "volume", Source: "data", Target: "/x"}}
			}},
		{"no-secret-in-environment", func(s *service) { s.Environment = variable("POSTGRES_PASSWORD", "x") },
			func(s *service) { s.Environment = variable("GOTRUE_PASSWORD_MIN_LENGTH", "12") }},
		{"no-secret-in-environment", func(s *service) { s.Environment = variable("DATABASE_URL", "postgres://a:b@db/x") },
			func(s *service) { s.Environment = variable("DATABASE_URL", "postgres://a@db:5432/x") }},
		{"no-secret-in-environment", func(s *service) { s.Environment = variable("NOTE", "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoiYW5vbiJ9.x") },
			func(s *service) { s.Environment = variable("NOTE", "eye") }},
		{"no-secret-in-environment", func(s *service) { s.Environment = types.MappingWithEquals{"HOME": nil} },
			func(s *service) { s.Environment = variable("HOME", "/") }},
	} {
		tested[test.rule] = true
		judge := func(change func(*service)) []Violation {
			s := safe()
			change(&s)
			return CheckPolicy(&types.Project{Name: "supabase", Services: types.Services{"thing": s}})
		}
		found := judge(test.unsafe)
		if !slices.ContainsFunc(found, func(v Violation) bool { return v.Rule == test.rule }) {
			t.Errorf("%s lets the unsafe pass; found %v", test.rule, found)
		}
		for _, v := range found {
			if v.Stack != "supabase" || v.Service != "thing" || v.Found == "" || v.Fix == "" {
				t.Errorf("%s: violation %+v does not say where and what to do", test.rule, v)
			}
		}
		if found := judge(test.twin); len(found) > 0 {
			t.Errorf("%s: its safe twin breaks policy: %v", test.rule, found)
		}
	}
	for _, rule := range rules {
		if !tested[rule.id] {
			t.Errorf("rule %s has no unsafe example", rule.id)
		}
	}
}

func TestFloatingReferencesAreToldFromPinnedOnes(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0f", 32)
	for _, ref := range []string{
		"caddy", "caddy:", "caddy:latest", "caddy:2", "caddy:2.11", "caddy:2.11-alpine", "caddy:v3.4", "redis:7", "registry:2",
		"a/b:stable", "a/b:main", "a/b:edge", "a/b:nightly", "a/b:lts", "a/b:alpine", "a/b:bookworm", "localhost:5000/a", "localhost:5000/a:latest",
		"postgres:14", "postgres:14-alpine", "postgres:alpine3.22", "a/b:20260", "a/b:deadbee", "a/b:sha-123", "a/b:v4-beta",
		"caddy@sha256:123", "caddy:2.11.4@sha256:abc", "caddy@", "@" + digest,
		"holdfast.local/db:latest", "holdfast.local/db:1.2.3", "holdfast.local/db:sha256-0f",
	} {
		if unpinned(ref) == "" {
			t.Errorf("%q counts as pinned", ref)
		}
	}
	for _, ref := range []string{
		"caddy:2.11.4", "caddy:2.11.4-alpine", "supabase/postgres:17.6.1.136", "postgrest/postgrest:v14.17", "postgres:14.24", "docker.io/library/postgres:14.24-bookworm",
		"supabase/studio:2026.09.07-sha-7996410", "pgsty/minio:RELEASE.2026-08-04T00-00-00Z", "a/b:20260907", "a/b:git-1f37f2a9", "a/b:" + strings.Repeat("a1", 20),
		"rustfs/rustfs:v1.0.0-rc.5", "localhost:5000/a:1.2.3", "ghcr.io/a/b:v4.5.12", "a/b:jdk-21.0.4",
		"caddy@" + digest, "caddy:latest@" + digest, "holdfast.local/db:sha256-" + strings.Repeat("0f", 32),
	} {
		if why := unpinned(ref); why != "" {
			t.Errorf("%q counts as floating: %s", ref, why)
		}
	}
}

func TestEveryExceptionIsNeededAndSaysWhy(t *testing.T) {
	release := render(t, example())
	all := exceptions
	defer func() { exceptions = all }()
	for i, e := range all {
		if e.Reason == "" {
			t.Errorf("%s/%s %s has no reason", e.Stack, e.Service, e.Rule)
		}
		if !slices.ContainsFunc(rules, func(r rule) bool { return r.id == e.Rule }) {
			t.Errorf("%s/%s: there is no rule %s", e.Stack, e.Service, e.Rule)
		}
		exceptions = slices.Delete(slices.Clone(all), i, i+1)
		project, err := load(e.Stack, release.file(e.Stack+"/compose.yml"))
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		for _, v := range CheckPolicy(project) {
			if v.Service != e.Service || v.Rule != e.Rule {
				t.Errorf("without %s/%s %s: %v", e.Stack, e.Service, e.Rule, v)
			}
			found = append(found, v.Found)
		}
		if len(found) == 0 {
			t.Errorf("%s/%s: nothing breaks %s any more", e.Stack, e.Service, e.Rule)
		}
		for _, f := range e.Found {
			if !slices.Contains(found, f) {
				t.Errorf("%s/%s: nothing %s any more", e.Stack, e.Service, f)
			}
		}
	}
}

func FuzzUnpinned(f *testing.F) {
	for _, seed := range []string{"a:1.2.3", "a@sha256:", "holdfast.local/", ":", "@", "/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, ref string) {
		if unpinned(ref) == "" && !strings.ContainsAny(ref, ":@") {
			t.Errorf("%q has neither tag nor digest and counts as pinned", ref)
		}
	})
}
