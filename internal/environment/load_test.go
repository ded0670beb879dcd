package environment

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// minimal is the shortest holdfast.yml that is complete.
const minimal = `environment: production
servers:
  production: {address: 203.0.113.10}
  audit: {address: 203.0.113.20}
access:
  operators: [keys/ada.pub]
domains:
  api: api.example.com
  app: app.example.com
stacks: {}
`

// A loadCase is a holdfast.yml and all that Load says of it.
type loadCase struct {
	name string
	// text is the file; or edit, with minimal's line `old` replaced.
	text, old, new string
	want           []string // without the "holdfast.yml:"; none: it loads
	onlyLoad       bool     // more than a schema can see
}

func (c loadCase) yaml(t *testing.T) string {
	if c.old == "" {
		return c.text
	}
	if strings.Count(minimal, c.old) != 1 {
		t.Fatalf("%s: %q is not in the minimal file once", c.name, c.old)
	}
	return strings.Replace(minimal, c.old, c.new, 1)
}

var loadCases = []loadCase{
	{name: "the minimal file", text: minimal},
	{name: "a misspelt key at the top", old: "stacks: {}", new: "stacks: {}\nbakups: {}",
		want: []string{`11:1: unknown key "bakups" in holdfast.yml (did you mean "backups"?)`}},
	{name: "a misspelt key inside", old: "{address: 203.0.113.20}", new: "{adress: 203.0.113.20}",
		want: []string{
			`4:3: servers.audit.address is missing: it is a host name, an IP address, or a Host of ~/.ssh/config`,
			`4:11: unknown key "adress" in servers.audit (did you mean "address"?)`,
		}},
	{name: "a key that is near nothing", old: "stacks: {}", new: "stacks: {}\nbackups: {colour: blue}",
		want: []string{`11:11: unknown key "colour" in backups (valid here: keep, recipients)`}},
	{name: "a key with an underscore", old: "{address: 203.0.113.10}", new: "{address: a.example, host_key: x}",
		want: []string{`3:36: unknown key "host_key" in servers.production (did you mean "host-key"?)`}},
	{name: "a key twice", old: "stacks: {}", new: "stacks: {}\ngate: low\ngate: high",
		want: []string{`12:1: gate is there twice (the first is on line 11)`}},
	{name: "all required keys missing", text: "{}",
		want: []string{
			`1:1: environment is missing: it is a name of lower-case letters, digits and "-" that starts with a letter, at most 32 characters`,
			`1:1: servers is missing`, `1:1: access is missing`, `1:1: domains is missing`, `1:1: stacks is missing`,
		}},
	{name: "a wrong type everywhere", text: `environment: 7
servers: [a]
access: {operators: keys/ada.pub}
domains: x
stacks: {supabase: {set: supabase-1.0.0, sign-up: "yes", images: [a]}, app: {image: "a:1.0.0", port: "3000"}}
`,
		want: []string{
			`1:14: environment must be text, not a number (put it into quotes)`,
			`2:10: servers must be a map of keys and values, not a list`,
			`3:21: access.operators must be a list, not text (write it as a list, [like, this])`,
			`4:10: domains must be a map of keys and values, not text`,
			`5:51: stacks.supabase.sign-up must be true or false, not text (write true or false)`,
			`5:66: stacks.supabase.images must be a map of keys and values, not a list`,
			`5:102: stacks.app.port must be a number, not text (leave out the quotes)`,
		}},
	{name: "impossible values", text: `environment: Prod
servers:
  production: {address: root@203.0.113.10, port: 70000, host-key: "SHA256:abc", private: ten, user: Root}
  audit: {address: "203.0.113.20:2222", port: 0, private: 10.0.0.2}
access:
  ssh-from: [198.51.100.7/24, 198.51.100.9, 198.51.100.0/64]
  operators: [/home/ada/.ssh/id_ed25519.pub, ../ada.pub]
domains: {api: https://API.example.com/, app: localhost}
stacks:
  supabase: {set: newest, schemas: [public, Public]}
  app: {image: web, health: healthz}
gate: hihg
delivery: pull
`,
		want: []string{
			`1:14: environment: "Prod" is not a name of lower-case letters, digits and "-" that starts with a letter, at most 32 characters (did you mean "prod"?)`,
			"3:25: servers.production.address: \"root@203.0.113.10\" is not a host name, an IP address, or a Host of ~/.ssh/config (the user goes under `user:`)",
			`3:50: servers.production.port: 70000 is not a number from 1 to 65535`,
			"3:67: servers.production.host-key: \"SHA256:abc\" is not a host key's fingerprint, \"SHA256:\" and 43 characters of base64 (`ssh-keyscan HOST | ssh-keygen -lf -` prints it; compare it with what the provider's console shows)",
			`3:90: servers.production.private: "ten" is not an IPv4 or IPv6 address`,
			`3:101: servers.production.user: "Root" is not a Linux user name (did you mean "root"?)`,
			"4:20: servers.audit.address: \"203.0.113.20:2222\" is not a host name, an IP address, or a Host of ~/.ssh/config",
			`4:47: servers.audit.port: 0 is not a number from 1 to 65535`,
			`6:14: access.ssh-from[0]: "198.51.100.7/24" is not a network in CIDR notation, such as "198.51.100.0/24" (did you mean "198.51.100.0/24"?)`,
			`6:31: access.ssh-from[1]: "198.51.100.9" is not a network in CIDR notation, such as "198.51.100.0/24" (for this one address: "198.51.100.9/32")`,
			`6:45: access.ssh-from[2]: "198.51.100.0/64" is not a network in CIDR notation, such as "198.51.100.0/24"`,
			`7:15: access.operators[0]: "/home/ada/.ssh/id_ed25519.pub" is not a path inside the environment folder, such as "keys/ada.pub" (copy the file into the folder, so that the folder works on another machine too)`,
			`7:46: access.operators[1]: "../ada.pub" is not a path inside the environment folder, such as "keys/ada.pub" (copy the file into the folder, so that the folder works on another machine too)`,
			`8:16: domains.api: "https://API.example.com/" is not a public host name in lower case, such as "api.example.com" (did you mean "api.example.com"?)`,
			`8:47: domains.app: "localhost" is not a public host name in lower case, such as "api.example.com"`,
			`10:19: stacks.supabase.set: "newest" is not a set of the catalog, such as "supabase-0.8.1-kong"`,
			`10:45: stacks.supabase.schemas[1]: "Public" is not a schema that the API may expose: lower-case letters, digits and "_", and none of the schemas that hold the platform's own tables`,
			"11:16: stacks.app.image: \"web\" is not an image with a full version tag or a digest, such as \"registry.example.com/web:1.4.2\" (name the version: no tag, or the tag \"latest\", is a different image tomorrow)",
			`11:29: stacks.app.health: "healthz" is not a path that starts with "/"`,
			`12:7: gate: "hihg" is not one of critical, high, medium, low (did you mean "high"?)`,
			`13:11: delivery: "pull" is not one of registry, ship`,
		}},
	{name: "hardening, tuned", old: "stacks: {}", new: `stacks: {}
hardening:
  off: {swap: "the provider's image has zram"}
  ssh: {max-auth-tries: 2, permit-open: ["127.0.0.1:9090", "[::1]:9091"]}
  kernel: {sysctls: {vm.swappiness: 1, net.ipv4.conf.eth0.rp_filter: 2}, modules: [udf]}
  mounts: {exec: [/var/tmp]}
  firewall: {production: [tcp/9100 from 198.51.100.0/24, udp/51820, tcp/8000-8010], egress: [tcp/80, tcp/443 to 2001:db8::/32]}
  updates: {install: all, reboot: "03:30"}
  docker: {mirrors: ["https://mirror.example.com"], address-pools: [10.200.0.0/16]}
  packages: {keep: [telnet], remove: [nano]}
  services: {keep: [exim4.service], stop: [getty@tty1.service]}`},
	{name: "hardening with mistakes", old: "stacks: {}", new: `stacks: {}
hardening:
  off: {swop: no room, firewall: provider's, time: }
  pasword: {}
  ssh: {max-auth-tries: 0, permit-open: ["198.51.100.7:22"]}
  kernel: {sysctls: {net/ipv4/ip_forward: 0}, modules: [UDF]}
  mounts: {exec: [/home]}
  firewall: {production: [tcp/0, tcp/90-80, tcp/80 from 198.51.100.7/24], egress: [tcp/80 from 198.51.100.0/24]}
  updates: {install: some, reboot: "3:30"}
  docker: {address-pools: [198.51.100.0/24]}
  services: {stop: [exim4]}`,
		want: []string{
			`12:9: hardening.off: "swop" is not a concern that can be turned off (did you mean "swap"?)`,
			`12:24: hardening.off: "firewall" is not a concern that can be turned off (firewall can't be turned off: it alone keeps what containers publish from the internet; open ports under hardening.firewall)`,
			`12:52: hardening.off.time must be text, not nothing`,
			`13:3: unknown key "pasword" in hardening (did you mean "passwords"?)`,
			`14:25: hardening.ssh.max-auth-tries: 0 is not a number from 1 to 10`,
			`14:42: hardening.ssh.permit-open[0]: "198.51.100.7:22" is not a loopback address and a port, such as "127.0.0.1:9090"`,
			`15:22: hardening.kernel.sysctls: "net/ipv4/ip_forward" is not a kernel setting, such as "vm.swappiness" (did you mean "net.ipv4.ip_forward"?)`,
			`15:57: hardening.kernel.modules[0]: "UDF" is not a kernel module, such as "udf" (did you mean "udf"?)`,
			`16:19: hardening.mounts.exec[0]: "/home" is not one of /tmp, /var/tmp, /dev/shm`,
			`17:27: hardening.firewall.production[0]: "tcp/0" is not a port to open, such as "tcp/9100 from 198.51.100.0/24", "udp/51820" or "tcp/8000-8010"`,
			`17:34: hardening.firewall.production[1]: "tcp/90-80" is not a port to open, such as "tcp/9100 from 198.51.100.0/24", "udp/51820" or "tcp/8000-8010"`,
			`17:45: hardening.firewall.production[2]: "tcp/80 from 198.51.100.7/24" is not a port to open, such as "tcp/9100 from 198.51.100.0/24", "udp/51820" or "tcp/8000-8010"`,
			`17:84: hardening.firewall.egress[0]: "tcp/80 from 198.51.100.0/24" is not what may be connected to, such as "tcp/443" or "tcp/80 to 198.51.100.0/24"`,
			`18:22: hardening.updates.install: "some" is not one of security, all`,
			`18:36: hardening.updates.reboot: "3:30" is not "never", or a time of day in 24 hours, such as "03:30" (did you mean "03:30"?)`,
			`19:28: hardening.docker.address-pools[0]: "198.51.100.0/24" is not a private IPv4 network of /24 or larger, such as "10.200.0.0/16"`,
			`20:21: hardening.services.stop[0]: "exim4" is not a systemd unit with its suffix, such as "exim4.service" (did you mean "exim4.service"?)`,
		}},
	{name: "hardening that contradicts itself or the product", onlyLoad: true, old: "stacks: {}", new: `stacks: {}
hardening:
  kernel: {sysctls: {net.ipv4.ip_forward: "0"}}
  firewall: {egress: [udp/53]}
  packages: {keep: [telnet], remove: [telnet]}
  services: {stop: [docker.service]}`,
		want: []string{
			`12:43: hardening.kernel.sysctls.net.ipv4.ip_forward: the production server's containers need it to be 1`,
			`13:14: hardening.firewall.egress: no TCP port is listed: security updates could not be fetched (add "tcp/443", or the mirror's port and network)`,
			`14:21: hardening.packages.keep[0]: telnet is under ` + "`remove:`" + ` too`,
			`15:21: hardening.services.stop[0]: Holdfast needs it`,
		}},
	{name: "no operators", old: "[keys/ada.pub]", new: "[]",
		want: []string{`6:14: access.operators is empty: it lists at least one path inside the environment folder, such as "keys/ada.pub"`}},
	{name: "operators with nothing behind it", old: "operators: [keys/ada.pub]", new: "operators:",
		want: []string{`6:3: access.operators is empty: it lists at least one path inside the environment folder, such as "keys/ada.pub"`}},
	{name: "an operator twice", old: "[keys/ada.pub]", new: "[keys/ada.pub, keys/ada.pub]",
		want: []string{`6:29: access.operators[1]: "keys/ada.pub" is listed twice`}},
	{name: "sections whose lines are all comments", old: "stacks: {}", new: "stacks:\n  # nothing yet\nbackups:\n"},
	{name: "a required section whose lines are all comments", old: "domains:\n  api: api.example.com\n  app: app.example.com", new: "domains:",
		want: []string{
			`7:1: domains.api is missing: it is a public host name in lower case, such as "api.example.com"`,
			`7:1: domains.app is missing: it is a public host name in lower case, such as "api.example.com"`,
		}},
	{name: "a password where the name of one belongs", old: "stacks: {}",
		new: "stacks: {}\nmail: {host: smtp.example.com, user: m, password: hunter2, from: a@example.com}\nnotify: {webhook: \"https://u:hunter2@example.com/\"}",
		want: []string{
			`11:51: mail.password: the value is not "secret:NAME", where NAME is the name of a secret in secrets.age (the value goes into secrets.age, only its name goes here)`,
			`12:19: notify.webhook: the value is not "secret:NAME", or an https address that holds no credential (put an address that only you may know into secrets.age, and its name here)`,
		}},
	{name: "a webhook whose path is the credential", old: "stacks: {}", onlyLoad: true,
		new:  "stacks: {}\nnotify: {webhook: \"https://hooks.slack.com/services/T0/B0/hunter2\"}",
		want: []string{`11:19: notify.webhook: the value is not "secret:NAME", or an https address that holds no credential (put an address that only you may know into secrets.age, and its name here)`}},
	{name: "a mirror with a port and a path", old: "stacks: {}", new: "stacks: {}\nregistry: {mirror: \"registry.example.com:5000/proxy\"}"},
	{name: "a mirror with a scheme", old: "stacks: {}", new: "stacks: {}\nregistry: {mirror: \"https://mirror.example.com\"}",
		want: []string{`11:20: registry.mirror: "https://mirror.example.com" is not a registry's host, with its port and a path where it has them, such as "mirror.example.com" (without https://, as in an image's name)`}},
	{name: "a mirror that nothing is pulled through", onlyLoad: true, old: "stacks: {}", new: "stacks: {}\ndelivery: ship\nregistry: {mirror: mirror.example.com}",
		want: []string{`12:20: registry.mirror: nothing is pulled through it: delivery is ship (leave one of the two out)`}},
	{name: "a platform of the audit server", onlyLoad: true, old: "{address: 203.0.113.20}", new: "{address: 203.0.113.20, platform: linux/arm64}",
		want: []string{`4:44: servers.audit.platform: the audit server runs no images (leave it out)`}},
	{name: "a platform that Docker has another word for", old: "{address: 203.0.113.10}", new: "{address: 203.0.113.10, platform: linux/x86_64}",
		want: []string{`3:49: servers.production.platform: "linux/x86_64" is not one of linux/amd64, linux/arm64 (did you mean "linux/amd64"?)`}},
	{name: "an image that floats", old: "stacks: {}", onlyLoad: true, new: "stacks: {app: {image: registry.example.com/web:latest}}",
		want: []string{"10:23: stacks.app.image: \"registry.example.com/web:latest\" is not an image with a full version tag or a digest, such as \"registry.example.com/web:1.4.2\" (name the version: no tag, or the tag \"latest\", is a different image tomorrow)"}},
	{name: "a secret among the public values", old: "stacks: {}", onlyLoad: true, new: "stacks: {app: {image: \"w:1.0.0\", public: {KEY: sb_secret_hunter2}}}",
		want: []string{"10:48: stacks.app.public.KEY: the value is not a value that anyone may read (put a secret into secrets.age and its name under `secrets:`)"}},
	{name: "the platform's own schema in the API", old: "stacks: {}", onlyLoad: true, new: "stacks: {supabase: {set: supabase-1.0.0, schemas: [auth]}}",
		want: []string{`10:52: stacks.supabase.schemas[0]: "auth" is not a schema that the API may expose: lower-case letters, digits and "_", and none of the schemas that hold the platform's own tables`}},
	{name: "jobs missing with the stack trigger", old: "stacks: {}", onlyLoad: true, new: "stacks: {trigger: {set: trigger-4.5.12}}",
		want: []string{`7:1: domains.jobs: it is missing: the stack trigger is declared and needs a public host name`}},
	{name: "one name for two services", old: "app.example.com", onlyLoad: true, new: "api.example.com",
		want: []string{`9:8: domains.app: domains.api has the same name (each needs a name of its own: cookies and certificates keep them apart)`}},
	{name: "one server in both roles", old: "203.0.113.20", onlyLoad: true, new: "203.0.113.10",
		want: []string{`4:20: servers.audit.address: it is the production server's address too (an audit on the server it audits proves nothing)`}},
	{name: "a private address on one side only", old: "{address: 203.0.113.10}", onlyLoad: true, new: "{address: 203.0.113.10, private: 10.0.0.1}",
		want: []string{`4:3: servers.audit.private: it is missing: the private network needs both servers' addresses, or none`}},
	{name: "root as deploy user", old: "access:", onlyLoad: true, new: "access:\n  user: root",
		want: []string{`6:9: access.user: root can't be the deploy user: logging in as root is turned off (leave it out for "deploy")`}},
	{name: "a set of another stack", old: "stacks: {}", onlyLoad: true, new: "stacks: {supabase: {set: trigger-4.5.12}}",
		want: []string{`10:26: stacks.supabase.set: "trigger-4.5.12" is a set of another stack: the sets of this one start with "supabase-"`}},
	{name: "a secret that Next.js would publish", old: "stacks: {}", onlyLoad: true, new: "stacks: {app: {image: \"w:1.0.0\", public: {A: b}, secrets: [NEXT_PUBLIC_KEY, A]}}",
		want: []string{
			"10:60: stacks.app.secrets[0]: NEXT_PUBLIC_KEY would be in every browser: Next.js writes NEXT_PUBLIC_ values into its pages (put it under `public:`, or give it another name)",
			"10:77: stacks.app.secrets[1]: A is under `public:` too",
		}},
	{name: "a mail user without password", old: "stacks: {}", onlyLoad: true, new: "stacks: {}\nmail: {host: smtp.example.com, user: m, from: a@example.com}",
		want: []string{`11:1: mail.password: it is missing: mail.user is set, and one is of no use without the other`}},
	{name: "plain values of any look", old: "stacks: {}", new: "stacks: {app: {image: \"w:1.0.0\", public: {A: 1.10, B: true, C: \"\"}}}"},
	{name: "an IPv6 address and a Host of ssh_config", old: "{address: 203.0.113.10}", new: "{address: \"2001:db8::1\", identity: ~/.ssh/id_ed25519}"},
	{name: "digests", old: "stacks: {}", new: "stacks: {app: {image: \"localhost:5000/a/b@sha256:" + strings.Repeat("a", 64) + "\"}}"},
	{name: "an image shipped without a registry", old: "stacks: {}", new: "stacks: {app: {image: \"holdfast.local/app:sha256-" + strings.Repeat("a", 64) + "\"}}"},
	{name: "no weekly backups", old: "stacks: {}", new: "stacks: {}\nbackups: {keep: {weekly: 0}}"},
}

