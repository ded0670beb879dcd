package collect

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"holdfast/verify"
)

func TestVersionsCompareAsDpkgDoes(t *testing.T) {
	versions := []string{
		"1.0", "1.0-1", "1.0-1+deb13u1", "1.0-1~bpo1", "1.0~rc1", "1:0.5", "2.0", "1.10", "1.9", "0", "1.0a", "1.0+b1", "1.0.0",
		"3.5.7-1~deb13u3", "3.5.5-1", "20250419+deb13u1", "20250419", "10.42-4+b1", "10.42-4", "1.2.3ubuntu0.1", "1.2.3ubuntu0.10", "00001",
	}
	for _, a := range versions {
		for _, b := range versions {
			want := 0
			for relation, n := range map[string]int{"lt": -1, "gt": 1} {
				if exec.Command("dpkg", "--compare-versions", a, relation, b).Run() == nil {
					want = n
				}
			}
			got := compareVersions(a, b)
			if got < 0 && want != -1 || got > 0 && want != 1 || got == 0 && want != 0 {
				t.Errorf("compareVersions(%q, %q) = %d, dpkg says %d", a, b, got, want)
			}
		}
	}
}

func TestOnlyNewerVersionsAreUpdates(t *testing.T) {
	got, err := parseSecurityUpdates("openssl 3.5.5-1 3.5.7-1~deb13u3\nzlib1g 1:1.3 1:1.2\nopenssl 3.5.5-1 3.5.6-1\n")
	if err != nil {
		t.Fatal(err)
	}
	same(t, "updates", got, []string{"openssl"})
}

