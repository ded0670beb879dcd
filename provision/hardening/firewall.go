package hardening

import (
	"fmt"
	"slices"
	"strings"

	"holdfast/provision"
)

// firewall is what reaches the server: SSH, and the web on production.
func firewall(on target) []provision.Resource {
	about := func(why string) provision.About {
		return provision.About{Concern: "firewall", Why: why, Guarded: true}
	}
	const unit = "holdfast-firewall.service"
	var ports []int
	if on.Access.Port != 0 {
		ports = []int{on.Access.Port}
	}
	return []provision.Resource{
		provision.Packages{About: about("nftables filters IPv4 and IPv6 with one set of rules"), Names: []string{"nftables"}},
		provision.File{About: about("the rules are loaded before the network is up"),
			Path: "/etc/systemd/system/" + unit, Content: template(unit), Actions: []string{"daemon-reload"}},
		provision.Ruleset{About: about("only declared ports answer, also where containers publish more"),
			Table: "inet holdfast", Path: "/etc/holdfast/firewall.nft", Unit: unit, Rules: rules(on), Ports: ports},
		provision.File{About: about("the distribution's rules would delete Docker's when loaded"),
			Path: "/etc/nftables.conf", Content: template("nftables.conf"), Mode: 0o755},
		provision.Unit{About: about("the firewall is up before anything else is, at every boot"), Name: unit, State: provision.Running},
		provision.Unit{About: about("stopping it flushes all rules, Docker's too"), Name: "nftables.service", State: provision.Stopped},
		// A packet must pass all tables: what these drop ours can't let in.
		provision.Unit{About: about("a second firewall would drop what this one lets in"), Name: "ufw.service", State: provision.Stopped},
		provision.Unit{About: about("a second firewall would drop what this one lets in"), Name: "firewalld.service", State: provision.Stopped},
	}
}

// rules is the text of the ruleset.
func rules(on target) string {
	from := on.Access.SSHFrom
	if len(from) > 0 && on.role == production {
		from = slices.Concat(from, on.auditor())
	}
	var input strings.Builder
	four, six := families(from)
	for _, f := range []struct {
		ip, set  string
		networks []string
	}{{"ip", "ssh_rate4", four}, {"ip6", "ssh_rate6", six}} {
		// With a list of networks the limit only slows a flood down. It counts by
		// sender: one that is over it is dropped, others are not.
		match, limit := "meta nfproto "+map[string]string{"ip": "ipv4", "ip6": "ipv6"}[f.ip], "10/minute burst 20"
		if len(from) > 0 {
			if len(f.networks) == 0 {
				continue
			}
			match, limit = fmt.Sprintf("%s saddr { %s }", f.ip, strings.Join(f.networks, ", ")), "300/minute burst 300"
		}
		fmt.Fprintf(&input, "\t\t%s tcp dport $ssh ct state new update @%s { %s saddr limit rate over %s packets } drop\n", match, f.set, f.ip, limit)
		fmt.Fprintf(&input, "\t\t%s tcp dport $ssh accept\n", match)
	}
	var chains string
	if on.role == production {
		input.WriteString("\t\ttcp dport { 80, 443 } accept\n")
		opened := openings(on.Hardening.Firewall.Production)
		input.WriteString(opened)
		chains = strings.Replace(published, "@OPENED@\n", opened, 1)
	} else {
		input.WriteString(openings(on.Hardening.Firewall.Audit))
		chains = forward + egress(on)
	}
	return template("firewall.nft", "INPUT", strings.TrimSuffix(input.String(), "\n"), "CHAINS", strings.TrimSuffix(chains, "\n"))
}

// openings are the rules that let in, or out, what holdfast.yml lists, as in
// "tcp/9100-9110 from 198.51.100.0/24".
func openings(list []string) string {
	var b strings.Builder
	for _, text := range list {
		words := strings.Fields(text)
		protocol, ports, _ := strings.Cut(words[0], "/")
		rule := fmt.Sprintf("%s dport %s accept\n", protocol, ports)
		if len(words) == 3 {
			side := map[string]string{"from": "saddr", "to": "daddr"}[words[1]]
			four, _ := families(words[2:])
			ip := "ip6"
			if len(four) > 0 {
				ip = "ip"
			}
			rule = fmt.Sprintf("%s %s %s %s", ip, side, words[2], rule)
		}
		b.WriteString("\t\t" + rule)
	}
	return b.String()
}

// published drops what containers publish beyond the declared ports. Docker
// redirects such packets in prerouting at -100, after which the input chain does
// not see them; here the port is still the published one.
const published = `
	chain published {
		type filter hook prerouting priority -150; policy accept;
		iifname "lo" accept
@OPENED@
		ct state new fib daddr type local tcp dport != { $ssh, 80, 443 } drop
		ct state new fib daddr type local udp dport != { 68, 546 } drop
	}
`

// forward is for a server that routes for nobody.
const forward = `
	chain forward {
		type filter hook forward priority filter; policy drop;
	}
`

// egress bounds what the audit server may connect to, where holdfast.yml lists
// that: names, time, addresses, the production server, and the list.
func egress(on target) string {
	list := on.Hardening.Firewall.Egress
	if len(list) == 0 {
		return ""
	}
	var pair strings.Builder
	four, six := families(slices.Concat(single(on.Servers.Production.Address), single(on.Servers.Production.Private)))
	for _, network := range four {
		pair.WriteString("\t\tip daddr " + network + " accept\n")
	}
	for _, network := range six {
		pair.WriteString("\t\tip6 daddr " + network + " accept\n")
	}
	return `
	chain output {
		type filter hook output priority filter; policy drop;
		oifname "lo" accept
		ct state established,related accept
		meta l4proto { icmp, ipv6-icmp } accept
		meta l4proto { tcp, udp } th dport { 53, 853 } accept
		udp dport { 67, 123, 547 } accept
` + pair.String() + openings(list) + `		ct state new limit rate 10/minute log prefix "holdfast egress " level info
	}
`
}
