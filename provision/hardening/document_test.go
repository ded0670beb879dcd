package hardening

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"holdfast/internal/environment"
)

const document = "../../docs/hardening.md"

// tunedBy is what tunes a concern in holdfast.yml, besides hardening.off.
var tunedBy = map[string][]string{
	"access":    {"access.user", "access.operators"},
	"ssh":       {"access.port", "hardening.ssh"},
	"firewall":  {"access.ssh-from", "access.port", "servers.audit.private", "hardening.firewall"},
	"banning":   {"access.ssh-from", "hardening.banning"},
	"passwords": {"hardening.passwords"},
	"shells":    {"hardening.shells"},
	"banner":    {"hardening.banner"},
	"kernel":    {"hardening.kernel.sysctls"},
	"modules":   {"hardening.kernel.modules"},
	"mounts":    {"hardening.mounts"},
	"swap":      {"hardening.swap"},
	"packages":  {"hardening.packages"},
	"services":  {"hardening.services"},
	"journal":   {"hardening.journal"},
	"audit-log": {"hardening.audit-log"},
	"time":      {"hardening.time"},
	"updates":   {"hardening.updates"},
	"docker":    {"hardening.docker"},
}

// leftOut is what others do and this does not, with the reason.
var leftOut = map[string][][2]string{
	"access": {
		{"sudo with a password", "the deploy user has none, so that none can be guessed; who has its key is asked for the key's passphrase"},
	},
	"ssh": {
		{"another port by default", "it keeps logs short and nobody out; access.port sets one"},
		{"MaxSessions 2", "one connection carries observation, changes and the lock side by side"},
		{"no TCP forwarding on production", "Studio and the database are reached through a tunnel, to the listed loopback ports alone"},
		{"RequiredRSASize", "sshd of Ubuntu 22.04 does not know it, and an operator's RSA key would be refused without a word"},
	},
	"firewall": {
		{"an egress filter on production", "containers reach mail servers, webhooks and registries that nobody can list ahead"},
		{"the audit server's egress filter by default", "package mirrors change their addresses; hardening.firewall.egress turns it on"},
	},
	"banning": {
		{"bans for the web ports", "the gateway limits requests; a ban there would hit everyone behind one address"},
	},
	"passwords": {
		{"limits for accounts that exist", "an account whose password expires can't be entered by key either"},
		{"ENCRYPT_METHOD and the cost of yescrypt", "PAM hashes, with the distribution's yescrypt; Ubuntu 22.04's tools do not know these words in login.defs"},
		{"pam_wheel for su", "no account, root's included, has a password that su could ask for"},
	},
	"kernel": {
		{"kernel.modules_disabled", "Docker loads modules for each new kind of network"},
		{"ip_forward 0 on production", "containers would not be reached any more"},
		{"ip_forward 0 on the audit server", "it is the kernel's default, and the firewall forwards nothing there"},
		{"accept_ra 0", "a server whose IPv6 route is announced would lose it"},
	},
	"modules": {
		{"squashfs, vfat, overlay", "snap, EFI and Docker need them"},
		{"USBGuard", "it locks out the keyboard of a provider's console"},
	},
	"mounts": {
		{"/var/lib/docker", "containers run from there"},
		{"/home, /var and /var/log on partitions of their own", "a running server can't be repartitioned safely; the journal and Docker's logs are bounded instead"},
		{"hidepid for /proc", "systemd-logind and polkit need to see processes (systemd issue 12955); containers have process lists of their own"},
	},
	"swap": {
		{"encrypted swap", "its key would have to be on the same disk, or a person at each boot"},
	},
	"permissions": {
		{"compilers for root only", "nothing here installs one, and an update would bring back the old mode"},
		{"cron.allow", "crontabs of service accounts would stop without a word"},
		{"a password for GRUB", "who can reach the provider's console can also swap the disk"},
	},
	"services": {
		{"snapd", "images of Ubuntu come with snaps that someone may use; name its units under hardening.services.stop"},
	},
	"audit-log": {
		{"every command of every user", "sudo writes down what is done as root; a log of everything is read by nobody"},
		{"process accounting and sysstat", "they add to the journal and the audit log nothing that would be looked up"},
	},
	"integrity": {
		{"malware scanners", "they look for what has no way onto these servers, and want full reads of the disk"},
		{"a database of everything under /usr/lib", "the first look would take minutes; debsums(1) tells of what packages brought, when asked"},
	},
	"updates": {
		{"apt-listbugs and apt-listchanges", "nobody reads along when updates install themselves"},
		{"reboots by themselves", "when a database restarts is a person's choice; hardening.updates.reboot names a time"},
	},
	"restarts": {
		{"restarts by themselves", "a database or Docker that restarts in the night is worse than a library that is replaced in the morning"},
	},
	"docker": {
		{"userns-remap", "Supabase's images and bind mounts need the host's ids"},
		{"authorization plugins, content trust", "nobody but root talks to the engine, and images are pinned by digest"},
		{"rootless Docker", "the edge publishes ports below 1024, and volumes keep their owners"},
	},
}