func TestASecuritySourceCountsWhenItIsOn(t *testing.T) {
	for text, want := range map[string]bool{
		"deb http://security.debian.org/debian-security trixie-security main\n":                              true,
		"# deb http://security.debian.org/debian-security trixie-security main\n":                            false,
		"Types: deb\nURIs: http://x\nSuites: noble noble-updates noble-security\n":                           true,
		"Enabled: no\nTypes: deb\nSuites: noble-security\n\nTypes: deb\nSuites: noble\n":                     false,
		"Enabled: no\nTypes: deb\nSuites: noble\n\nTypes: deb\nSuites: noble-security\n":                     true,
		"deb [signed-by=/x] http://deb.debian.org/debian trixie main\n":                                      false,
		"Types: deb\nURIs: http://deb.debian.org/debian-security\nSuites: trixie-security\nComponents: main": true,
	} {
		if got := hasSecuritySource(text); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}

func TestSysctlFilesCountInTheirOrderAndExactKeysBeatPatterns(t *testing.T) {
	got := parseSysctl("net/ipv4/ip_forward=1\nkernel/sysrq=0\nnet/ipv4/conf/all/rp_filter=2\n", `
# /usr/lib/sysctl.d/50-default.conf
net.ipv4.conf.all.rp_filter = 1
-net.ipv4.conf.*.rp_filter = 2
; comment
kernel.sysrq = 0x01b6
kernel/sysrq=0
net.ipv4.ip_forward=0
net/ipv4/ip_forward = 1
`)
	same(t, "forwarding", got["net.ipv4.ip_forward"], verify.Sysctl{Live: "1", Persisted: "1"})
	same(t, "sysrq", got["kernel.sysrq"], verify.Sysctl{Live: "0", Persisted: "0"})
	same(t, "an exact key", got["net.ipv4.conf.all.rp_filter"], verify.Sysctl{Live: "2", Persisted: "1"})
	same(t, "a pattern", got["net.ipv4.conf.default.rp_filter"], verify.Sysctl{Persisted: "2"})
	same(t, "what nobody sets", got["kernel.dmesg_restrict"], verify.Sysctl{})
}

func TestSudoersAreReadAcrossLinesAndTabs(t *testing.T) {
	sudo := parseSudoers("Defaults\tuse_pty, logfile=\"/var/log/sudo.log\"\n# %x ALL=(ALL) NOPASSWD: ALL\ndeploy ALL=(ALL:ALL) \\\n  NOPASSWD: ALL\n%sudo ALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n")
	same(t, "defaults", sudo.Defaults, []string{"use_pty", `logfile="/var/log/sudo.log"`})
	same(t, "who needs no password", sudo.NoPassword, []string{"deploy"})
}

func TestSocketsOfEveryKindOfAddress(t *testing.T) {
	got, err := parseSockets("udp UNCONN 0 0 10.0.0.5%eth0:68 0.0.0.0:* users:((\"dhclient\",pid=1,fd=2))\n" +
		"tcp LISTEN 0 1 [::1]:631 [::]:*\ntcp LISTEN 0 1 *:9100 *:* users:((\"a b\",pid=1,fd=2),(\"c\",pid=2,fd=2))\ntcp LISTEN 0 1 [::ffff:127.0.0.1]:1 [::]:*\nudp UNCONN 0 0 [fe80::1]%eth0:546 [::]:*\n")
	if err != nil {
		t.Fatal(err)
	}
	same(t, "sockets", got.Sockets, []verify.Socket{
		{Protocol: "udp", Address: "10.0.0.5", Port: 68, Process: "dhclient"},
		{Protocol: "tcp", Address: "::1", Port: 631, Loopback: true},
		{Protocol: "tcp", Address: "::", Port: 9100, Process: "a b"},
		{Protocol: "tcp", Address: "::ffff:127.0.0.1", Port: 1, Loopback: true},
		{Protocol: "udp", Address: "fe80::1", Port: 546},
	})
}

func TestVerdictMapsAreSeveralRules(t *testing.T) {
	firewall, err := parseRuleset([]byte(`{"nftables": [
	 {"chain": {"family": "inet", "table": "t", "name": "in", "hook": "input", "prio": 0, "policy": "drop"}},
	 {"rule": {"family": "inet", "table": "t", "chain": "in", "expr": [{"vmap": {"key": {"ct": {"key": "state"}}, "data": {"set": [["established", {"accept": null}], ["invalid", {"drop": null}]]}}}]}},
	 {"rule": {"family": "inet", "table": "t", "chain": "in", "expr": [{"vmap": {"key": {"payload": {"protocol": "tcp", "field": "dport"}}, "data": {"set": [[22, {"jump": {"target": "ssh"}}]]}}}]}},
	 {"rule": {"family": "inet", "table": "t", "chain": "ssh", "expr": [{"accept": null}]}},
	 {"rule": {"family": "inet", "table": "t", "chain": "in", "expr": [{"vmap": {"key": {"meta": {"key": "mark"}}, "data": {"set": [[1, {"accept": null}]]}}}]}},
	 {"rule": {"family": "inet", "table": "t", "chain": "in", "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": {"prefix": {"addr": "10.0.0.0", "len": 8}}}}, {"xt": {"type": "match", "name": "addrtype"}}, {"accept": null}]}}
	]}`))
	if err != nil {
		t.Fatal(err)
	}
	none := []string{}
	same(t, "rules", firewall.Chains[0].Rules, []verify.FirewallRule{
		{Verdict: "accept", Ports: none, Sources: none, Interfaces: none, States: []string{"established"}},
		{Verdict: "drop", Ports: none, Sources: none, Interfaces: none, States: []string{"invalid"}},
		{Verdict: "jump", Protocol: "tcp", Ports: []string{"22"}, Sources: none, Interfaces: none, States: none},
		{Verdict: "accept", Protocol: "tcp", Ports: []string{"22"}, Sources: none, Interfaces: none, States: none},
		{Verdict: "accept", Ports: none, Sources: none, Interfaces: none, States: none, Partial: true},
		{Verdict: "accept", Ports: none, Sources: []string{"10.0.0.0/8"}, Interfaces: none, States: none, Partial: true},
	})
}

func TestARulesetThatJumpsInCirclesEnds(t *testing.T) {
	if _, err := parseRuleset([]byte(`{"nftables": [
	 {"chain": {"family": "ip", "table": "t", "name": "a", "hook": "input"}},
	 {"rule": {"family": "ip", "table": "t", "chain": "a", "expr": [{"jump": {"target": "a"}}]}},
	 {"rule": {"family": "ip", "table": "t", "chain": "a", "expr": [{"jump": {"target": "a"}}]}}
	]}`)); err != nil {
		t.Fatal(err)
	}
}

const kongFileText = `
_format_version: "3.0"
plugins:
  - {name: correlation-id}
  - {name: rate-limiting, config: {minute: 6000}}
consumers:
  - username: anon
    keyauth_credentials: [{key: "$SUPABASE_ANON_KEY"}, {key: literal}]
services:
  - name: rest
    url: http://rest:3000/
    plugins:
      - {name: key-auth}
      - {name: acl, config: {allow: [admin, anon]}}
      - {name: cors, config: {origins: ["https://app.example.com"]}}
      - {name: request-size-limiting, config: {allowed_payload_size: 1500, size_unit: kilobytes}}
      - {name: bot-detection, enabled: false}
    routes:
      - {name: all, paths: [/rest/v1/]}
      - {paths: [/rest/v1/heavy], plugins: [{name: rate-limiting, config: {second: 1, minute: $LIMIT}}]}
  - name: closed
    url: http://127.0.0.1:9
    routes: [{name: pg, paths: [/pg/], plugins: [{name: request-termination, config: {status_code: 403}}]}]
`

func TestKongsPluginsApplyFromOutsideIn(t *testing.T) {
	config, err := parseKong([]byte(kongFileText))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "literal credentials", config.LiteralCredentials, 1)
	all := config.Routes[0]
	same(t, "plugins", all.Plugins, []string{"acl", "correlation-id", "cors", "key-auth", "rate-limiting", "request-size-limiting"})
	same(t, "route", []any{all.PerMinute, all.BodyMiB, all.Groups, all.Origins, all.Closed}, []any{6000, 2, []string{"admin", "anon"}, []string{"https://app.example.com"}, false})
	heavy := config.Routes[1]
	same(t, "inner limit", []any{heavy.Name, heavy.PerSecond, heavy.PerMinute}, []any{"rest[1]", 1, 0})
	same(t, "closed route", config.Routes[2].Closed, true)
	same(t, "longest path", routeFor(config, "/rest/v1/heavy/x").Name, "rest[1]")
}

