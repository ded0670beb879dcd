package stacks

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// A Violation is one place where a Compose project breaks policy.
type Violation struct {
	Stack   string `json:"stack"`
	Service string `json:"service"`
	Rule    string `json:"rule"` // such as "image-pinned"
	Found   string `json:"found"`
	Fix     string `json:"fix"`
}

func (v Violation) String() string {
	return fmt.Sprintf("%s/%s: %s (%s): %s", v.Stack, v.Service, v.Found, v.Rule, v.Fix)
}

// PolicyError says everything in a rendering that breaks policy.
type PolicyError struct{ Violations []Violation }

func (e *PolicyError) Error() string {
	var b strings.Builder
	b.WriteString("the rendered stacks break policy:")
	for _, v := range e.Violations {
		b.WriteString("\n  " + v.String())
	}
	return b.String()
}

// A rule judges one service. It returns what it found wrong, or nothing.
type rule struct {
	id    string
	fix   string
	check func(types.ServiceConfig) []string
}

// CheckPolicy judges every service of a loaded Compose project. What Exceptions
// lists is let through.
func CheckPolicy(project *types.Project) []Violation {
	var violations []Violation
	for _, name := range slices.Sorted(maps.Keys(project.Services)) {
		service := project.Services[name]
		service.Name = name
		for _, rule := range rules {
			for _, found := range rule.check(service) {
				if excepted(project.Name, name, rule.id, found) {
					continue
				}
				violations = append(violations, Violation{project.Name, name, rule.id, found, rule.fix})
			}
		}
	}
	return violations
}

// holds makes a check of a condition.
func holds(otherwise string, condition func(types.ServiceConfig) bool) func(types.ServiceConfig) []string {
	return func(s types.ServiceConfig) []string {
		if condition(s) {
			return nil
		}
		return []string{otherwise}
	}
}

