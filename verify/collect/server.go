package collect

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"

	"holdfast/internal/probe"
	"holdfast/internal/shell"
	"holdfast/verify"
)

// probes holds one read-only POSIX sh snippet a file. Names starting with "$"
// in them are set by variables, below.
//
//go:embed probes/*.sh
var probes embed.FS

// A section is one part of a server's facts: the probes it needs and how it is
// made of their outputs.
type section struct {
	name   string // as in rules, below "server."
	probes []string
	read   func(answers, *verify.Server) error
}

// sections lists every part of a server's facts.
var sections = []section{
	{"os", []string{"os"}, readOS},
	{"sshd", []string{"sshd"}, readSSHD},
	{"host_keys", []string{"hostkeys", "moduli"}, readHostKeys},
	{"firewall", []string{"firewall-ruleset", "firewall-boot", "firewall-config"}, readFirewall},
	{"listening", []string{"listening"}, readListening},
	{"kernel", []string{"sysctl-live", "sysctl-persisted", "modules-blocked", "modules-loaded"}, readKernel},
	{"accounts", []string{"accounts"}, readAccounts},
	{"passwords", []string{"passwords"}, readPasswords},
	{"shell", []string{"shell"}, readShell},
	{"banners", []string{"banners"}, readBanners},
	{"banning", []string{"banning"}, readBanning},
	{"keys", []string{"keys"}, readKeys},
	{"sudo", []string{"sudo-check", "sudo-files", "sudo-rules"}, readSudo},
	{"files", []string{"files"}, readFiles},
	{"packages", []string{"packages-updates", "packages-config", "packages-sources", "packages-installed", "needrestart"}, readPackages},
	{"time", []string{"time", "units"}, readTime},
	{"journald", []string{"journald"}, readJournald},
	{"apparmor", []string{"apparmor"}, readAppArmor},
	{"auditd", []string{"auditd"}, readAuditd},
	{"integrity", []string{"integrity", "units"}, readIntegrity},
	{"core_dumps", []string{"coredumps"}, readCoreDumps},
	{"docker", []string{"docker-info", "docker-config", "docker-host"}, readDocker},
	{"units", []string{"units"}, readUnits},
	{"reboot", []string{"reboot"}, readReboot},
	{"disks", []string{"disks"}, readDisks},
	{"mounts", []string{"mounts"}, readMounts},
	{"memory", []string{"memory"}, readMemory},
	{"release", []string{"release"}, readRelease},
}

// Probes that take long run beside the others, over the same connection: the
// package lists are read through, Docker asks its daemon, and fail2ban's takes
// its time.
var aside = [][]string{
	{"packages-updates", "packages-config", "packages-sources", "packages-installed", "needrestart"},
	{"banning", "passwords", "shell", "banners", "mounts", "memory", "integrity", "moduli", "coredumps"},
	{"docker-info", "docker-config", "docker-host", "containers", "networks", "kong"},
}

// answers are the outputs of a server's probes.
type answers struct{ probe.Outputs }

// ok returns what a probe printed, or why there is nothing to read.
func (a answers) ok(name string) (string, error) {
	out, ran := a.Outputs[name]
	if !ran {
		return "", errors.New("the server gave no answer")
	}
	if out.Exit != 0 {
		why := strings.TrimSpace(out.Stderr)
		if first, _, more := strings.Cut(why, "\n"); more {
			why = first + " …"
		}
		return "", fmt.Errorf("probe %s exited %d: %s", name, out.Exit, cmp.Or(why, "it printed no reason"))
	}
	return out.Stdout, nil
}

// server observes one server into the facts and returns the raw answers, of
// which other layers read their parts.
func (c *collection) server(ctx context.Context, s Server) answers {
	batches := append([][]string{{}}, aside...)
	apart := map[string]bool{}
	for _, names := range aside {
		for _, name := range names {
			apart[name] = true
		}
	}
	for _, sec := range sections {
		for _, name := range sec.probes {
			if !apart[name] {
				batches[0] = append(batches[0], name)
				apart[name] = true // once is enough
			}
		}
	}
	if s.Role == verify.Audit {
		batches = append(batches, []string{"reach"})
	}
	all := answers{probe.Outputs{}}
	var mu sync.Mutex
	var group sync.WaitGroup
	for _, names := range batches {
		group.Go(func() {
			outputs, err := c.batch(ctx, s, names)
			if err != nil {
				c.failed(verify.LayerServer, s.Role, "server", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			maps.Copy(all.Outputs, outputs)
		})
	}
	group.Wait()
	if s.Role == verify.Audit {
		c.reachFromAudit(all)
	}
	if _, ran := all.Outputs["os"]; !ran {
		return all // the main batch failed and is recorded as such
	}
	server := &verify.Server{Role: s.Role, Address: s.Address, DeployUser: cmp.Or(c.in.DeployUser, "root")}
	for _, sec := range sections {
		if err := sec.read(all, server); err != nil {
			c.failed(verify.LayerServer, s.Role, "server."+sec.name, err)
		}
	}
	if server.Keys != nil {
		server.Keys.Declared = append([]string{}, c.in.OperatorKeys...)
	}
	c.set(func(f *verify.Facts) { f.Servers[s.Role] = server })
	return all
}

// batch runs some probes in one go.
func (c *collection) batch(ctx context.Context, s Server, names []string) (probe.Outputs, error) {
	set := c.variables()
	list := make([]probe.Probe, 0, len(names))
	for _, name := range names {
		script, err := probes.ReadFile("probes/" + name + ".sh")
		if err != nil {
			return nil, err
		}
		list = append(list, probe.Probe{Name: name, Script: set[name] + string(script)})
	}
	nonce := probe.Nonce()
	stdout, stderr, err := s.Run(ctx, probe.Script(nonce, list))
	outputs, torn := probe.Parse(nonce, stdout, stderr)
	if torn == nil {
		return outputs, nil // a batch that ran to its end has answered, whatever its status
	}
	return nil, cmp.Or(err, torn)
}

// variables are the assignments that go before a probe's script.
func (c *collection) variables() map[string]string {
	assign := func(name, value string) string { return name + "=" + shell.Quote(value) + "\n" }
	var targets []string
	for _, s := range c.in.Servers {
		if s.Role == verify.Production {
			targets = s.addresses()
		}
	}
	paths := make([]string, len(sysctls))
	for i, key := range sysctls {
		paths[i] = strings.ReplaceAll(key, ".", "/")
	}
	return map[string]string{
		"sshd":               assign("deploy_user", cmp.Or(c.in.DeployUser, "root")),
		"shell":              assign("deploy_user", cmp.Or(c.in.DeployUser, "root")),
		"sysctl-live":        assign("sysctl_paths", strings.Join(paths, " ")),
		"files":              assign("sensitive_files", strings.Join(sensitiveFiles, " ")),
		"packages-installed": assign("packages", strings.Join(watchedPackages, " ")),
		"release":            assign("published_secrets", strings.Join(publishedSecrets(), "\n")),
		"reach":              assign("targets", strings.Join(targets, " ")) + assign("ports", joinPorts(reachPorts)),
	}
}