func TestDemoKeysAreRecognisedInAnyAlignment(t *testing.T) {
	secrets := publishedSecrets()
	for _, token := range []string{
		// Published in Supabase's .env.example.
		"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJyb2xlIjoiYW5vbiIsImlzcyI6InN1cGFiYXNlLWRlbW8iLCJpYXQiOjE2NDE3NjkyMDAsImV4cCI6MTc5OTUzNTYwMH0.x",
		"eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJzdXBhYmFzZS1kZW1vIiwicm9sZSI6ImFub24ifQ.x",
		"eyJhbGciOiJIUzI1NiJ9.eyJyIjoiYSIsImlzcyI6InN1cGFiYXNlLWRlbW8ifQ.x",
	} {
		found := false
		for _, s := range secrets {
			found = found || strings.Contains(token, s)
		}
		if !found {
			t.Errorf("not recognised: %s", token)
		}
	}
	for _, s := range secrets {
		if len(s) < 10 || strings.ContainsAny(s, "\n'") {
			t.Errorf("%q is too short to look for, or breaks the list", s)
		}
	}
}

func TestReachIsCompleteOrAnError(t *testing.T) {
	addresses := []string{"10.0.0.2", "2001:db8::2"}
	var text strings.Builder
	for _, address := range addresses {
		for i, p := range reachPorts {
			text.WriteString(address + " " + joinPorts([]int{p}) + " " + []string{"0", "1", "124"}[i%3] + "\n")
		}
	}
	reach, err := parseReach(text.String(), addresses)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "ssh", reach.Ports[0], verify.PortState{Address: "10.0.0.2", Port: 22, State: "open"})
	same(t, "how many", len(reach.Ports), 2*len(reachPorts))
	for _, broken := range []string{
		"", "10.0.0.2 22 0\n", strings.Replace(text.String(), "22 0", "22 127", 1), "x y z\n",
		strings.Replace(text.String(), "2001:db8::2 443 ", "2001:db8::3 443 ", 1),
	} {
		if _, err := parseReach(broken, addresses); err == nil {
			t.Errorf("%q was accepted", broken)
		}
	}
}

func TestEachAddressOfProductionIsTriedOnce(t *testing.T) {
	s := Server{Address: "203.0.113.10", Private: []string{"10.0.0.2", "", "203.0.113.10"}}
	same(t, "addresses", s.addresses(), []string{"10.0.0.2", "203.0.113.10"})
}

