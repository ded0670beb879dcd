package baseline

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdfast/verify"
)

// today is the day of the fixtures.
var today = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// judged are the layers that good-facts.json has facts of; the database's
// rules are mutated on a real database.
var judged = []string{verify.LayerServer, verify.LayerCompose, verify.LayerGateway, verify.LayerNetwork}

// An edit sets one value of the facts document. The path's keys are separated
// by spaces; "-" appends to a list.
type edit struct {
	path  string
	value any
}

type edits []edit

const (
	prod  = "servers production "
	audit = "servers audit "
	con   = "compose containers "
)

// containers of the fixture, by their place in it
const (
	db, rest, kong, meta, app, caddy, dockerProxy = con + "0 ", con + "1 ", con + "3 ", con + "5 ", con + "6 ", con + "7 ", con + "9 "
)

// mutations breaks each rule of the default baseline in one small way.
var mutations = map[string]edits{
	"ssh.password-login":         {{prod + "sshd passwordauthentication", "yes"}},
	"ssh.root-login":             {{audit + "sshd permitrootlogin", "without-password"}},
	"ssh.empty-passwords":        {{prod + "sshd permitemptypasswords", "yes"}},
	"ssh.authentication-methods": {{prod + "sshd authenticationmethods", "any"}},
	"ssh.allowed-users":          {{prod + "sshd allowusers", []any{}}},
	"ssh.max-auth-tries":         {{prod + "sshd maxauthtries", 6}},
	"ssh.max-startups":           {{prod + "sshd maxstartups", "10:30:100"}},
	"ssh.login-grace":            {{prod + "sshd logingracetime", 0}},
	"ssh.dead-sessions":          {{prod + "sshd clientaliveinterval", 0}},
	"ssh.forwarding":             {{prod + "sshd x11forwarding", "yes"}},
	"ssh.tcp-forwarding":         {{prod + "sshd permitopen", []any{"any"}}},
	"ssh.trust":                  {{prod + "sshd permituserenvironment", "yes"}},
	"ssh.log-level":              {{prod + "sshd loglevel", "INFO"}},
	"ssh.key-exchange":           {{prod + "sshd kexalgorithms -", "ecdh-sha2-nistp256"}},
	"ssh.ciphers":                {{prod + "sshd ciphers -", "aes128-cbc"}},
	"ssh.macs":                   {{prod + "sshd macs -", "hmac-sha1"}},
	"ssh.host-key-types":         {{prod + "host_keys keys 0 type", "ECDSA"}},
	"ssh.host-key-files":         {{prod + "host_keys keys 0 mode", "0640"}},
	"ssh.brute-force":            {{audit + "units active", []any{"ssh.service", "auditd.service"}}, {audit + "firewall chains 0 rules 4 limited", false}},

	"ssh.max-sessions": {{prod + "sshd maxsessions", 100}},
	"ssh.groups":       {{prod + "sshd kexalgorithms -", "diffie-hellman-group-exchange-sha256"}},
	"ssh.listening":    {{prod + "listening sockets 0 process", "nc"}, {prod + "listening sockets 1 process", "nc"}},
	"ssh.banner":       {{prod + "banners files /etc/issue.net", " \n"}},
	"banner.discreet":  {{prod + "banners files /etc/issue", "Debian GNU/Linux 13 \\n \\l\n"}},
	"banning.sshd":     {{prod + "banning jails 0 actions", []any{}}},
	"banning.exempt":   {{prod + "banning jails 0 exempt -", "0.0.0.0/0"}},

	"accounts.declared-keys":         {{prod + "keys authorized 0 fingerprints -", "SHA256:stranger"}},
	"accounts.umask":                 {{prod + "shell umask", "0022"}},
	"accounts.idle-shells":           {{prod + "shell idle", 0}},
	"passwords.quality":              {{prod + "passwords quality", ""}},
	"passwords.lockout":              {{prod + "passwords lock_after", 0}},
	"passwords.hash":                 {{prod + "passwords hash", "md5"}},
	"passwords.age":                  {{prod + "passwords max_days", 99999}},
	"files.schedules":                {{prod + "files paths /etc/cron.d mode", "0755"}},
	"files.boot":                     {{prod + "files paths /swapfile mode", "0644"}},
	"accounts.root-only":             {{prod + "accounts users 3 uid", 0}},
	"accounts.empty-password":        {{prod + "accounts users 3 password", "empty"}},
	"accounts.root-password":         {{prod + "accounts users 0 password", "set"}},
	"accounts.system-shells":         {{prod + "accounts users 1 login", true}},
	"accounts.docker-group":          {{prod + "accounts docker_group -", "deploy"}},
	"accounts.authorized-keys-files": {{prod + "keys authorized 0 mode", "0666"}},
	"accounts.weak-keys":             {{prod + "keys authorized 0 weak -", "SHA256:weak"}},
	"sudo.valid":                     {{prod + "sudo error", "parse error in /etc/sudoers.d/x near line 1"}},
	"sudo.files":                     {{prod + "sudo files 0 mode", "0666"}},
	"sudo.no-password":               {{prod + "sudo no_password -", "www-data"}},
	"sudo.terminal":                  {{prod + "sudo defaults", []any{"logfile=x"}}},
	"sudo.log":                       {{prod + "sudo defaults", []any{"use_pty"}}},
	"files.shadow":                   {{prod + "files paths /etc/shadow mode", "0644"}},
	"files.system":                   {{prod + "files paths /etc/passwd mode", "0666"}},
	"files.root-home":                {{prod + "files paths /root mode", "0755"}},

	"kernel.exposure":          {{prod + "kernel sysctl kernel.kptr_restrict persisted", ""}},
	"kernel.attach":            {{prod + "kernel sysctl kernel.yama.ptrace_scope live", "0"}},
	"kernel.replacement":       {{prod + "kernel sysctl kernel.sysrq live", "438"}},
	"kernel.links":             {{prod + "kernel sysctl fs.protected_regular live", "1"}},
	"kernel.redirects":         {{prod + "kernel sysctl net.ipv4.conf.all.send_redirects live", "1"}},
	"kernel.spoofing":          {{prod + "kernel sysctl net.ipv4.conf.default.rp_filter live", "0"}},
	"kernel.floods":            {{prod + "kernel sysctl net.ipv4.tcp_syncookies live", "0"}},
	"kernel.forwarding":        {{prod + "kernel sysctl net.ipv4.ip_forward persisted", "0"}},
	"kernel.modules":           {{prod + "kernel loaded -", "usb_storage"}},
	"kernel.core-dumps":        {{prod + "core_dumps storage", "external"}},
	"kernel.apparmor":          {{prod + "apparmor enabled", false}},
	"kernel.apparmor-complain": {{prod + "apparmor complain -", "/usr/sbin/cupsd"}},

	"kernel.surface":   {{prod + "kernel sysctl dev.tty.ldisc_autoload live", "1"}},
	"mounts.temporary": {{prod + "mounts points /tmp options", []any{"rw", "nosuid", "nodev"}}},
	"mounts.pending":   {{prod + "mounts points /tmp mounted", false}},
	"mounts.docker":    {{prod + "mounts points /var/lib/docker options -", "noexec"}},
	"memory.swap":      {{prod + "memory swap_mib", 0}},

	"firewall.default-drop":    {{audit + "firewall chains 0 family", "ip"}},
	"firewall.accept-all":      {{prod + "firewall chains 0 rules -", emptyRule("accept")}},
	"firewall.open-ports":      {{audit + "firewall chains 0 rules 5 ports -", "5432"}},
	"firewall.published-ports": {{prod + "firewall chains 1 priority", -90}},
	"firewall.survives-boot":   {{prod + "firewall boot_units", []any{}}},
	"firewall.keeps-docker":    {{prod + "firewall flushes_ruleset", true}},
	"listening.declared":       {{prod + "listening sockets -", socket("tcp", "0.0.0.0", 8888, "nc")}},
	"listening.dangerous":      {{prod + "listening sockets -", socket("tcp", "::", 5432, "postgres")}},

	"packages.security-updates": {{prod + "packages security_updates -", "openssl"}},
	"packages.security-source":  {{prod + "packages security_source", false}},
	"packages.unattended":       {{prod + "packages unattended", false}},
	"packages.legacy":           {{prod + "packages installed -", "telnetd"}},
	"reboot.pending":            {{prod + "reboot required", true}},
	"time.synchronized":         {{prod + "time synchronized", false}},
	"time.one-service":          {{prod + "time services -", "chrony.service"}},
	"logs.persistent":           {{prod + "journald storage", "auto"}},
	"logs.bounded":              {{prod + "journald system_max_use", ""}},
	"logs.audit":                {{prod + "auditd active", false}},
	"logs.audit-rules":          {{prod + "auditd rules", []any{}}},
	"logs.audit-docker":         {{prod + "auditd loaded", []any{}}},
	"logs.audit-lost":           {{prod + "auditd lost", 7}},
	"integrity.watched":         {{prod + "integrity timers", []any{}}},
	"packages.restarts":         {{prod + "packages restart_mode", "i"}},
	"packages.reboot-time":      {{prod + "packages auto_reboot", true}},
	"services.unneeded":         {{prod + "units active -", "avahi-daemon.socket"}},
	"units.failed":              {{prod + "units failed -", "apt-daily.service"}},
	"disk.space":                {{prod + "disks mounts 0 used_pct", 97}},

	"docker.tcp-socket":          {{prod + "docker config hosts", `["tcp://0.0.0.0:2375"]`}},
	"docker.socket":              {{prod + "docker socket_mode", "0666"}},
	"docker.iptables":            {{prod + "docker config iptables", "false"}},
	"docker.no-new-privileges":   {{prod + "docker security_options", []any{"name=apparmor", "name=seccomp,profile=builtin"}}},
	"docker.seccomp":             {{prod + "docker security_options", []any{"name=apparmor", "name=seccomp,profile=unconfined", "name=no-new-privileges"}}},
	"docker.live-restore":        {{prod + "docker live_restore", false}},
	"docker.userland-proxy":      {{prod + "docker proxies", 2}},
	"docker.icc":                 {{prod + "docker config icc", "true"}},
	"docker.log-rotation":        {{prod + "docker logging_driver", "json-file"}, {prod + "docker log_options", map[string]any{}}},
	"docker.insecure-registries": {{prod + "docker insecure_remotes -", "10.0.0.0/8"}},
	"docker.experimental":        {{prod + "docker experimental", true}},
	"docker.swarm":               {{prod + "docker swarm", true}},

	"docker.log-level":      {{prod + "docker config log-level", "debug"}},
	"docker.storage-driver": {{prod + "docker storage_driver", "aufs"}},
	"docker.cgroup":         {{prod + "docker config cgroup-parent", "/system"}},
	"docker.bind-address":   {{prod + "docker config ip", "0.0.0.0"}},
	"docker.files":          {{prod + "docker files 0 mode", "0777"}},
	"docker.apparmor":       {{prod + "docker security_options", []any{"name=seccomp,profile=builtin", "name=no-new-privileges"}}},
	"docker.ssh-servers":    {{prod + "docker ssh_servers", 1}},

	"containers.processors":         {{rest + "cpus", 0}},
	"containers.propagation":        {{rest + "shared -", "/data"}},
	"containers.cgroup":             {{rest + "cgroup_parent", "/system"}},
	"networks.default-bridge":       {{rest + "network_mode", "bridge"}},
	"containers.missing":            {{"compose release missing -", "supabase/storage"}},
	"containers.undeclared":         {{"compose release images supabase/meta", nil}},
	"containers.image":              {{rest + "image", "postgrest/postgrest:v12.0.2"}},
	"images.pinned":                 {{rest + "image", "postgrest/postgrest:latest"}, {rest + "declared", "postgrest/postgrest:latest"}},
	"images.content":                {{app + "image_id", "sha256:" + strings.Repeat("cd", 32)}},
	"containers.running":            {{meta + "state", "exited"}, {meta + "exit_code", 137}},
	"containers.healthy":            {{rest + "health", "unhealthy"}},
	"containers.health-check":       {{rest + "health", ""}},
	"containers.crash-loop":         {{rest + "restarts", 41}},
	"containers.restart":            {{rest + "restart", "no"}},
	"containers.privileged":         {{rest + "privileged", true}},
	"containers.host-namespaces":    {{rest + "pid_mode", "host"}},
	"containers.capabilities":       {{rest + "cap_drop", []any{}}},
	"containers.added-capabilities": {{rest + "cap_add -", "SYS_ADMIN"}},
	"containers.root":               {{meta + "cap_drop", []any{}}},
	"containers.no-new-privileges":  {{rest + "security", []any{}}},
	"containers.confined":           {{rest + "security -", "seccomp=unconfined"}},
	"containers.memory":             {{rest + "memory", 0}},
	"containers.processes":          {{rest + "pids", 0}},
	"containers.read-only":          {{rest + "read_only", false}},
	"containers.logs":               {{rest + "log_driver", "json-file"}, {rest + "log_max_size", ""}},
	"containers.docker-socket":      {{dockerProxy + "mounts 0 write", true}},
	"containers.host-files":         {{rest + "mounts -", volume("/etc", false)}},
	"containers.release-files":      {{kong + "mounts 0 write", true}},
	"containers.devices":            {{rest + "devices -", "/dev/mem"}},
	"containers.published-ports":    {{db + "ports 0 loopback", false}},
	"networks.internal":             {{"compose networks 4 internal", false}},
	"networks.edge":                 {{meta + "networks -", "holdfast-edge"}},
	"networks.databases":            {{app + "networks -", "supabase_data"}},
	"networks.docker-api":           {{rest + "networks -", "trigger_docker"}},
	"secrets.service-role":          {{caddy + "env -", "SUPABASE_SERVICE_ROLE_KEY"}},
	"secrets.public-names":          {{app + "env -", "NEXT_PUBLIC_DATABASE_URL"}},

	"gateway.key-required":       {{"gateway config routes 2 plugins", []any{"cors", "rate-limiting", "request-size-limiting"}}},
	"gateway.groups":             {{"gateway config routes 2 groups", []any{}}},
	"gateway.rate-limit":         {{"gateway config routes 4 per_minute", 0}, {"gateway config routes 4 per_hour", 0}},
	"gateway.login-rate-limit":   {{"gateway config routes 1 per_minute", 6000}},
	"gateway.body-limit":         {{"gateway config routes 4 body_mib", 0}},
	"gateway.origins":            {{"gateway config routes 4 origins", []any{"*"}}},
	"gateway.internal-upstreams": {{"gateway config routes 4 upstream", "http://meta:8080/"}},
	"gateway.credentials":        {{"gateway config literal_credentials", 1}},
	"gateway.no-key":             {{"gateway probes rest-no-key status", 200}},
	"gateway.wrong-key":          {{"gateway probes rest-wrong-key status", 200}},
	"gateway.anon-key":           {{"gateway probes rest-anon status", 401}},
	"gateway.openapi":            {{"gateway probes rest-root-anon status", 200}},
	"gateway.auth-admin":         {{"gateway probes auth-admin-anon status", 200}},
	"gateway.sql-closed":         {{"gateway probes pg-anon status", 200}},
	"gateway.studio-closed":      {{"gateway probes dashboard status", 401}},
	"gateway.foreign-origin":     {{"gateway probes cors-preflight headers access-control-allow-origin", "*"}},
	"gateway.oversize":           {{"gateway probes oversize status", 0}},
	"gateway.burst":              {{"gateway burst limited", 0}},
	"gateway.headers":            {{"gateway probes auth-anon headers x-frame-options", nil}},
	"gateway.version":            {{"gateway probes dashboard headers server", "kong/3.9.3"}},

	"network.outside":     {{"network outside ports 7 state", "open"}},
	"network.from-audit":  {{"network from_audit ports 7 state", "open"}},
	"network.silent":      {{"network outside ports 7 state", "closed"}},
	"network.https-only":  {{"network http status", 200}},
	"tls.answers":         {{"network tls sites 1 error", "connection refused"}},
	"tls.old-versions":    {{"network tls sites 1 versions -", "1.0"}},
	"tls.current-version": {{"network tls sites 1 versions", []any{"1.2"}}},
	"tls.expiry":          {{"network tls sites 1 hours_left", 20}},
	"tls.name":            {{"network tls sites 1 covers_name", false}},
	"tls.trusted":         {{"network tls sites 1 trusted", false}},
	"tls.key":             {{"network tls sites 1 key", "RSA 1024"}},
	"tls.hsts":            {{"network tls sites 1 probes root headers strict-transport-security", "max-age=60"}},
	"edge.closed-paths":   {{"network tls sites 0 probes pg status", 200}},
	"edge.key-required":   {{"network tls sites 0 probes rest-no-key status", 200}},

	"release.current":         {{prod + "release current", ""}},
	"release.writable":        {{prod + "release open -", file("supabase/kong.yml", "0666")}},
	"release.folder":          {{prod + "files paths /opt/holdfast mode", "0777"}},
	"secrets.files":           {{prod + "release secrets 0 mode", "0644"}},
	"secrets.published":       {{prod + "release published_secrets -", "supabase/secrets/db.env"}},
	"separation.private-keys": {{prod + "keys private -", map[string]any{"path": "/root/.ssh/id_rsa", "mode": "0600"}}},
	"separation.secrets":      {{audit + "release secrets -", file("supabase/secrets/db.env", "0600")}},
	"separation.host-keys":    {{audit + "host_keys keys 0 fingerprint", "SHA256:ne7n5YxIh11gxEvnlZrPctHqV/YjoeovmXMj7t4DUYI"}},
	"separation.audit-keys":   {{audit + "keys private 0 mode", "0644"}},
}

