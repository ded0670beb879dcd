package provision

import (
	"testing"

	"holdfast/internal/probe"
)

// What a server answers is foreign text: whatever it is, it becomes facts or an
// error, and facts can be compared with what is declared.
func FuzzParseFacts(f *testing.F) {
	f.Add(uint8(0), system+"ssh-port=22\nlists-age=12\nfree=1 /\nguard-armed=yes\npending=daemon-reload\ntime=5\n")
	f.Add(uint8(1), "nftables installed\nsudo config-files\n")
	f.Add(uint8(2), "Id=ssh.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n\nId=x\n")
	f.Add(uint8(3), "H4sIAAAAAAAAA+3OMQ6AIBBE0T0KJzCyK3IeSgsSE8Hj")
	f.Add(uint8(4), "net/ipv4/ip_forward:1\nkernel/x:1\t2\n")
	f.Add(uint8(5), "user\tdeploy\t1000\t/home/deploy\t/bin/bash\tlocked\tdeploy\nkeys\tdeploy\t700\t600\tdeploy\tYQ==\n")
	f.Add(uint8(6), "81a4 root root /a\n")
	f.Add(uint8(7), "mount /tmp tmpfs tmpfs rw,nosuid\nswap /dev/x 10\n")
	f.Add(uint8(8), "live\ntable inet holdfast {\n}\ndeclared\n")
	resources := []Resource{
		File{Path: "/a", Content: "x"}, Directives{Path: "/a", Separator: " ", Values: []Directive{{"K", "v"}}},
		Permissions{Path: "/a", Mode: 0o600, Owner: "root"}, Packages{Names: []string{"nftables | sudo"}}, Removed{Names: []string{"sudo"}},
		Unit{Name: "ssh.service | x", State: Running}, Sysctls{Path: "/b", Settings: []Setting{{Key: "net.ipv4.ip_forward", Value: "1"}}},
		Mount{Where: "/tmp", Options: []string{"noexec"}}, Swap{Path: "/swap", MiB: 1}, User{Name: "deploy", Keys: []string{"k"}, Groups: []string{}},
		Ruleset{Table: "inet holdfast", Path: "/r", Unit: "x"},
	}
	f.Fuzz(func(_ *testing.T, which uint8, text string) {
		o := outputs(system)
		o[parsers[int(which)%len(parsers)].name] = probe.Output{Stdout: text}
		if facts, err := ParseFacts("audit", o); err == nil {
			steps(Diff(resources, facts).Changes)
		}
	})
}
