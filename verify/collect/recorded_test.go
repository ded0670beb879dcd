package collect

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"holdfast/internal/probe"
	"holdfast/verify"
)

// recorded returns what the probes printed on a Debian 13 server with Docker, a
// small firewall and one Compose project.
func recorded(t testing.TB) answers {
	t.Helper()
	files, err := filepath.Glob("testdata/debian13/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded answers: %v", err)
	}
	a := answers{probe.Outputs{}}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		a.Outputs[strings.TrimSuffix(filepath.Base(f), ".txt")] = probe.Output{Stdout: string(data)}
	}
	return a
}

func recordedServer(t testing.TB) *verify.Server {
	t.Helper()
	a, s := recorded(t), &verify.Server{}
	for _, sec := range sections {
		if err := sec.read(a, s); err != nil {
			t.Errorf("%s: %v", sec.name, err)
		}
	}
	return s
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestARecordedServerIsUnderstood(t *testing.T) {
	s := recordedServer(t)
	same(t, "os", s.OS, &verify.OS{ID: "debian", VersionID: "13", Name: "Debian GNU/Linux 13 (trixie)", Kernel: "6.12.48+deb13-amd64", Architecture: "x86_64", Virtualization: "docker"})
	same(t, "hostname", s.Hostname, "verify")
	same(t, "ports of sshd", s.SSHD.Port, []int{22})
	same(t, "root login", s.SSHD.PermitRootLogin, "without-password")
	same(t, "startups", s.SSHD.MaxStartups, "10:30:100")
	same(t, "host key types", []string{s.HostKeys.Keys[0].Type, s.HostKeys.Keys[1].Type, s.HostKeys.Keys[2].Type}, []string{"RSA", "ECDSA", "ED25519"})
	same(t, "mode of a host key", s.HostKeys.Keys[0].Mode, "0600")
	same(t, "firewall's units", s.Firewall.BootUnits, []string{"nftables.service"})
	same(t, "sysctl", s.Kernel.Sysctl["kernel.kptr_restrict"].Persisted, "2")
	same(t, "a pattern in sysctl.d", s.Kernel.Sysctl["net.ipv4.conf.all.rp_filter"].Persisted, "2")
	same(t, "forwarding", s.Kernel.Sysctl["net.ipv4.ip_forward"], verify.Sysctl{Live: "1", Persisted: "1"})
	same(t, "passwordless sudo", s.Sudo.NoPassword, []string{"deploy"})
	same(t, "sudo's error", s.Sudo.Error, "")
	same(t, "docker", []any{s.Docker.Version, s.Docker.LiveRestore, s.Docker.Config["userland-proxy"], s.Docker.LogOptions["max-size"], s.Docker.SocketMode},
		[]any{"26.1.5+dfsg1", true, "false", "20m", "0660"})
	same(t, "packages", s.Packages, &verify.Packages{
		SecurityUpdates: []string{"apt", "ca-certificates", "libapt-pkg7.0", "libexpat1", "libpcre2-8-0", "libssl3t64", "openssl", "openssl-provider-legacy", "zlib1g"},
		SecuritySource:  true, Unattended: true, RefreshesLists: true, SecurityOrigin: true, Installed: []string{"unattended-upgrades"},
		AutoRebootTime: "now", RestartMode: "l",
	})
	same(t, "journald", s.Journald, &verify.Journald{Storage: "auto", Compress: "yes", Persistent: true})
	same(t, "groups", s.HostKeys.SmallestGroup, 2048)
	same(t, "passwords", s.Passwords, &verify.Passwords{
		MaxDays: 365, MinDays: 1, Umask: "0027", HomeMode: "0700", Hash: "yescrypt", Quality: "pam_passwdqc", LockAfter: 5, LockSeconds: 900,
	})
	same(t, "shell", s.Shell, &verify.Shell{Umask: "0027", Idle: 3600})
	same(t, "banner", strings.HasPrefix(s.Banners.Files["/etc/issue.net"], "This is a private system."), true)
	same(t, "banning", s.Banning, &verify.Banning{Service: "fail2ban", Jails: []verify.Jail{{
		Name: "sshd", Tries: 5, Window: 600, Ban: 3600, Watching: true, Actions: []string{"nftables"},
		Exempt: []string{"127.0.0.0/8", "198.18.136.0/24", "::1", "198.18.136.20", "198.18.136.10"},
	}}})
	same(t, "memory", s.Memory, &verify.Memory{TotalMiB: 24105})
	same(t, "integrity", []any{s.Integrity.Tool, s.Integrity.AgeHours}, []any{"aide", 0})
	same(t, "limit of services' core dumps", s.CoreDumps.ServiceLimit, "0")
	same(t, "docker's files", len(s.Docker.Files), 6)
	for _, path := range []string{"/tmp", "/var/tmp", "/dev/shm"} {
		m := s.Mounts.Points[path]
		if !m.Mounted || !slices.Contains(m.Options, "noexec") || !slices.Contains(m.Boot, "noexec") {
			t.Errorf("mount %+v", m)
		}
	}
	same(t, "failed units", s.Units.Failed, []string{})
	same(t, "active units", slices.Contains(s.Units.Active, "docker.service"), true)
	same(t, "root's disk", s.Disks.Mounts[0].Path, "/")
	same(t, "release", s.Release, &verify.Release{
		Current:          "abc123",
		Secrets:          []verify.File{{Path: "supabase/secrets/rest.env", Mode: "0644", Owner: "root", Group: "root"}, {Path: "supabase/secrets/db.env", Mode: "0600", Owner: "root", Group: "root"}},
		Open:             []verify.File{{Path: "supabase/kong.txt", Mode: "0666", Owner: "root", Group: "root"}},
		PublishedSecrets: []string{"supabase/secrets/db.env"},
	})
	for _, u := range s.Accounts.Users {
		if u.Name == "root" && (u.Password != "locked" || !u.Login) || u.Name == "deploy" && u.Password != "locked" || u.Password == "empty" {
			t.Errorf("account %+v", u)
		}
	}
}

func TestTheRecordedFirewallIsUnderstood(t *testing.T) {
	var input, published *verify.Chain
	for i, c := range recordedServer(t).Firewall.Chains {
		if c.Table == "holdfast" && c.Name == "input" {
			input = &recordedServer(t).Firewall.Chains[i]
		}
		if c.Table == "holdfast" && c.Name == "published" {
			published = &recordedServer(t).Firewall.Chains[i]
		}
	}
	if input == nil || published == nil || input.Policy != "drop" || published.Priority != -150 {
		t.Fatalf("chains %+v and %+v", input, published)
	}
	same(t, "the published ports' filter", published.Rules, []verify.FirewallRule{{
		Verdict: "drop", Protocol: "tcp", Ports: []string{"22", "80", "443"}, Except: true, Interfaces: []string{"eth0"}, States: []string{"new"}, Sources: []string{}, ToLocal: true,
	}})
	// "tcp dport 22 jump ssh" followed by the rules of that chain.
	ssh := slices.IndexFunc(input.Rules, func(r verify.FirewallRule) bool { return r.Verdict == "jump" })
	same(t, "the chain that is jumped to", input.Rules[ssh+1:ssh+3], []verify.FirewallRule{
		{Verdict: "drop", Protocol: "tcp", Ports: []string{"22"}, Sources: []string{}, Interfaces: []string{}, States: []string{"new"}, Limited: true},
		{Verdict: "accept", Protocol: "tcp", Ports: []string{"22"}, Sources: []string{"198.51.100.0/24", "203.0.113.7"}, Interfaces: []string{}, States: []string{}},
	})
	same(t, "a range of ports", input.Rules[len(input.Rules)-2].Ports, []string{"8000-8010"})
}

func TestRecordedContainersAreUnderstoodWithoutTheirSecrets(t *testing.T) {
	a := recorded(t)
	if strings.Contains(a.Outputs["containers"].Stdout, "super-secret") {
		t.Fatal("the probe sends values of the environment")
	}
	containers, err := parseContainers(a.Outputs["containers"].Stdout)
	if err != nil {
		t.Fatal(err)
	}
	expected := expect(map[string]string{"supabase/db": "stub:1.0", "supabase/rest": "x:1.0"}, containers)
	same(t, "missing services", expected.Missing, []string{"supabase/rest"})
	if len(containers) != 3 || containers[0].Service != "supabase/db" {
		t.Fatalf("containers %+v", containers)
	}
	db, job, sock := containers[0], containers[1], containers[2]
	same(t, "environment", db.Env, []string{"MULTI", "POSTGRES_PASSWORD", "A"})
	same(t, "db", []any{db.Declared, db.Health, db.User, db.ReadOnly, db.CapAdd, db.CapDrop, db.Security, db.LogDriver, db.Restart, db.Networks},
		[]any{"stub:1.0", "healthy", "1000", true, []string{"CHOWN", "SETUID"}, []string{"ALL"}, []string{"no-new-privileges:true"}, "local", "unless-stopped", []string{"supabase_data", "supabase_loopback"}})
	same(t, "db's ports", db.Ports, []verify.Port{{Host: "127.0.0.1", HostPort: 5432, Port: 5432, Protocol: "tcp", Loopback: true}})
	same(t, "db's mounts", db.Mounts, []verify.Volume{
		{Type: "volume", Source: "supabase_data", Target: "/data", Write: true},
		{Type: "bind", Source: "/opt/holdfast/current/supabase/kong.txt", Target: "/k"},
	})
	same(t, "job's ports", []bool{job.Ports[0].Loopback, job.Ports[1].Loopback}, []bool{false, false})
	same(t, "job", []any{job.State, job.ExitCode, job.Restart, job.Declared}, []any{"exited", 0, "no", ""})
	same(t, "sock", []any{sock.Privileged, sock.NetworkMode, sock.PIDMode, sock.Mounts[0].Source, sock.Mounts[0].Write},
		[]any{true, "host", "host", "/var/run/docker.sock", true})
	networks, err := parseNetworks(a.Outputs["networks"].Stdout)
	if err != nil || !slices.Contains(networks, verify.DockerNetwork{Name: "supabase_data", Driver: "bridge", Internal: true}) {
		t.Errorf("networks %+v: %v", networks, err)
	}
}

// What a probe could not read must not look like an observation.
func TestWithoutAProbesAnswerItsSectionStaysUnknown(t *testing.T) {
	for _, sec := range sections {
		for _, name := range sec.probes {
			for _, broken := range []probe.Output{{Exit: 127, Stderr: "sh: 1: not found\nmore"}, {Stdout: "\x00garbage\n\tof a\nserver that\nlies", Exit: 1}} {
				a, s := recorded(t), &verify.Server{}
				a.Outputs[name] = broken
				err := sec.read(a, s)
				if err == nil && name != "sudo-check" { // whose failing is what it says
					t.Errorf("%s was read although %s failed", sec.name, name)
				}
				if err != nil && strings.Contains(err.Error(), "more") {
					t.Errorf("%s: the reason is not one line: %v", sec.name, err)
				}
			}
			a := recorded(t)
			delete(a.Outputs, name)
			if sec.read(a, &verify.Server{}) == nil {
				t.Errorf("%s was read without %s", sec.name, name)
			}
		}
	}
}
