package hardening

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"holdfast/internal/environment"
	"holdfast/internal/probe"
	"holdfast/provision"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ada"

func config(sshFrom ...string) environment.Config {
	return environment.Config{Access: environment.Access{User: "deploy", SSHFrom: sshFrom}}
}

// recorded reads the answers of a server that was observed once. The Ubuntu ones
// are Debian's with what differs written by hand.
func recorded(t *testing.T, name string) provision.Facts {
	t.Helper()
	outputs := probe.Outputs{}
	files, err := os.ReadDir(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join("testdata", name, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		outputs["provision/"+f.Name()] = probe.Output{Stdout: string(text)}
	}
	facts, err := provision.ParseFacts("production", outputs)
	if err != nil {
		t.Fatal(err)
	}
	return facts
}

func TestPlansOfRecordedServers(t *testing.T) {
	for _, name := range []string{"debian-13-fresh", "ubuntu-24.04-fresh"} {
		plan := provision.Diff(Desired("production", config("198.18.121.0/24"), []string{key}), recorded(t, name))
		var b strings.Builder
		for _, note := range plan.Notes {
			fmt.Fprintf(&b, "note: %s\n", note)
		}
		for _, c := range plan.Changes {
			fmt.Fprintf(&b, "%s: %s [%s]\n  %s\n%s", c.Concern, c.Summary, c.ID, c.Why, c.Diff)
		}
		golden := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if b.String() != string(want) {
			t.Errorf("the plan of %s differs from %s; look at it, then run with -update:\n%s", name, golden, b.String())
		}
	}
}

// The files of the converged server are not recorded but those that are declared
// now, so that a change of one does not make the record wrong.
func TestAConvergedServerHasAnEmptyPlan(t *testing.T) {
	desired := Desired("production", config("198.18.121.0/24"), []string{key})
	facts := recorded(t, "debian-13-converged")
	for _, r := range desired {
		if f, ok := r.(provision.File); ok {
			facts.Files[f.Path] = declared(f.Content, f.Mode)
			continue
		}
		// A ruleset and sysctls write a file too: the whole of it is in the diff.
		c, _ := r.Change(provision.Facts{SSHPorts: facts.SSHPorts, Sysctls: facts.Sysctls})
		header, text, ok := strings.Cut(c.Diff, "\n@@ ")
		if !ok || !strings.HasPrefix(header, "--- /dev/null\n+++ ") || strings.HasPrefix(c.ID, "user:") {
			continue
		}
		var content strings.Builder
		for line := range strings.Lines(text) {
			if added, ok := strings.CutPrefix(line, "+"); ok {
				content.WriteString(added)
			}
		}
		facts.Files[strings.TrimPrefix(header, "--- /dev/null\n+++ ")] = declared(content.String(), 0)
	}
	for _, c := range provision.Diff(desired, facts).Changes {
		t.Errorf("%s: %s\n%s", c.ID, c.Summary, c.Diff)
	}
}

func declared(content string, mode fs.FileMode) provision.FileFacts {
	if mode == 0 {
		mode = 0o644
	}
	return provision.FileFacts{Kind: "file", Mode: fmt.Sprintf("%04o", mode), Owner: "root", Group: "root", Content: []byte(content)}
}

// aboutOf is what a resource says of itself. Each kind embeds it.
func aboutOf(r provision.Resource) provision.About {
	return reflect.ValueOf(r).FieldByName("About").Interface().(provision.About)
}

// What can lock the operator out must be taken back unless it is confirmed.
func TestEveryChangeOfAccessSSHFirewallPAMAndKernelIsGuarded(t *testing.T) {
	for _, role := range both {
		for _, r := range Desired(role, config(), []string{key}) {
			if _, ok := r.(provision.Packages); ok {
				continue // installing locks nobody out, and may take longer than a guard waits
			}
			about := aboutOf(r)
			want := slices.Contains([]string{"access", "ssh", "firewall"}, about.Concern)
			if f, ok := r.(provision.File); ok {
				want = want && f.Path != "/etc/logrotate.d/holdfast" || slices.Contains(f.Actions, "pam-auth-update") || strings.Contains(f.Path, "faillock") || strings.Contains(f.Path, "fail2ban")
			}
			if _, ok := r.(provision.Sysctls); ok {
				want = true
			}
			if want != about.Guarded {
				t.Errorf("%s: %s of concern %s: guarded is %v", role, r.ID(), about.Concern, about.Guarded)
			}
		}
	}
}

var blank = regexp.MustCompile(`@[A-Z]+@`)

func TestEveryResourceSaysWhyAndHasAnIDOfItsOwn(t *testing.T) {
	for _, role := range []string{"production", "audit"} {
		seen := map[string]bool{}
		for _, r := range Desired(role, config("2001:db8::/32"), []string{key}) {
			if seen[r.ID()] {
				t.Errorf("%s: two resources are %s", role, r.ID())
			}
			seen[r.ID()] = true
			if about := aboutOf(r); about.Concern == "" || about.Why == "" {
				t.Errorf("%s: %s: %+v", role, r.ID(), about)
			}
			if c, ok := r.Change(provision.Facts{}); ok && c.Summary == "" {
				t.Errorf("%s: %s: %+v", role, r.ID(), c)
			}
			if blank.MatchString(fmt.Sprint(r)) {
				t.Errorf("%s: %s has a blank that was not filled in", role, r.ID())
			}
		}
	}
}

func TestTheAuditServerHasNoDockerNorWebPortsNorForwarding(t *testing.T) {
	for _, r := range Desired("audit", config(), []string{key}) {
		text := fmt.Sprint(r)
		for _, word := range []string{"docker.io", "daemon.json", "tcp dport { 80, 443 } accept", "PermitOpen", "ip_forward"} {
			if strings.Contains(text, word) {
				t.Errorf("%s has %q", r.ID(), word)
			}
		}
	}
}

func TestSSHIsAcceptedFromTheDeclaredNetworksOnly(t *testing.T) {
	for _, c := range []struct {
		from []string
		want []string
		not  string
	}{
		{nil, []string{"meta nfproto ipv4 tcp dport $ssh accept", "meta nfproto ipv6 tcp dport $ssh accept", "10/minute"}, "300/minute"},
		{[]string{"198.51.100.7/24"}, []string{"ip saddr { 198.51.100.0/24 } tcp dport $ssh accept", "300/minute"}, "ipv6 tcp dport"},
		{[]string{"2001:db8::1/32", "2001:db9::/32"}, []string{"ip6 saddr { 2001:db8::/32, 2001:db9::/32 } tcp dport $ssh accept"}, "ip saddr {"},
	} {
		text := rules(target{Config: config(c.from...), role: production})
		for _, want := range c.want {
			if !strings.Contains(text, want) {
				t.Errorf("from %v there is no %q:\n%s", c.from, want, text)
			}
		}
		if strings.Contains(text, c.not) {
			t.Errorf("from %v there is %q:\n%s", c.from, c.not, text)
		}
	}
}

// declaredIn finds a resource; false when it is not declared.
func declaredIn(role string, cfg environment.Config, id string) (provision.Resource, bool) {
	all := Desired(role, cfg, []string{key})
	i := slices.IndexFunc(all, func(r provision.Resource) bool { return r.ID() == id })
	if i < 0 {
		return nil, false
	}
	return all[i], true
}

func TestAConcernThatIsOffDeclaresNothingAndIsNotForgotten(t *testing.T) {
	for _, name := range environment.Concerns() {
		cfg := config()
		cfg.Hardening.Off = map[string]string{name: "the provider does it"}
		for _, role := range both {
			for _, r := range Desired(role, cfg, []string{key}) {
				if aboutOf(r).Concern == name {
					t.Errorf("%s is off, and %s is declared for %s", name, r.ID(), role)
				}
			}
		}
		if got, want := Off(cfg), "hardening leaves "+name+" alone: the provider does it"; len(got) != 1 || got[0] != want {
			t.Errorf("the plan says %q, want %q", got, want)
		}
	}
	if Off(config()) != nil {
		t.Error("nothing is off, and something is said")
	}
}

func TestWhatHoldfastYMLTunesIsDeclared(t *testing.T) {
	cfg := config("198.51.100.0/24")
	cfg.Access.Port = 2222
	cfg.Servers.Production.Address, cfg.Servers.Audit.Address = "203.0.113.10", "203.0.113.20"
	h := &cfg.Hardening
	h.SSH = environment.HardenedSSH{MaxAuthTries: 2, Unresponsive: 120, PermitOpen: []string{"127.0.0.1:9090"}}
	h.Shells.Idle = 900
	h.Passwords = environment.HardenedPasswords{MaxDays: 90, MinDays: 2, Tries: 7, Locked: 60}
	h.Kernel = environment.HardenedKernel{Sysctls: map[string]string{"vm.swappiness": "1", "net.ipv4.conf.all.rp_filter": "2"}, Modules: []string{"udf"}}
	h.Mounts.Exec = []string{"/var/tmp"}
	h.Firewall.Production = []string{"tcp/9100 from 198.51.100.0/24", "udp/51820"}
	h.Firewall.Egress = []string{"tcp/443", "tcp/80 to 2001:db8::/32"}
	h.Banning = environment.HardenedBanning{Tries: 3, Window: 60, Ban: 120, Exempt: []string{"192.0.2.0/24"}}
	h.Updates = environment.HardenedUpdates{Install: "all", Reboot: "03:30"}
	h.Time.Servers = []string{"ntp.example.com"}
	h.Journal = environment.HardenedJournal{MaxMiB: 64, Days: 30}
	h.AuditLog.Immutable = true
	h.Docker = environment.HardenedDocker{LogMiB: 1, LogFiles: 2, Mirrors: []string{"https://mirror.example.com"}, AddressPools: []string{"10.200.0.0/16"}}
	h.Swap.MiB = 256
	h.Banner.Text = "Keep out."
	h.Packages = environment.HardenedPackages{Keep: []string{"telnet"}, Remove: []string{"nano"}}
	h.Services = environment.HardenedServices{Keep: []string{"exim4.service"}, Stop: []string{"getty@tty1.service"}}
	const firewall = "firewall:inet holdfast"
	for _, c := range []struct{ role, id, has, not string }{
		{production, "file:/etc/ssh/sshd_config.d/00-holdfast.conf", "MaxAuthTries 2\n", ""},
		{production, "file:/etc/ssh/sshd_config.d/00-holdfast.conf", "ClientAliveInterval 60\nClientAliveCountMax 2\n", ""},
		{production, "file:/etc/ssh/sshd_config.d/00-holdfast.conf", " 127.0.0.1:5000 127.0.0.1:9090\n", ""},
		{production, "file:/etc/ssh/sshd_config.d/00-holdfast.conf", "\nPort 2222\n", ""},
		{production, "file:/etc/ssh/sshd_config.d/00-holdfast.conf", "restart ssh.socket", ""},
		{audit, "file:/etc/ssh/sshd_config.d/00-holdfast.conf", "AllowTcpForwarding no", "9090"},
		{audit, "file:/etc/ssh/sshd_config.d/01-holdfast-penalties.conf", "PerSourcePenaltyExemptList 127.0.0.0/8,::1/128,198.51.100.0/24,203.0.113.10/32,203.0.113.20/32\n", ""},
		{audit, "file:/etc/profile.d/holdfast-idle.sh", "TMOUT=900", ""},
		{audit, "directives:/etc/login.defs", "{PASS_MAX_DAYS 90} {PASS_MIN_DAYS 2}", ""},
		{audit, "file:/etc/security/faillock.conf", "deny = 7\nfail_interval = 900\nunlock_time = 60\n", ""},
		{audit, "sysctl:/etc/sysctl.d/zz-holdfast.conf", "{net.ipv4.conf.all.rp_filter 2 ", "ip_forward"},
		{production, "sysctl:/etc/sysctl.d/zz-holdfast.conf", "{vm.swappiness 1 ", "{net.ipv4.conf.all.rp_filter 1 "},
		{audit, "file:/etc/modprobe.d/holdfast.conf", "install dccp /bin/false", "udf"},
		{audit, "mount:/var/tmp", "nosuid nodev", "noexec"},
		{audit, "mount:/tmp", "noexec", ""},
		{production, firewall, "ip saddr 198.51.100.0/24 tcp dport 9100 accept\n\t\tudp dport 51820 accept\n\t}", "chain output"},
		{production, firewall, "iifname \"lo\" accept\n\t\tip saddr 198.51.100.0/24 tcp dport 9100 accept\n\t\tudp dport 51820 accept\n\t\tct state new fib", ""},
		{production, firewall, "ip saddr { 198.51.100.0/24, 203.0.113.20/32 } tcp dport $ssh accept", ""},
		{audit, firewall, "ip saddr { 198.51.100.0/24 } tcp dport $ssh accept", "51820"},
		{audit, firewall, "ip daddr 203.0.113.10/32 accept\n\t\ttcp dport 443 accept\n\t\tip6 daddr 2001:db8::/32 tcp dport 80 accept\n", "{ 80, 443 }"},
		{audit, firewall, "[2222]", ""},
		{audit, "file:/etc/fail2ban/jail.d/zz-holdfast.local", "ignoreip = 127.0.0.0/8 ::1/128 198.51.100.0/24 203.0.113.10/32 203.0.113.20/32 192.0.2.0/24\n", ""},
		{audit, "file:/etc/fail2ban/jail.d/zz-holdfast.local", "maxretry = 3\nfindtime = 60\nbantime = 120\n", ""},
		{audit, "file:/etc/apt/apt.conf.d/52holdfast", `archive=${distro_codename}-updates"`, ""},
		{audit, "file:/etc/apt/apt.conf.d/52holdfast", `Automatic-Reboot-Time "03:30";`, `"false"`},
		{audit, "file:/etc/systemd/timesyncd.conf.d/holdfast.conf", "NTP=ntp.example.com\n", ""},
		{audit, "file:/etc/chrony/sources.d/holdfast.sources", "server ntp.example.com iburst\n", ""},
		{audit, "file:/etc/systemd/journald.conf.d/holdfast.conf", "SystemMaxUse=64M\nSystemKeepFree=1G\nMaxRetentionSec=30day\n", ""},
		{audit, "file:/etc/audit/rules.d/holdfast.rules", "\n-e 2\n", "dockerd"},
		{production, "file:/etc/audit/rules.d/holdfast.rules", "dockerd", ""},
		{production, "file:/etc/docker/daemon.json", `"max-size": "1m"`, ""},
		{production, "file:/etc/docker/daemon.json", `"https://mirror.example.com"`, ""},
		{production, "file:/etc/docker/daemon.json", `"base": "10.200.0.0/16"`, ""},
		{audit, "swap:/swapfile", " 256}", ""},
		{audit, "file:/etc/issue.net", "Keep out.\n", ""},
		{audit, "removed:packages", "nano", " telnet "},
		{audit, "unit:getty@tty1.service", "stopped", ""},
	} {
		r, ok := declaredIn(c.role, cfg, c.id)
		if !ok {
			t.Errorf("%s: there is no %s", c.role, c.id)
			continue
		}
		if text := fmt.Sprint(r); !strings.Contains(text, c.has) || c.not != "" && strings.Contains(text, c.not) {
			t.Errorf("%s: %s has no %q, or has %q:\n%s", c.role, c.id, c.has, c.not, text)
		}
	}
	for _, id := range []string{"unit:exim4.service", "file:/etc/docker/daemon.json"} {
		if _, ok := declaredIn(audit, cfg, id); ok {
			t.Errorf("%s is declared for the audit server", id)
		}
	}
}

func TestTheAuditServersPrivateAddressIsUsedWhereThereIsOne(t *testing.T) {
	cfg := config("198.51.100.0/24")
	cfg.Servers.Audit.Address, cfg.Servers.Audit.Private = "audit.example.com", "10.0.0.2"
	if text := rules(target{Config: cfg, role: production}); !strings.Contains(text, "{ 198.51.100.0/24, 10.0.0.2/32 } tcp dport $ssh accept") {
		t.Errorf("the audit server can't get in:\n%s", text)
	}
}
