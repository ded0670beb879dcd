package lab

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
)

// Where packages come from when this machine's own configuration names no
// mirror of the distribution.
const (
	debianMirror   = "http://deb.debian.org/debian"
	securityMirror = "http://deb.debian.org/debian-security"
	ubuntuMirror   = "http://archive.ubuntu.com/ubuntu"
	ubuntuPorts    = "http://ports.ubuntu.com/ubuntu-ports" // for what is no PC
)

// machine is what a lab server takes over from the machine it runs on, so that
// it reaches name servers and package mirrors where this machine does.
type machine struct {
	mirrors  mirrors
	resolv   string // lines of resolv.conf
	aptConf  string // /etc/apt/apt.conf.d/90machine
	dropCaps []string
}

func machineSettings(ctx context.Context, gateway string) (machine, error) {
	dump, _ := exec.CommandContext(ctx, "apt-config", "dump", "Acquire").Output() // absent where packages are not Debian's
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return machine{}, fmt.Errorf("read this process's capabilities: %w", err)
	}
	caps, err := dropCapabilities(status)
	if err != nil {
		return machine{}, err
	}
	resolv, err := resolvConf()
	if err != nil {
		return machine{}, err
	}
	return machine{
		mirrors:  machineMirrors(ctx),
		resolv:   resolv,
		aptConf:  aptConf(dump, os.Getenv("http_proxy"), gateway),
		dropCaps: caps,
	}, nil
}

// outside returns an error when a package mirror of a system lies in the lab's
// own subnet, as it can where a filter or a proxy answers in its place: neither the lab
// nor this machine would reach it any more.
func (m machine) outside(ctx context.Context, subnet string, system System) error {
	network, err := netip.ParsePrefix(subnet)
	if err != nil {
		return err
	}
	used := []string{m.mirrors.debian, m.mirrors.security}
	if system.ubuntu() {
		used = []string{m.mirrors.ubuntu}
	}
	for _, mirror := range used {
		u, err := url.Parse(mirror)
		if err != nil {
			return fmt.Errorf("read the package mirror %q: %w", mirror, err)
		}
		// A name that cannot be looked up may still be known to a proxy.
		addresses, _ := net.DefaultResolver.LookupNetIP(ctx, "ip4", u.Hostname())
		for _, address := range addresses {
			if network.Contains(address.Unmap()) {
				return fmt.Errorf("the package mirror %s is at %s from here, inside the lab's subnet %s: choose another subnet", u.Hostname(), address.Unmap(), subnet)
			}
		}
	}
	return nil
}

// mirrors are addresses of packages.
type mirrors struct {
	debian   string
	security string // Debian's security updates
	ubuntu   string // with its security updates
}

// machineMirrors returns the mirrors that this machine uses itself, and the
// usual ones for what it does not use.
func machineMirrors(ctx context.Context) mirrors {
	out, _ := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages").Output()
	return parseMirrors(out)
}

// parseMirrors reads lines of "Label http://…", of which the first of each
// label counts.
func parseMirrors(out []byte) mirrors {
	m := mirrors{debianMirror, securityMirror, ubuntuMirror}
	if runtime.GOARCH != "amd64" {
		m.ubuntu = ubuntuPorts
	}
	places := map[string]*string{"Debian": &m.debian, "Debian-Security": &m.security, "Ubuntu": &m.ubuntu}
	for line := range strings.Lines(string(out)) {
		label, uri, _ := strings.Cut(strings.TrimSpace(line), " ")
		place := places[label]
		if place == nil || !strings.HasPrefix(uri, "http") {
			continue // a mirror list or a disc is of no use elsewhere
		}
		*place = strings.TrimSuffix(uri, "/")
		delete(places, label)
	}
	return m
}

// of returns the mirror with a system's packages.
func (m mirrors) of(system System) string {
	if system.ubuntu() {
		return m.ubuntu
	}
	return m.debian
}

// sources returns the package sources of a system: the path and text of a file.
func (m mirrors) sources(system System) (path, text string) {
	const source = "Types: deb\nURIs: %s\nSuites: %s\nComponents: %s\nSigned-By: /usr/share/keyrings/%s-archive-keyring.gpg\n"
	suite := suites[system]
	if system.ubuntu() {
		suites := fmt.Sprintf("%[1]s %[1]s-updates %[1]s-security", suite)
		return "etc/apt/sources.list.d/ubuntu.sources", fmt.Sprintf(source, m.ubuntu, suites, "main universe", "ubuntu")
	}
	return "etc/apt/sources.list.d/debian.sources",
		fmt.Sprintf(source, m.debian, suite+" "+suite+"-updates", "main", "debian") + "\n" +
			fmt.Sprintf(source, m.security, suite+"-security", "main", "debian")
}