// implied are findings that a mutation brings with it: the thing it breaks is
// promised by more than one rule.
var implied = map[string][]string{
	"accounts.root-only":  {"accounts.system-shells"},
	"containers.root":     {"containers.capabilities"},
	"listening.dangerous": {"listening.declared"},
	"logs.audit":          {"logs.audit-docker"},
	"logs.audit-docker":   {"logs.audit-rules"},
}

func emptyRule(verdict string) any {
	return map[string]any{"verdict": verdict, "ports": []any{}, "sources": []any{}, "interfaces": []any{}, "states": []any{}}
}

func socket(protocol, address string, port int, process string) any {
	return map[string]any{"protocol": protocol, "address": address, "port": port, "process": process, "loopback": false}
}

func volume(source string, write bool) any {
	return map[string]any{"type": "bind", "source": source, "target": "/mnt", "write": write}
}

func file(path, mode string) any {
	return map[string]any{"path": path, "mode": mode, "owner": "root", "group": "root"}
}

func TestEveryRuleCatchesItsMutationAndNothingElseDoes(t *testing.T) {
	b := load(t, "")
	for _, rule := range b.Rules() {
		if rule.Layer == verify.LayerDatabase {
			continue
		}
		t.Run(rule.ID, func(t *testing.T) {
			change, ok := mutations[rule.ID]
			if !ok {
				t.Fatalf("rule %s has no mutation that shows what it catches", rule.ID)
			}
			result := b.Evaluate(mutated(t, change), today, judged...)
			want := append([]string{rule.ID}, implied[rule.ID]...)
			slices.Sort(want)
			if got := failing(result); !slices.Equal(got, want) {
				t.Fatalf("findings of %v, want %v", got, want)
			}
			for _, f := range result.Findings {
				if f.Verdict != Fail || f.Message == "" || f.Fix == "" || f.On == "" || strings.Contains(f.Message+f.Fix, "no such") {
					t.Errorf("incomplete finding: %+v", f)
				}
			}
		})
	}
	for id := range mutations {
		if _, err := b.find(id); err != nil {
			t.Errorf("a mutation is for a rule that does not exist: %v", err)
		}
	}
}