func TestLoadReportsEverythingThatIsWrongWithItsPlace(t *testing.T) {
	for _, c := range loadCases {
		t.Run(c.name, func(t *testing.T) {
			_, err := decode("", []byte(c.yaml(t)))
			checkErrors(t, err, c.want)
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error repeats a password: %v", err)
			}
		})
	}
}

func TestLoadRefusesWhatIsNotOnePlainDocument(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for i := 'b'; i < 'z'; i++ {
		bomb += string(i) + ": &" + string(i) + " [" + strings.Repeat("*"+string(i-1)+",", 9) + "]\n"
	}
	for name, c := range map[string]struct{ text, want string }{
		"nothing":          {"", "holdfast.yml: it is empty"},
		"only comments":    {"# a\n# b\n", "holdfast.yml: it is empty"},
		"two documents":    {minimal + "---\n" + minimal, "holdfast.yml:11: a second YAML document starts here"},
		"a scanner error":  {"a: b\nc: d: e\n", "holdfast.yml:2: this is not YAML: mapping values are not allowed"},
		"a parser error":   {"a: b\nc: [d\ne: f\n", "holdfast.yml:2: this is not YAML: did not find expected ',' or ']'"},
		"a tab":            {"a:\n\tb: c\n", "holdfast.yml:2: this is not YAML: found character that cannot start any token"},
		"a list":           {"- a\n", "holdfast.yml:1:1: holdfast.yml must be a map of keys and values, not a list"},
		"an alias":         {strings.Replace(minimal, "audit: {address: 203.0.113.20}", "audit: &a {address: 203.0.113.20}", 1), "anchors and aliases are not read here"},
		"an alias bomb":    {bomb, `unknown key "a"`},
		"a merge key":      {"<<: {environment: a}\n" + minimal, "a key of holdfast.yml must be plain text, not a merge key"},
		"a tag of its own": {strings.Replace(minimal, "production\n", "!secret production\n", 1), "environment must be text, not a value with a tag"},
		"binary":           {"\x00\x01", "holdfast.yml: this is not YAML: control characters are not allowed"},
		"control characters": {strings.Replace(minimal, "keys/ada.pub", `"keys/\e[31mada.pub"`, 1),
			`"keys/\x1b[31mada.pub" is not a path`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := decode("", []byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want it to contain %q", err, c.want)
			}
		})
	}
}