func TestAccountsAreLockedOnlyWherePAMCountsAndLooks(t *testing.T) {
	const counts = "pam auth [default=die] pam_faillock.so authfail\n"
	const looks = "pam auth requisite pam_faillock.so preauth deny=7\npam account required pam_faillock.so\n"
	const unix = "defs PASS_MAX_DAYS\t99999\ndefs UMASK 27 # strict\npam password [success=1 default=ignore] pam_unix.so obscure use_authtok try_first_pass yescrypt\n"
	for name, c := range map[string]struct {
		text string
		want verify.Passwords
	}{
		"nothing":       {unix, verify.Passwords{MaxDays: 99999, Umask: "0027", Hash: "yescrypt"}},
		"counts only":   {unix + counts, verify.Passwords{MaxDays: 99999, Umask: "0027", Hash: "yescrypt"}},
		"looks only":    {unix + looks, verify.Passwords{MaxDays: 99999, Umask: "0027", Hash: "yescrypt"}},
		"both":          {unix + counts + looks, verify.Passwords{MaxDays: 99999, Umask: "0027", Hash: "yescrypt", LockAfter: 7, LockSeconds: 600}},
		"by an account": {unix + counts + "pam account required pam_faillock.so\nfaillock deny = 5\nfaillock unlock_time = never\n", verify.Passwords{MaxDays: 99999, Umask: "0027", Hash: "yescrypt", LockAfter: 5}},
	} {
		got, err := parsePasswords(c.text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		same(t, name, *got, c.want)
	}
	for _, broken := range []string{"", "defs UMASK 027\n", unix + "surprise\n", unix + counts + looks + "faillock unlock_time = soon\n", unix + "defs PASS_MAX_DAYS many\n"} {
		if _, err := parsePasswords(broken); err == nil {
			t.Errorf("%q was accepted", broken)
		}
	}
}

func TestMountsAreThoseOfNowAndOfTheNextBoot(t *testing.T) {
	got, err := parseMounts("now overlay / overlay rw 0 0\nnow tmpfs /tmp tmpfs rw,nosuid,nodev 0 0\nnow tmpfs /dev/shm tmpfs rw,noexec 0 0\n" +
		"fstab # <file system>\nfstab /var/tmp /var/tmp none bind,noexec 0 0\nfstab tmpfs /tmp tmpfs nosuid,noexec 0 0\nunit Where=/tmp\nunit Options=mode=1777\n")
	if err != nil {
		t.Fatal(err)
	}
	same(t, "mounts", got.Points, map[string]verify.MountPoint{
		"/tmp":     {Path: "/tmp", Mounted: true, FileSystem: "tmpfs", Options: []string{"rw", "nosuid", "nodev"}, Boot: []string{"nosuid", "noexec"}},
		"/var/tmp": {Path: "/var/tmp", Options: []string{}, Boot: []string{"bind", "noexec"}},
		"/dev/shm": {Path: "/dev/shm", Mounted: true, FileSystem: "tmpfs", Options: []string{"rw", "noexec"}, Boot: []string{}},
	})
}

// What is empty or torn was not observed: it must not read as "nothing there".
func TestUnreadableAnswersAreErrors(t *testing.T) {
	none := func(err error) bool { return err == nil }
	accepted := map[string]func(string) bool{
		"sshd":      func(s string) bool { _, err := parseSSHD(s); return none(err) },
		"ruleset":   func(s string) bool { _, err := parseRuleset([]byte(s)); return none(err) },
		"sockets":   func(s string) bool { _, err := parseSockets(s); return none(err) },
		"accounts":  func(s string) bool { _, err := parseAccounts(s); return none(err) },
		"passwords": func(s string) bool { _, err := parsePasswords(s); return none(err) },
		"shell":     func(s string) bool { _, err := parseShell(s); return none(err) },
		"banning":   func(s string) bool { _, err := parseBanning([]byte(s)); return none(err) },
		"units":     func(s string) bool { _, err := parseUnits(s); return none(err) },
		"coredumps": func(s string) bool { _, err := parseCoreDumps(s); return none(err) },
		"disks":     func(s string) bool { _, err := parseDisks(s); return none(err) },
		"mounts":    func(s string) bool { _, err := parseMounts(s); return none(err) },
		"info":      func(s string) bool { _, err := parseDockerInfo([]byte(s)); return none(err) },
		"host":      func(s string) bool { return none(parseDockerHost(s, &verify.Docker{})) },
	}
	for name, accepts := range accepted {
		for _, text := range []string{"", "{}", "null", "\n\n", "Segmentation fault\n", "now\n"} {
			if accepts(text) {
				t.Errorf("%s: %q was read as an observation", name, text)
			}
		}
	}
	if _, err := parseDisks("Type Avail Use% IUse% Mounted\next4 10 9O% 1% /\n"); err == nil {
		t.Error("an unreadable share of a disk was read as empty")
	}
	if _, err := parseAuditd("active\nenabled 1\n"); err == nil {
		t.Error("auditd counts as running although the kernel did not say all")
	}
}

// recordings are the answers that a fuzzed parser starts from.
func recordings(f *testing.F, names ...string) {
	f.Helper()
	for _, name := range names {
		data, err := os.ReadFile("testdata/debian13/" + name + ".txt")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
}

func FuzzSSHD(f *testing.F) {
	recordings(f, "sshd")
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := parseSSHD(text); err == nil && (s.PermitRootLogin == "" || s.PasswordAuthentication == "" || len(s.Port) == 0) {
			t.Errorf("settings without a value were accepted: %+v", s)
		}
	})
}