// aptReach matches the settings that decide whether and how a mirror can be
// reached, one per line of "apt-config dump".
var aptReach = regexp.MustCompile(`(?m)^Acquire::(https?::(Proxy(::[^" ]+)?|Timeout|No-Cache)|Check-Valid-Until|Check-Date|Retries|ForceIPv[46]) "[^"]*";$`)

var loopback = regexp.MustCompile(`://(127\.0\.0\.1|localhost)\b`)

// aptConf keeps the settings of dump, the answer of "apt-config dump", that
// decide how mirrors are reached. A proxy on this machine's loopback is looked
// for at its address in the lab's network.
func aptConf(dump []byte, proxy, gateway string) string {
	lines := aptReach.FindAllString(string(dump), -1)
	if proxy != "" && !bytes.Contains(dump, []byte("\nAcquire::http::Proxy \"http")) {
		lines = append(lines, fmt.Sprintf("Acquire::http::Proxy %q;", proxy))
	}
	if len(lines) == 0 {
		return ""
	}
	return loopback.ReplaceAllString(strings.Join(lines, "\n")+"\n", "://"+gateway)
}

// resolvConf returns the resolv.conf for lab servers. Docker's own name server
// is not used: it lives behind NAT rules inside the server, which its first
// firewall would flush.
func resolvConf() (string, error) {
	// The second one has the real servers where systemd-resolved answers on
	// the loopback interface.
	for _, path := range []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"} {
		content, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if lines := nameServers(content); lines != "" {
			return lines, nil
		}
	}
	return "", fmt.Errorf("find a name server for the lab's servers: /etc/resolv.conf names none that can be reached from another machine")
}

// nameServers returns the lines of a resolv.conf that hold on another machine
// too, or nothing when none names a server.
func nameServers(content []byte) string {
	var lines []string
	servers := 0
	for line := range strings.Lines(string(content)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "nameserver":
			addr, err := netip.ParseAddr(fields[1])
			if err != nil || addr.IsLoopback() || addr.Zone() != "" || addr.Is6() {
				continue // the lab's network has no IPv6
			}
			servers++
			lines = append(lines, "nameserver "+addr.String())
		case "search", "options":
			lines = append(lines, strings.Join(fields, " "))
		}
	}
	if servers == 0 {
		return ""
	}
	return strings.Join(lines, "\n")
}

// capSysResource is the number of CAP_SYS_RESOURCE in linux/capability.h.
const capSysResource = 24

// dropCapabilities returns the capabilities to take from a server's full set.
// The modules and the clock are those of this machine. SYS_RESOURCE goes where this process has not got it itself, as inside some
// virtual machines: a container cannot be given what its engine lacks.
func dropCapabilities(status []byte) ([]string, error) {
	drop := []string{"SYS_MODULE", "SYS_TIME"}
	scanner := bufio.NewScanner(bytes.NewReader(status))
	for scanner.Scan() {
		hex, ok := strings.CutPrefix(scanner.Text(), "CapBnd:")
		if !ok {
			continue
		}
		set, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
		if err != nil {
			return nil, fmt.Errorf("read this process's capabilities: %w", err)
		}
		if set&(1<<capSysResource) == 0 {
			drop = append(drop, "SYS_RESOURCE")
		}
		return drop, nil
	}
	return nil, fmt.Errorf("read this process's capabilities: /proc/self/status has no CapBnd")
}

// mtu returns the packet size, in bytes, of the link towards the outside. A
// larger one in the lab would lose packets on machines behind a tunnel.
func mtu() string {
	const ethernet = "1500"
	routes, err := os.ReadFile("/proc/net/route")
	if err != nil {
		return ethernet
	}
	for line := range strings.Lines(string(routes)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[1] != "00000000" {
			continue
		}
		if size, err := os.ReadFile("/sys/class/net/" + fields[0] + "/mtu"); err == nil {
			return strings.TrimSpace(string(size))
		}
	}
	return ethernet
}
