package hardening

import (
	"fmt"
	"net/netip"
	"strings"

	"holdfast/provision"
)

// firewall is what reaches the server: SSH, and the web on production.
func firewall(role string, sshFrom []string) []provision.Resource {
	about := func(why string) provision.About {
		return provision.About{Concern: "firewall", Why: why, Guarded: true}
	}
	const unit = "holdfast-firewall.service"
	return []provision.Resource{
		provision.Packages{About: about("nftables filters IPv4 and IPv6 with one set of rules"), Names: []string{"nftables"}},
		provision.File{About: about("the rules are loaded before the network is up"),
			Path: "/etc/systemd/system/" + unit, Content: template(unit), Actions: []string{"daemon-reload"}},
		provision.Ruleset{About: about("only declared ports answer, also where containers publish more"),
			Table: "inet holdfast", Path: "/etc/holdfast/firewall.nft", Unit: unit, Rules: rules(role, sshFrom)},
		provision.File{About: about("the distribution's rules would delete Docker's when loaded"),
			Path: "/etc/nftables.conf", Content: template("nftables.conf"), Mode: 0o755},
		provision.Unit{About: about("the firewall is up before anything else is, at every boot"), Name: unit, State: provision.Running},
		provision.Unit{About: about("stopping it flushes all rules, Docker's too"), Name: "nftables.service", State: provision.Stopped},
	}
}

// rules is the text of the ruleset.
func rules(role string, sshFrom []string) string {
	var input strings.Builder
	four, six := families(sshFrom)
	for _, f := range []struct {
		ip, set  string
		networks []string
	}{{"ip", "ssh_rate4", four}, {"ip6", "ssh_rate6", six}} {
		// With a list of networks the limit only slows a flood down. It counts by
		// sender: one that is over it is dropped, others are not.
		from, limit := "meta nfproto "+map[string]string{"ip": "ipv4", "ip6": "ipv6"}[f.ip], "10/minute burst 20"
		if len(sshFrom) > 0 {
			if len(f.networks) == 0 {
				continue
			}
			from, limit = fmt.Sprintf("%s saddr { %s }", f.ip, strings.Join(f.networks, ", ")), "300/minute burst 300"
		}
		fmt.Fprintf(&input, "\t\t%s tcp dport $ssh ct state new update @%s { %s saddr limit rate over %s packets } drop\n", from, f.set, f.ip, limit)
		fmt.Fprintf(&input, "\t\t%s tcp dport $ssh accept\n", from)
	}
	chains := forward
	if role == production {
		input.WriteString("\t\ttcp dport { 80, 443 } accept\n")
		chains = published
	}
	return template("firewall.nft", "INPUT", strings.TrimSuffix(input.String(), "\n"), "CHAINS", strings.TrimSuffix(chains, "\n"))
}

// published drops what containers publish beyond the declared ports. Docker
// redirects such packets in prerouting at -100, after which the input chain does
// not see them; here the port is still the published one.
const published = `
	chain published {
		type filter hook prerouting priority -150; policy accept;
		iifname "lo" accept
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

// families parts networks by IP version.
func families(networks []string) (four, six []string) {
	for _, n := range networks {
		prefix, err := netip.ParsePrefix(n)
		if err == nil && prefix.Addr().Is4() {
			four = append(four, prefix.Masked().String())
		} else if err == nil {
			six = append(six, prefix.Masked().String())
		}
	}
	return four, six
}