func TestGoodFactsHaveNoFinding(t *testing.T) {
	result := load(t, "").Evaluate(mutated(t, nil), today, judged...)
	for _, f := range result.Findings {
		t.Errorf("%s %s on %s: %s", f.Verdict, f.Rule, f.On, f.Message)
	}
	for _, o := range result.Outcomes {
		if o.Verdict != Pass && o.Verdict != Skipped {
			t.Errorf("%s: %s", o.Rule, o.Verdict)
		}
	}
}

func TestEveryRuleOfABareEnvironmentIsUndecidedNeverPassed(t *testing.T) {
	result := load(t, "").Evaluate(&verify.Facts{Version: verify.Version}, today)
	for _, o := range result.Outcomes {
		if o.Verdict != Error {
			t.Errorf("%s is %s without any facts", o.Rule, o.Verdict)
		}
	}
}

// Without one part of a server's facts, no rule may pass that needs it, and
// those that don't need it still decide.
func TestAMissingPartMakesItsRulesUndecided(t *testing.T) {
	b := load(t, "")
	whole := b.Evaluate(mutated(t, nil), today, judged...)
	for _, part := range []string{
		prod + "sshd", prod + "firewall", prod + "kernel", prod + "docker", prod + "packages", audit + "release", audit + "host_keys",
		"compose release", "gateway config", "gateway burst", "network outside", "network tls", "compose", "gateway", "network",
	} {
		result := b.Evaluate(mutated(t, edits{{part, nil}}), today, judged...)
		undecided := 0
		for i, o := range result.Outcomes {
			switch {
			case o.Verdict == Error:
				undecided++
			case o.Verdict != whole.Outcomes[i].Verdict:
				t.Errorf("without %s rule %s is %s", part, o.Rule, o.Verdict)
			}
		}
		if undecided == 0 {
			t.Errorf("without %s every rule still passed", part)
		}
	}
}