func FuzzRuleset(f *testing.F) {
	recordings(f, "firewall-ruleset")
	f.Fuzz(func(t *testing.T, text string) {
		firewall, err := parseRuleset([]byte(text))
		if err != nil {
			return
		}
		for _, c := range firewall.Chains {
			if c.Hook == "" || len(c.Rules) > maxRules {
				t.Errorf("chain %+v", c)
			}
		}
	})
}

func FuzzSysctl(f *testing.F) {
	live, err := os.ReadFile("testdata/debian13/sysctl-live.txt")
	if err != nil {
		f.Fatal(err)
	}
	persisted, err := os.ReadFile("testdata/debian13/sysctl-persisted.txt")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(live), string(persisted))
	f.Fuzz(func(t *testing.T, live, persisted string) {
		all := parseSysctl(live, persisted)
		for _, key := range sysctls {
			if _, ok := all[key]; !ok {
				t.Errorf("%s is missing", key)
			}
		}
	})
}

func FuzzSockets(f *testing.F) {
	recordings(f, "listening")
	f.Fuzz(func(t *testing.T, text string) {
		listening, err := parseSockets(text)
		if err != nil {
			return
		}
		lines := 0
		for line := range strings.Lines(text) {
			if strings.TrimSpace(line) != "" {
				lines++
			}
		}
		if len(listening.Sockets) != lines {
			t.Errorf("%d sockets of %d lines", len(listening.Sockets), lines)
		}
		for _, s := range listening.Sockets {
			if s.Port < 0 || s.Port > 65535 {
				t.Errorf("socket %+v", s)
			}
		}
	})
}

func FuzzContainers(f *testing.F) {
	recordings(f, "containers")
	f.Fuzz(func(t *testing.T, text string) {
		containers, err := parseContainers(text)
		if err != nil {
			return
		}
		for _, c := range containers {
			if c.Name == "" || c.State == "" {
				t.Errorf("a container without a name or a state was accepted: %+v", c)
			}
		}
	})
}

func FuzzOtherParsers(f *testing.F) {
	recordings(f, "accounts", "keys", "docker-info", "docker-host", "release", "units", "disks", "passwords", "banning", "mounts", "auditd", "integrity")
	f.Add(kongFileText)
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = parseKeys(text)
		parseBlocked(text)
		_, _ = parseAccounts(text)
		_, _ = parsePasswords(text)
		_, _ = parseShell(text)
		_, _ = parseBanners(text)
		_, _ = parseBanning([]byte(text))
		_, _ = parseMounts(text)
		_, _ = parseIntegrity(text, []string{text})
		_, _ = parseAuditd(text)
		parseSudoers(text)
		_, _ = parseFiles(text)
		_, _ = parseSecurityUpdates(text)
		parseAptConfig(text)
		hasSecuritySource(text)
		_, _ = parseUnits(text)
		_, _ = parseCoreDumps(text)
		_, _ = parseDisks(text)
		_, _ = parseRelease(text)
		_, _ = parseDockerInfo([]byte(text))
		_ = parseDockerHost(text, &verify.Docker{})
		_ = parseDaemonConfig([]byte(text), &verify.Docker{})
		_, _ = parseNetworks(text)
		_, _ = parseKong([]byte(text))
		_, _ = parseReach(text, []string{text})
		_, _ = parseFingerprint(text)
	})
}

func FuzzCompareVersionsIsAnOrder(f *testing.F) {
	f.Add("1.0-1~deb13u1", "1:1.0+b1")
	f.Fuzz(func(t *testing.T, a, b string) {
		ab, ba := compareVersions(a, b), compareVersions(b, a)
		if ab > 0 && ba >= 0 || ab < 0 && ba <= 0 || ab == 0 && ba != 0 || compareVersions(a, a) != 0 {
			t.Errorf("%q and %q compare as %d and %d", a, b, ab, ba)
		}
	})
}
