package hardening

import (
	"maps"
	"slices"
	"strings"

	"holdfast/provision"
)

// denied are modules that no server here needs. Missing on purpose: overlay,
// br_netfilter, veth and nf_* (Docker), squashfs (snap), vfat (EFI), llc
// (bridges).
var denied = []string{
	// File systems of other times and machines.
	"cramfs", "freevxfs", "hfs", "hfsplus", "jffs2", "udf", "minix", "ufs", "adfs", "affs", "befs", "omfs", "sysv",
	// Network protocols that nobody speaks to a server.
	"dccp", "sctp", "rds", "tipc", "ax25", "netrom", "rose", "x25", "appletalk", "ipx", "decnet", "atm", "can", "n-hdlc", "af_802154",
	// What someone could plug in.
	"usb-storage", "uas", "firewire-core", "firewire-ohci", "firewire-sbp2", "thunderbolt",
}

func modules(on target) []provision.Resource {
	var b strings.Builder
	b.WriteString("# Written by Holdfast: modules that nothing here needs can't be loaded.\n")
	for _, name := range denied {
		if !slices.Contains(on.Hardening.Kernel.Modules, name) {
			b.WriteString("install " + name + " /bin/false\nblacklist " + name + "\n")
		}
	}
	return []provision.Resource{provision.File{
		About: provision.About{Concern: "modules", Why: "modules that nothing here needs are attack surface"},
		Path:  "/etc/modprobe.d/holdfast.conf", Content: b.String(),
	}}
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