func failing(result Result) []string {
	var ids []string
	for _, f := range result.Findings {
		ids = append(ids, f.Rule)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// mutated reads the good facts and applies a change to them.
func mutated(t testing.TB, change edits) *verify.Facts {
	t.Helper()
	data, err := os.ReadFile("testdata/good-facts.json")
	if err != nil {
		t.Fatal(err)
	}
	var document any
	if err := json.Unmarshal(data, &document); err != nil {
		t.Fatal(err)
	}
	for _, e := range change {
		document = set(t, document, strings.Fields(e.path), e.value)
	}
	data, err = json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	facts := &verify.Facts{}
	if err := decoder.Decode(facts); err != nil {
		t.Fatal(err)
	}
	return facts
}

// set returns document with the value at keys replaced; nil removes a key.
func set(t testing.TB, document any, keys []string, value any) any {
	t.Helper()
	if len(keys) == 0 {
		return value
	}
	switch node := document.(type) {
	case map[string]any:
		if len(keys) == 1 && value == nil {
			if _, ok := node[keys[0]]; !ok {
				t.Fatalf("there is no %q to remove", keys[0])
			}
			delete(node, keys[0])
			return node
		}
		node[keys[0]] = set(t, node[keys[0]], keys[1:], value)
		return node
	case []any:
		if keys[0] == "-" {
			return append(node, set(t, nil, keys[1:], value))
		}
		i, err := strconv.Atoi(keys[0])
		if err != nil || i >= len(node) {
			t.Fatalf("no element %q in a list of %d", keys[0], len(node))
		}
		node[i] = set(t, node[i], keys[1:], value)
		return node
	}
	t.Fatalf("nothing below %q to set", keys[0])
	return nil
}

func load(t testing.TB, text string) *Baseline {
	t.Helper()
	b, err := Load([]byte(text), "security-baseline.yml")
	if err != nil {
		t.Fatal(err)
	}
	return b
}