func TestLoadFillsInEveryDefault(t *testing.T) {
	env, err := decode("", []byte(strings.Replace(minimal, "stacks: {}", `stacks:
  supabase: {set: supabase-0.8.1-kong}
  app: {image: "web:1.0.0"}
mail: {host: smtp.example.com, from: a@example.com}`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Environment: "production",
		Servers: Servers{
			Production: Server{Address: "203.0.113.10", Port: 22, User: "root", Platform: "linux/amd64"},
			Audit:      Server{Address: "203.0.113.20", Port: 22, User: "root", Platform: "linux/amd64"},
		},
		Access:  Access{User: "deploy", Operators: []string{"keys/ada.pub"}},
		Domains: Domains{API: "api.example.com", App: "app.example.com"},
		Stacks: Stacks{
			Supabase: &Supabase{Set: "supabase-0.8.1-kong", Schemas: []string{"public", "graphql_public"}},
			App:      &App{Image: "web:1.0.0", Port: 3000, Health: "/"},
			Edge:     &Edge{Set: "edge-1", TLS: "acme"},
		},
		Delivery:  "registry",
		Releases:  Releases{Keep: 5},
		Mail:      &Mail{Host: "smtp.example.com", Port: 587, From: "a@example.com"},
		Backups:   Backups{Keep: Keep{Daily: 14, Weekly: 8, Monthly: 12}},
		Gate:      "high",
		Hardening: Hardening{}.Complete(),
	}
	if diff := cmp.Diff(want, env.Config); diff != "" {
		t.Error(diff)
	}
}

func TestZeroIsKeptWhereItIsSaid(t *testing.T) {
	env, err := decode("", []byte(minimal+"backups: {keep: {weekly: 0, monthly: 0}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if want := (Keep{Daily: 14}); env.Backups.Keep != want {
		t.Errorf("got %+v, want %+v", env.Backups.Keep, want)
	}
}

func TestIdentitiesBecomeFullPaths(t *testing.T) {
	t.Setenv("HOME", "/home/ada")
	env, err := decode("env", []byte(strings.NewReplacer(
		"{address: 203.0.113.10}", "{address: a.example, identity: ~/.ssh/lab}",
		"{address: 203.0.113.20}", "{address: b.example, identity: keys/lab}").Replace(minimal)))
	if err != nil {
		t.Fatal(err)
	}
	got := []string{env.Servers.Production.Identity, env.Servers.Audit.Identity}
	if diff := cmp.Diff([]string{"/home/ada/.ssh/lab", filepath.Join("env", "keys/lab")}, got); diff != "" {
		t.Error(diff)
	}
}

func TestLoadSaysWhatToDoWithoutAFile(t *testing.T) {
	dir := t.TempDir()
	_, err := Load(dir)
	checkErrors(t, err, []string{": there is no environment in this folder (`holdfast init` writes one, -C names another folder)"})

	if err := os.WriteFile(filepath.Join(dir, FileName), make([]byte, maxSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Load(dir)
	checkErrors(t, err, []string{": can't be read: it is larger than 1024 KiB"})

	if err := errors.Join(os.Remove(filepath.Join(dir, FileName)), os.Mkdir(filepath.Join(dir, FileName), 0o700)); err != nil {
		t.Fatal(err)
	}
	_, err = Load(dir)
	checkErrors(t, err, []string{": can't be read: it is not a regular file"})
}

func TestErrorAtPointsAtTheNearestValue(t *testing.T) {
	env, err := decode("", []byte(strings.Replace(minimal, "stacks: {}", "stacks:\n  app: {image: \"web:1.0.0\", secrets: [A, B]}", 1)))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"stacks.app.secrets[1]": "holdfast.yml:11:42: stacks.app.secrets[1]: m",
		"stacks.app.secrets[7]": "holdfast.yml:11:29: stacks.app.secrets[7]: m",
		"stacks.edge.set":       "holdfast.yml:10:1: stacks.edge.set: m",
		"notify":                "holdfast.yml:1:1: notify: m",
	} {
		if got := env.ErrorAt(path, "m", "").Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestSecretUsesFindsEveryNamedSecret(t *testing.T) {
	env, err := decode("", []byte(strings.Replace(minimal, "stacks: {}", `stacks: {app: {image: "web:1.0.0", secrets: [A, B]}}
mail: {host: smtp.example.com, user: m, password: secret:C, from: a@example.com}
notify: {webhook: secret:D}`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	want := []SecretUse{{"A", "stacks.app.secrets[0]"}, {"B", "stacks.app.secrets[1]"}, {"C", "mail.password"}, {"D", "notify.webhook"}}
	if diff := cmp.Diff(want, env.SecretUses()); diff != "" {
		t.Error(diff)
	}
}

// FuzzLoad: whatever the file holds, reading it ends, and every error has a
// place that is in the file. What loads, the schema accepts too.
func FuzzLoad(f *testing.F) {
	for _, c := range loadCases {
		if c.old == "" {
			f.Add(c.text)
		} else {
			f.Add(strings.Replace(minimal, c.old, c.new, 1))
		}
	}
	f.Add("&a [*a]")
	f.Add("? [a]\n: b")
	f.Fuzz(func(t *testing.T, text string) {
		_, err := decode("", []byte(text))
		if err == nil {
			if err := validate(t, []byte(text)); err != nil {
				t.Errorf("Load accepts what the schema refuses: %v", err)
			}
			return
		}
		var all Errors
		if !errors.As(err, &all) || len(all) == 0 {
			t.Fatalf("not an Errors: %#v", err)
		}
		for _, e := range all {
			if e.Message == "" || e.Line < 0 || e.Line > strings.Count(text, "\n")+strings.Count(text, "\r")+2 {
				t.Errorf("%+v", e)
			}
			if strings.ContainsAny(e.Message, "\n\x1b") {
				t.Errorf("the message is no line: %q", e.Message)
			}
		}
	})
}

// checkErrors compares an error's lines, without their file.
func checkErrors(t *testing.T, err error, want []string) {
	t.Helper()
	var got []string
	var all Errors
	if errors.As(err, &all) {
		for _, e := range all {
			_, line, _ := strings.Cut(e.Error(), FileName)
			if e.Line > 0 {
				line = strings.TrimPrefix(line, ":")
			}
			got = append(got, line)
		}
	} else if err != nil {
		t.Fatalf("not an Errors: %v", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// exampleDirs are the environment folders under examples.
func exampleDirs(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../../examples/*/" + FileName)
	if err != nil || len(files) < 2 {
		t.Fatalf("examples: %v %v", files, err)
	}
	for i := range files {
		files[i] = filepath.Dir(files[i])
	}
	return files
}
