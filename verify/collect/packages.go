package collect

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"holdfast/verify"
)

// watchedPackages are those whose being installed is observed: what carries
// updates, programs that send passwords in the clear, and servers that nothing
// here needs.
var watchedPackages = []string{
	"unattended-upgrades", "atftpd", "avahi-daemon", "bind9", "cups-daemon", "dnsmasq", "dovecot-core", "ftp", "inetutils-inetd",
	"inetutils-telnet", "inetutils-telnetd", "isc-dhcp-server", "ldap-utils", "nfs-kernel-server", "nis", "openbsd-inetd", "prelink",
	"proftpd-core", "rpcbind", "rsh-client", "rsh-redone-client", "rsh-redone-server", "rsh-server", "samba", "slapd", "snmpd", "squid",
	"talk", "talkd", "telnet", "telnetd", "telnetd-ssl", "tftp-hpa", "tftpd", "tftpd-hpa", "tnftp", "vsftpd", "xinetd", "xserver-xorg-core", "yp-tools", "ypserv",
}

func readPackages(a answers, s *verify.Server) error {
	updates, err := a.ok("packages-updates")
	if err != nil {
		return err
	}
	config, err := a.ok("packages-config")
	if err != nil {
		return err
	}
	sources, err := a.ok("packages-sources")
	if err != nil {
		return err
	}
	installed, err := a.ok("packages-installed")
	if err != nil {
		return err
	}
	restarts, err := a.ok("needrestart")
	if err != nil {
		return err
	}
	p := parseAptConfig(config)
	if words := strings.Fields(restarts); len(words) > 0 {
		p.RestartMode = words[len(words)-1]
	}
	if p.SecurityUpdates, err = parseSecurityUpdates(updates); err != nil {
		return err
	}
	p.SecuritySource = hasSecuritySource(sources)
	p.Installed = append([]string{}, strings.Fields(installed)...)
	p.Unattended = p.Unattended && slices.Contains(p.Installed, "unattended-upgrades")
	s.Packages = p
	return nil
}

// parseSecurityUpdates reads lines of "name installed offered" and returns the
// names of which a newer version is offered.
func parseSecurityUpdates(text string) ([]string, error) {
	updates := []string{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			return nil, fmt.Errorf("unreadable package line %q", line)
		}
		if compareVersions(fields[2], fields[1]) > 0 {
			updates = append(updates, fields[0])
		}
	}
	slices.Sort(updates)
	return slices.Compact(updates), nil
}

// compareVersions orders two Debian package versions as dpkg does; see
// deb-version(7).
func compareVersions(a, b string) int {
	epochA, a := epoch(a)
	epochB, b := epoch(b)
	if epochA != epochB {
		return epochA - epochB
	}
	upstreamA, revisionA := revision(a)
	upstreamB, revisionB := revision(b)
	return cmp.Or(comparePart(upstreamA, upstreamB), comparePart(revisionA, revisionB))
}

func epoch(version string) (int, string) {
	before, after, ok := strings.Cut(version, ":")
	if !ok {
		return 0, version
	}
	n, _ := strconv.Atoi(before) // dpkg refuses anything but a number here
	return n, after
}

func revision(version string) (upstream, revision string) {
	if dash := strings.LastIndexByte(version, '-'); dash >= 0 {
		return version[:dash], version[dash+1:]
	}
	return version, ""
}

// comparePart compares by turns a run of non-digits and a number.
func comparePart(a, b string) int {
	digit := func(s string, i int) bool { return i < len(s) && s[i] >= '0' && s[i] <= '9' }
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		for i < len(a) && !digit(a, i) || j < len(b) && !digit(b, j) {
			if d := weight(a, i) - weight(b, j); d != 0 {
				return d
			}
			i++
			j++
		}
		startA, startB := i, j
		for digit(a, i) {
			i++
		}
		for digit(b, j) {
			j++
		}
		numberA := strings.TrimLeft(a[min(startA, len(a)):min(i, len(a))], "0")
		numberB := strings.TrimLeft(b[min(startB, len(b)):min(j, len(b))], "0")
		if d := cmp.Or(len(numberA)-len(numberB), strings.Compare(numberA, numberB)); d != 0 {
			return d
		}
	}
	return 0
}

// weight ranks a character of a non-digit run: "~" before the end, the end (or
// a digit) before letters, letters before everything else.
func weight(s string, i int) int {
	switch {
	case i >= len(s) || s[i] >= '0' && s[i] <= '9':
		return 0
	case s[i] == '~':
		return -1
	case s[i] >= 'a' && s[i] <= 'z' || s[i] >= 'A' && s[i] <= 'Z':
		return int(s[i])
	}
	return int(s[i]) + 256
}

// parseAptConfig reads "apt-config dump": NAME "value"; a line, list items with
// "::" at the end of their name.
func parseAptConfig(text string) *verify.Packages {
	p := &verify.Packages{AutoRebootTime: "now"}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue
		}
		value = strings.Trim(strings.TrimSuffix(value, ";"), `"`)
		on := value != "" && value != "0" && value != "false"
		switch name {
		case "APT::Periodic::Unattended-Upgrade":
			p.Unattended = on
		case "APT::Periodic::Update-Package-Lists":
			p.RefreshesLists = on
		case "Unattended-Upgrade::Automatic-Reboot":
			p.AutoReboot = on
		case "Unattended-Upgrade::Automatic-Reboot-Time":
			p.AutoRebootTime = value
		case "Unattended-Upgrade::Origins-Pattern::", "Unattended-Upgrade::Allowed-Origins::":
			if strings.Contains(strings.ToLower(value), "-security") {
				p.SecurityOrigin = true
			}
		}
	}
	return p
}

// hasSecuritySource reports whether apt's sources, in either format, name a
// security archive that is switched on.
func hasSecuritySource(text string) bool {
	enabled := true
	found := false
	for line := range strings.Lines(text) {
		line = strings.ToLower(strings.TrimSpace(line))
		switch {
		case strings.HasPrefix(line, "#"):
		case line == "": // ends a deb822 stanza; see sources.list(5)
			enabled = true
		case strings.HasPrefix(line, "enabled:"):
			enabled = !strings.HasSuffix(line, "no")
		case strings.HasPrefix(line, "deb ") || strings.HasPrefix(line, "deb\t"):
			found = found || strings.Contains(line, "-security")
		case strings.HasPrefix(line, "suites:"):
			found = found || enabled && strings.Contains(line, "-security")
		}
	}
	return found
}