func TestTheDocumentIsWhatTheTableSays(t *testing.T) {
	want := describe(t)
	if *update {
		if err := os.WriteFile(document, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the code says; run go test ./provision/hardening -update", filepath.Base(document))
	}
}

func describe(t *testing.T) string {
	var b strings.Builder
	b.WriteString("<!-- Generated by `go test ./provision/hardening -update`; don't edit. -->\n\n# Hardening\n\n" +
		"What a server is made of before anything runs on it. Each line of the table is a concern:\n" +
		"what `plan` groups its changes by, and what `hardening.off` in `holdfast.yml` names.\n\n" +
		"    hardening:\n      off: {swap: \"the provider's image has zram\"}\n\n" +
		"A concern that is off is left alone: what was applied before stays as it is, and the plan\n" +
		"says on each run what is off, and why.\n\n" +
		"| concern | production | audit | why | can be turned off |\n|---|---|---|---|---|\n")
	fixed := environment.Indispensable()
	for _, c := range concerns {
		off := "yes"
		if why, ok := fixed[c.name]; ok {
			off = "no: " + why
		}
		fmt.Fprintf(&b, "| [%s](#%s) | %s | %s | %s | %s |\n", c.name, c.name, tick(c, production), tick(c, audit), c.why, off)
	}
	known := properties(t)
	for _, c := range concerns {
		fmt.Fprintf(&b, "\n## %s\n\n%s.\n\n", c.name, strings.ToUpper(c.why[:1])+c.why[1:])
		b.WriteString(declares(c))
		for _, key := range tunedBy[c.name] {
			if !known[key] {
				t.Errorf("%s is tuned by %s, which holdfast.yml does not know", c.name, key)
			}
		}
		if len(tunedBy[c.name]) > 0 {
			fmt.Fprintf(&b, "\nTuned by `%s`; see [configuration.md](configuration.md).\n", strings.Join(tunedBy[c.name], "`, `"))
		}
		if len(leftOut[c.name]) > 0 {
			b.WriteString("\nLeft out:\n\n")
			for _, l := range leftOut[c.name] {
				fmt.Fprintf(&b, "- %s: %s.\n", l[0], l[1])
			}
		}
	}
	return b.String()
}

func tick(c concern, role string) string {
	if slices.Contains(c.roles, role) {
		return "✓"
	}
	return ""
}

// declares lists a concern's resources, those with one reason together.
func declares(c concern) string {
	var whys []string
	ids, where := map[string][]string{}, map[string]map[string]bool{}
	for _, role := range c.roles {
		cfg := config()
		cfg.Hardening = cfg.Hardening.Complete()
		for _, r := range c.resources(target{Config: cfg, role: role, keys: []string{key}}) {
			why := aboutOf(r).Why
			if ids[why] == nil {
				whys = append(whys, why)
			}
			if !slices.Contains(ids[why], r.ID()) {
				ids[why] = append(ids[why], r.ID())
			}
			if where[r.ID()] == nil {
				where[r.ID()] = map[string]bool{}
			}
			where[r.ID()][role] = true
		}
	}
	var b strings.Builder
	for _, why := range whys {
		var list []string
		for _, id := range ids[why] {
			text := "`" + id + "`"
			if len(where[id]) < len(c.roles) {
				text += " (" + slices.Sorted(maps.Keys(where[id]))[0] + ")"
			}
			list = append(list, text)
		}
		fmt.Fprintf(&b, "- %s: %s\n", why, strings.Join(list, ", "))
	}
	return b.String()
}

// properties are the keys of holdfast.yml, in full.
func properties(t *testing.T) map[string]bool {
	type property struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	known := map[string]bool{}
	var walk func(path string, raw json.RawMessage)
	walk = func(path string, raw json.RawMessage) {
		var p property
		if err := json.Unmarshal(raw, &p); err != nil {
			t.Fatal(err)
		}
		for name, inner := range p.Properties {
			full := strings.TrimPrefix(path+"."+name, ".")
			known[full] = true
			walk(full, inner)
		}
	}
	walk("", environment.Schema())
	return known
}

func TestEveryConcernIsNamedInTheSameWordsEverywhere(t *testing.T) {
	var names []string
	for _, c := range concerns {
		names = append(names, c.name)
		for _, role := range c.roles {
			cfg := config("198.51.100.0/24")
			cfg.Hardening = cfg.Hardening.Complete()
			for _, r := range c.resources(target{Config: cfg, role: role, keys: []string{key}}) {
				if got := aboutOf(r).Concern; got != c.name {
					t.Errorf("%s: %s says it is of concern %s", c.name, r.ID(), got)
				}
			}
		}
	}
	want := slices.Concat(environment.Concerns(), slices.Collect(maps.Keys(environment.Indispensable())))
	if slices.Sort(want); !slices.Equal(slices.Sorted(slices.Values(names)), want) {
		t.Errorf("the table has %v, holdfast.yml knows %v", names, want)
	}
	for _, name := range slices.Concat(slices.Collect(maps.Keys(tunedBy)), slices.Collect(maps.Keys(leftOut))) {
		if !slices.Contains(names, name) {
			t.Errorf("%s is described and is no concern", name)
		}
	}
}
