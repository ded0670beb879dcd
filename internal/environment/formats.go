package environment

import (
	"encoding/base64"
	"encoding/json"
	"net/mail"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A format is what one kind of value must look like.
type format struct {
	// want completes the sentence `… is not …` and is shown by editors.
	want string
	// pattern is what the JSON Schema can say of it: a regular expression in the
	// subset that ECMA 262 and RE2 share. Empty: any text without control
	// characters.
	pattern string
	// valid refuses what pattern lets through; nil: pattern says it all.
	valid func(string) bool
	// hint suggests what was meant by a refused value, or is empty; nil: nothing
	// to suggest.
	hint func(string) string
	// private values are never repeated in an error: someone may have pasted a
	// password where the name of one belongs.
	private bool
}

const (
	label       = `[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?`
	hostPattern = `^` + label + `(\.` + label + `)*$`
	// secretPrefix marks a value as the name of a secret.
	secretPrefix = "secret:"
)

var formats = map[string]format{
	"concern": {
		want:    "a concern that can be turned off",
		pattern: "^(" + strings.Join(concerns, "|") + ")$",
		hint:    hintConcern,
	},
	"endpoint": {
		want:    `a loopback address and a port, such as "127.0.0.1:9090"`,
		pattern: `^(127(\.[0-9]{1,3}){3}|\[::1\]|localhost):[0-9]{1,5}$`,
		valid:   func(s string) bool { return validPort(s[strings.LastIndexByte(s, ':')+1:]) },
	},
	"sysctl": {
		want:    `a kernel setting, such as "vm.swappiness"`,
		pattern: `^[a-z0-9_-]+(\.[A-Za-z0-9_-]+)+$`,
		hint: func(s string) string {
			if strings.Contains(s, "/") {
				return `did you mean "` + strings.ReplaceAll(s, "/", ".") + `"?`
			}
			return ""
		},
	},
	"module": {
		want:    `a kernel module, such as "udf"`,
		pattern: `^[a-z0-9][a-z0-9_-]*$`,
		hint:    lowerCase,
	},
	"opening": {
		want:    `a port to open, such as "tcp/9100 from 198.51.100.0/24", "udp/51820" or "tcp/8000-8010"`,
		pattern: `^(tcp|udp)/[0-9]{1,5}(-[0-9]{1,5})?( from [0-9a-fA-F:.]+/[0-9]{1,3})?$`,
		valid:   func(s string) bool { return validPorts(s, " from ") },
	},
	"egress": {
		want:    `what may be connected to, such as "tcp/443" or "tcp/80 to 198.51.100.0/24"`,
		pattern: `^(tcp|udp)/[0-9]{1,5}(-[0-9]{1,5})?( to [0-9a-fA-F:.]+/[0-9]{1,3})?$`,
		valid:   func(s string) bool { return validPorts(s, " to ") },
	},
	"reboot": {
		want:    `"never", or a time of day in 24 hours, such as "03:30"`,
		pattern: `^(never|([01][0-9]|2[0-3]):[0-5][0-9])$`,
		hint: func(s string) string {
			if len(s) == 4 && s[1] == ':' {
				return `did you mean "0` + s + `"?`
			}
			return ""
		},
	},
	"mirror": {
		want:    `the https address of a registry, such as "https://mirror.example.com"`,
		pattern: `^https?://[a-zA-Z0-9.:-]+/?$`,
	},
	"pool": {
		want:    `a private IPv4 network of /24 or larger, such as "10.200.0.0/16"`,
		pattern: `^[0-9.]+/[0-9]{1,2}$`,
		valid: func(s string) bool {
			p, err := netip.ParsePrefix(s)
			return err == nil && p.Addr().Is4() && p == p.Masked() && p.Bits() <= 24 && p.Addr().IsPrivate()
		},
	},
	"package": {
		want:    "the name of a Debian package",
		pattern: `^[a-z0-9][a-z0-9+.-]+$`, // Debian policy, 5.6.7
		hint:    lowerCase,
	},
	"unit": {
		want:    `a systemd unit with its suffix, such as "exim4.service"`,
		pattern: `^[A-Za-z0-9][A-Za-z0-9@._-]*\.(service|socket|timer|path|mount)$`,
		hint: func(s string) string {
			if !strings.Contains(s, ".") && plainText(s) {
				return `did you mean "` + s + `.service"?`
			}
			return ""
		},
	},
	"name": {
		want:    `a name of lower-case letters, digits and "-" that starts with a letter, at most 32 characters`,
		pattern: `^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$`,
		hint:    lowerCase,
	},
	"address": {
		want:    "a host name, an IP address, or a Host of ~/.ssh/config",
		pattern: `^[a-zA-Z0-9:]([a-zA-Z0-9_.:%-]*[a-zA-Z0-9_:])?$`,
		valid:   validAddress,
		hint:    hintAddress,
	},
	"host": {
		want:    "a host name or an IP address",
		pattern: `^[a-zA-Z0-9:]([a-zA-Z0-9.:-]*[a-zA-Z0-9:])?$`,
		valid:   func(s string) bool { return validIP(s) || validHost(s) },
		hint:    hintAddress,
	},
	"domain": {
		want:    `a public host name in lower case, such as "api.example.com"`,
		pattern: `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+$`,
		valid:   validHost,
		hint:    hintDomain,
	},
	"ip": {
		want:    "an IPv4 or IPv6 address",
		pattern: `^[0-9a-fA-F:.]+$`,
		valid:   validIP,
	},
	"cidr": {
		want:    `a network in CIDR notation, such as "198.51.100.0/24"`,
		pattern: `^[0-9a-fA-F:.]+/[0-9]{1,3}$`,
		valid:   func(s string) bool { p, err := netip.ParsePrefix(s); return err == nil && p == p.Masked() },
		hint:    hintCIDR,
	},
	"user": {
		want:    "a Linux user name",
		pattern: `^[a-z_][a-z0-9_-]{0,31}$`, // useradd(8), NAME_REGEX of adduser.conf(5)
		hint:    lowerCase,
	},
	"fingerprint": {
		want:    `a host key's fingerprint, "SHA256:" and 43 characters of base64`,
		pattern: `^SHA256:[A-Za-z0-9+/]{43}$`,
		hint: func(s string) string {
			if strings.HasPrefix(s, "SHA256:") && strings.HasSuffix(s, "=") {
				return "leave out the = at the end"
			}
			return "`ssh-keyscan HOST | ssh-keygen -lf -` prints it; compare it with what the provider's console shows"
		},
	},
	"path": {
		want:    "a path inside the environment folder, such as \"keys/ada.pub\"",
		pattern: `^[^/~\\]`,
		valid: func(s string) bool {
			return plainText(s) && path.Clean(s) != ".." && !strings.HasPrefix(path.Clean(s), "../")
		},
		hint: func(s string) string {
			return "copy the file into the folder, so that the folder works on another machine too"
		},
	},
	"set": {
		want:    `a set of the catalog, such as "supabase-0.8.1-kong"`,
		pattern: `^[a-z]+-[0-9][a-z0-9.-]*$`,
	},
	"schema": {
		want:    "a schema that the API may expose: lower-case letters, digits and \"_\", and none of the schemas that hold the platform's own tables",
		pattern: `^[a-z_][a-z0-9_]{0,62}$`,
		valid:   func(s string) bool { return !strings.HasPrefix(s, "pg_") && !slices.Contains(internalSchemas, s) },
	},
	"redirect": {
		want:    `an address with a scheme and without spaces or commas, such as "https://app.example.com/**"`,
		pattern: `^[a-z][a-z0-9+.-]*://[^\s,]+$`, // GoTrue splits the list at commas
	},
	"service": {
		want:    "the name of a service in the set",
		pattern: `^[a-z0-9][a-z0-9_.-]*$`,
	},
	"image": {
		want:    `an image with a full version tag or a digest, such as "registry.example.com/web:1.4.2"`,
		pattern: `^[a-z0-9][a-zA-Z0-9._:/-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|@sha256:[0-9a-f]{64})$`,
		valid:   validImage,
		hint: func(s string) string {
			if imageReference.MatchString(s) {
				return `name the version: no tag, or the tag "latest", is a different image tomorrow`
			}
			return ""
		},
	},
	"registry": {
		want:    `a registry's host, with its port and a path where it has them, such as "mirror.example.com"`,
		pattern: `^([a-z0-9-]+(\.[a-z0-9-]+)+|localhost)(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$`,
		hint: func(s string) string {
			if strings.Contains(s, "://") {
				return "without https://, as in an image's name"
			}
			return ""
		},
	},
	"sign-up": {
		want:    `an e-mail address, or "@" and a domain`,
		pattern: `^[^@\s]*@[a-z0-9-]+(\.[a-z0-9-]+)+$`,
		valid:   func(s string) bool { return strings.HasPrefix(s, "@") && validHost(s[1:]) || validEmail(s) },
	},
	"email": {
		want:    `an e-mail address, such as "no-reply@example.com"`,
		pattern: `^[^@\s<>]+@[^@\s<>]+$`,
		valid:   validEmail,
	},
	"url-path": {
		want:    `a path that starts with "/"`,
		pattern: `^/[^\s?#]*$`,
	},
	"variable": {
		want:    "the name of an environment variable",
		pattern: `^[A-Za-z_][A-Za-z0-9_]*$`,
	},
	"plain": {
		want:    "a value that anyone may read",
		valid:   func(s string) bool { return plainText(s) && !looksSecret(s) },
		hint:    func(string) string { return "put a secret into secrets.age and its name under `secrets:`" },
		private: true,
	},
	"text": {
		want:  "text on one line",
		valid: func(s string) bool { return s != "" && plainText(s) },
	},
	"secret-name": {
		want:    "the name of a secret: upper-case letters, digits and \"_\"",
		pattern: `^[A-Z][A-Z0-9_]*$`,
		hint:    func(string) string { return "the value goes into secrets.age, only its name goes here" },
		private: true,
	},
	"secret": {
		want:    `"secret:NAME", where NAME is the name of a secret in secrets.age`,
		pattern: `^secret:[A-Z][A-Z0-9_]*$`,
		hint:    func(string) string { return "the value goes into secrets.age, only its name goes here" },
		private: true,
	},
	"webhook": {
		want:    `"secret:NAME", or an https address that holds no credential`,
		pattern: `^(secret:[A-Z][A-Z0-9_]*|https://[^\s@]+)$`,
		valid:   validWebhook,
		hint: func(string) string {
			return "put an address that only you may know into secrets.age, and its name here"
		},
		private: true,
	},
}

// internalSchemas hold what the platform keeps for itself: exposing one would
// publish password hashes, sessions, keys or the migration history.
var internalSchemas = []string{
	"auth", "cron", "extensions", "graphql", "information_schema", "net", "pgbouncer", "pgsodium",
	"realtime", "supabase_functions", "supabase_migrations", "vault",
	"_analytics", "_realtime", "_supavisor",
}

// compiled holds the patterns of formats.
var compiled = func() map[string]*regexp.Regexp {
	m := map[string]*regexp.Regexp{}
	for name, f := range formats {
		if f.pattern != "" {
			m[name] = regexp.MustCompile(f.pattern)
		}
	}
	return m
}()

// check says whether value has the named format, and if not, what may have
// been meant.
func check(name, value string) (ok bool, hint string) {
	f := formats[name]
	ok = len(value) <= 4096 &&
		(f.pattern == "" || compiled[name].MatchString(value)) &&
		(f.valid == nil || f.valid(value))
	if !ok && f.hint != nil {
		hint = f.hint(value)
	}
	return ok, hint
}

var (
	hostName       = regexp.MustCompile(hostPattern)
	sshAlias       = regexp.MustCompile(`^[a-zA-Z0-9_]([a-zA-Z0-9_.-]*[a-zA-Z0-9_])?$`)
	imageReference = regexp.MustCompile(`^([a-zA-Z0-9.-]+(:[0-9]+)?/)?[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$`)
)

func validHost(s string) bool { return len(s) <= 253 && hostName.MatchString(s) && !dottedNumbers(s) }

// validPorts reads "tcp/80-90", with a network after the word when one follows.
func validPorts(s, word string) bool {
	opening, network, limited := strings.Cut(s, word)
	_, ports, _ := strings.Cut(opening, "/")
	first, last, isRange := strings.Cut(ports, "-")
	if !validPort(first) || isRange && !validPort(last) {
		return false
	}
	if from, _ := strconv.Atoi(first); isRange {
		if to, _ := strconv.Atoi(last); to <= from {
			return false
		}
	}
	p, err := netip.ParsePrefix(network)
	return !limited || err == nil && p == p.Masked()
}

func validPort(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= 1 && n <= 65535
}

func validIP(s string) bool { _, err := netip.ParseAddr(s); return err == nil }

// dottedNumbers is true of what can only be a mistyped IPv4 address: a top
// level domain is never a number (RFC 3696, section 2).
func dottedNumbers(s string) bool {
	last := s[strings.LastIndexByte(s, '.')+1:]
	return last != s && strings.Trim(last, "0123456789") == ""
}

func validAddress(s string) bool {
	return validIP(s) || (sshAlias.MatchString(s) && !dottedNumbers(s) && len(s) <= 253)
}

func hintAddress(s string) string {
	if user, host, ok := strings.Cut(s, "@"); ok && user != "" && host != "" {
		return "the user goes under `user:`"
	}
	if host, port, ok := strings.Cut(s, ":"); ok && validHost(host) && port != "" && strings.Trim(port, "0123456789") == "" {
		return "the port goes under `port:`"
	}
	if strings.HasPrefix(s, "[") {
		return "an IPv6 address goes without brackets"
	}
	return ""
}

func hintDomain(s string) string {
	bare := strings.TrimSuffix(strings.ToLower(s), "/")
	if _, rest, ok := strings.Cut(bare, "://"); ok {
		bare = rest
	}
	if validHost(bare) && strings.Contains(bare, ".") {
		return `did you mean "` + bare + `"?`
	}
	return ""
}

func hintCIDR(s string) string {
	if p, err := netip.ParsePrefix(s); err == nil {
		return `did you mean "` + p.Masked().String() + `"?`
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return `for this one address: "` + netip.PrefixFrom(a, a.BitLen()).String() + `"`
	}
	return ""
}

func lowerCase(s string) string {
	if lower := strings.ToLower(s); lower != s && hostName.MatchString(lower) {
		return `did you mean "` + lower + `"?`
	}
	return ""
}

func validImage(s string) bool {
	m := imageReference.FindStringSubmatch(s)
	if m == nil {
		return false
	}
	tag, digest := m[len(m)-2], m[len(m)-1]
	return digest != "" || (tag != "" && tag != ":latest")
}

func validEmail(s string) bool {
	a, err := mail.ParseAddress(s)
	if err != nil || a.Address != s {
		return false
	}
	return validHost(s[strings.LastIndexByte(s, '@')+1:])
}

func validWebhook(s string) bool {
	if strings.HasPrefix(s, secretPrefix) {
		return true
	}
	u, err := url.Parse(s)
	if err != nil || u.User != nil || !(validHost(u.Hostname()) || validIP(u.Hostname())) {
		return false
	}
	// The path of these services' webhooks is the credential.
	for _, host := range []string{"hooks.slack.com", "discord.com", "discordapp.com", "webhook.office.com"} {
		if h := strings.ToLower(u.Hostname()); h == host || strings.HasSuffix(h, "."+host) {
			return false
		}
	}
	return true
}

// plainText reports whether s holds no control character: values reach files
// and terminals line by line.
func plainText(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// looksSecret recognises values that are secrets by their form: private keys,
// Supabase secret keys and service role keys.
func looksSecret(s string) bool {
	return strings.Contains(s, "PRIVATE KEY-----") || strings.Contains(s, "AGE-SECRET-KEY-") ||
		strings.Contains(s, "sb_secret_") || serviceRoleToken(s)
}

// serviceRoleToken reports whether s is a JWT whose role is service_role,
// which passes over row level security.
func serviceRoleToken(s string) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return false
	}
	var claims struct{ Role string }
	return json.Unmarshal(payload, &claims) == nil && claims.Role == "service_role"
}
