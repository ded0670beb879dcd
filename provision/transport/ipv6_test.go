package transport

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

func TestIPv6AddressesAreDialledAndKnownAsOpenSSHWritesThem(t *testing.T) {
	t.Parallel()
	hosts := []string{"::1"}
	if zoned := linkLocal(); zoned != "" {
		hosts = append(hosts, zoned)
	} else {
		t.Log("there is no link-local address here, so none with a zone is tried")
	}
	for _, host := range hosts {
		server := startSSHD(t, []string{"ed25519"}, "ListenAddress "+host)
		key := server.keys["ed25519"].PublicKey()
		known := fmt.Sprintf("[%s]:%d %s", host, server.port, ssh.MarshalAuthorizedKey(key))
		for _, address := range []string{host, "[" + host + "]"} {
			target := server.unpinned(known)
			target.Address = address
			dial(t, target, Options{})

			asked := ""
			target.KnownHosts = target.KnownHosts[:1]
			accept := Options{AcceptNewHostKey: func(host, _, _ string) bool { asked = host; return true }}
			dial(t, target, accept)
			if want := fmt.Sprintf("[%s]:%d", host, server.port); asked != want {
				t.Errorf("asked about %q, want %q", asked, want)
			}
			asked = ""
			dial(t, target, accept)
			if asked != "" {
				t.Error("the accepted key was not found again")
			}
			// Through ssh_config, and through a bastion that lies at it.
			config := writeFile(t, filepath.Join(folder(t), "config"),
				fmt.Sprintf("Host six\n  HostName %s\n  Port %d\n  User root\nHost inner\n  HostName %s\n  ProxyJump root@[%s]:%d\nHost *\n  IdentityFile %s\n",
					doublePercent(host), server.port, doublePercent(host), host, server.port, target.Identity))
			for _, alias := range []string{"six", "inner"} {
				through := target
				through.Address = alias
				if alias == "six" {
					through.Port = 0
				}
				dial(t, through, Options{Config: config})
			}
		}
	}
}

func doublePercent(host string) string {
	return strings.ReplaceAll(host, "%", "%%")
}

// linkLocal is an address with a zone that this machine answers to, or "".
func linkLocal() string {
	interfaces, err := net.Interfaces()
	if err != nil {
		return ""
	}
	for _, i := range interfaces {
		addresses, err := i.Addrs()
		if err != nil || i.Flags&net.FlagRunning == 0 {
			continue
		}
		for _, a := range addresses {
			if n, ok := a.(*net.IPNet); ok && n.IP.To4() == nil && n.IP.IsLinkLocalUnicast() {
				return n.IP.String() + "%" + i.Name
			}
		}
	}
	return ""
}
