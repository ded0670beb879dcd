package hardening

import (
	"net/netip"
	"slices"
)

var loopback = []string{"127.0.0.0/8", "::1/128"}

// friends are the networks that are never banned nor slowed down: the
// operators' and the pair's own.
func (t target) friends() []string {
	friends := slices.Clone(t.Access.SSHFrom)
	for _, address := range []string{
		t.Servers.Production.Address, t.Servers.Production.Private, t.Servers.Audit.Address, t.Servers.Audit.Private,
	} {
		friends = append(friends, single(address)...)
	}
	slices.Sort(friends)
	return slices.Compact(friends)
}

// auditor is where the audit server comes from: its private address where it
// has one, else its address where that is no name.
func (t target) auditor() []string {
	if t.Servers.Audit.Private != "" {
		return single(t.Servers.Audit.Private)
	}
	return single(t.Servers.Audit.Address)
}

// single is the network of one IP address; none for a host name.
func single(address string) []string {
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.IsLoopback() {
		return nil
	}
	ip = ip.WithZone("").Unmap()
	return []string{netip.PrefixFrom(ip, ip.BitLen()).String()}
}

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