var rules = []rule{
	{"image-pinned", "name a full version or a digest, such as caddy:2.11.4 or name@sha256:…", func(s types.ServiceConfig) []string {
		if why := unpinned(s.Image); why != "" {
			return []string{fmt.Sprintf("image %q is not pinned: %s", s.Image, why)}
		}
		return nil
	}},
	{"no-build", "name an image; a build on the server is a different image each time",
		holds("is built on the server", func(s types.ServiceConfig) bool { return s.Build == nil })},
	{"ports-loopback", "write 127.0.0.1:PORT:PORT, and let the edge proxy serve the public", func(s types.ServiceConfig) []string {
		var found []string
		for _, p := range s.Ports {
			if ip, err := netip.ParseAddr(p.HostIP); err != nil || !ip.IsLoopback() {
				found = append(found, "publishes port "+p.Published+" to every network")
			}
		}
		return found
	}},
	{"not-privileged", "remove privileged and devices, and add the one capability that is needed", func(s types.ServiceConfig) []string {
		var found []string
		if s.Privileged {
			found = append(found, "is privileged")
		}
		if len(s.Devices) > 0 || len(s.DeviceCgroupRules) > 0 {
			found = append(found, "gets devices of the host")
		}
		return found
	}},
	{"own-namespaces", "remove network_mode, pid, ipc, uts, userns_mode and cgroup", func(s types.ServiceConfig) []string {
		var found []string
		for _, mode := range []struct{ name, value string }{
			{"network", s.NetworkMode}, {"pid", s.Pid}, {"ipc", s.Ipc}, {"uts", s.Uts}, {"user", s.UserNSMode}, {"cgroup", s.Cgroup},
		} {
			if mode.value == "host" || strings.HasPrefix(mode.value, "container:") || strings.HasPrefix(mode.value, "service:") {
				found = append(found, fmt.Sprintf("shares the %s namespace (%s)", mode.name, mode.value))
			}
		}
		return found
	}},
	{"no-new-privileges", `add security_opt: ["no-new-privileges:true"]`,
		holds("may gain privileges", func(s types.ServiceConfig) bool {
			return slices.ContainsFunc(s.SecurityOpt, func(o string) bool {
				return o == "no-new-privileges:true" || o == "no-new-privileges" || o == "no-new-privileges=true"
			})
		})},
	{"confined", "remove the security_opt that turns a protection off", func(s types.ServiceConfig) []string {
		var found []string
		for _, o := range s.SecurityOpt {
			if strings.HasSuffix(o, "unconfined") || strings.HasPrefix(o, "label:disable") || strings.HasPrefix(o, "label=disable") {
				found = append(found, "turns a protection off ("+o+")")
			}
		}
		return found
	}},
	{"capabilities-dropped", "add cap_drop: [ALL]", holds("keeps Docker's default capabilities", func(s types.ServiceConfig) bool {
		return slices.ContainsFunc(s.CapDrop, func(c string) bool { return strings.EqualFold(c, "ALL") })
	})},
	{"capabilities-added", "remove it from cap_add, or state in Exceptions why it is needed", func(s types.ServiceConfig) []string {
		var found []string
		for _, c := range s.CapAdd {
			found = append(found, "adds the capability "+strings.TrimPrefix(strings.ToUpper(c), "CAP_"))
		}
		return found
	}},
	{"root-read-only", "add read_only: true, and tmpfs where it writes", holds("can write to its root filesystem", func(s types.ServiceConfig) bool { return s.ReadOnly })},
	{"limits", "add mem_limit, cpu_quota with cpu_period, and pids_limit", func(s types.ServiceConfig) []string {
		var found []string
		if s.MemLimit <= 0 {
			found = append(found, "has no memory limit")
		}
		if s.CPUS <= 0 && s.CPUQuota <= 0 {
			found = append(found, "has no limit of processor time")
		}
		if s.PidsLimit <= 0 {
			found = append(found, "has no limit of processes")
		}
		return found
	}},
	{"log-rotation", "add logging with the driver local, max-size and max-file", holds("keeps its log without end", func(s types.ServiceConfig) bool {
		return s.Logging != nil && (s.Logging.Driver == "local" || s.Logging.Driver == "json-file") &&
			s.Logging.Options["max-size"] != "" && s.Logging.Options["max-file"] != ""
	})},
	{"health-check", "add a healthcheck, so that a deploy knows when it is up", holds("has no health check", func(s types.ServiceConfig) bool {
		return s.HealthCheck != nil && !s.HealthCheck.Disable && len(s.HealthCheck.Test) > 0 && s.HealthCheck.Test[0] != "NONE"
	})},
	{"restart", "add restart: unless-stopped", holds("stays down when it ends", func(s types.ServiceConfig) bool {
		return s.Restart == "unless-stopped" || s.Restart == "always"
	})},
	{"no-docker-socket", "reach the engine through the socket proxy", func(s types.ServiceConfig) []string {
		var found []string
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeBind && slices.Contains([]string{"/var/run/docker.sock", "/run/docker.sock"}, v.Source) {
				found = append(found, "mounts the engine's socket, which is root on the server")
			}
		}
		if s.UseAPISocket {
			found = append(found, "uses the engine's socket, which is root on the server")
		}
		return found
	}},
	{"no-host-paths", "keep data in a named volume", func(s types.ServiceConfig) []string {
		var found []string
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeBind && strings.HasPrefix(v.Source, "/") && !strings.HasPrefix(v.Source, contentRoot+"/") && !strings.HasSuffix(v.Source, "/docker.sock") {
				found = append(found, "mounts the server's "+v.Source)
			}
			if v.Type == types.VolumeTypeBind && !v.ReadOnly {
				found = append(found, "can write to "+v.Source)
			}
		}
		return found
	}},
	{"no-secret-in-environment", "move it to the service's secret environment", func(s types.ServiceConfig) []string {
		var found []string
		for _, name := range slices.Sorted(maps.Keys(s.Environment)) {
			value := s.Environment[name]
			switch {
			case value == nil:
				found = append(found, "takes "+name+" from whoever starts it")
			case *value != "" && secretName.MatchString(name), secretValue.MatchString(*value):
				found = append(found, "shows "+name+" in the Compose file")
			}
		}
		return found
	}},
}

var (
	// secretName is a variable whose name ends in what it holds, and that is a secret.
	secretName = regexp.MustCompile(`(?i)(?:^|_)(?:PASSWORD|PASSWD|PASSPHRASE|PASS|PWD|PW|SECRET|TOKEN|CREDENTIAL|(?:PRIVATE|API|ACCESS|SECRET|SERVICE|SERVICE_ROLE|ANON|ENC|ENCRYPTION|CRYPTO|SIGNING)_?KEY)S?(?:_ID|_BASE)?$`)
	// secretValue is what shows itself to be one: a URL with a password, a signed
	// token, an opaque key, a private key.
	secretValue = regexp.MustCompile(`://[^/@\s:]*:[^/@\s]+@|\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+\.|\bsb_secret_|-----BEGIN [A-Z ]*PRIVATE KEY`)
)
