package hardening

import (
	"slices"

	"holdfast/provision"
)

// unneeded are packages that send passwords in the clear, or serve what no
// server here serves. Clients and services that other packages need are under
// services.
var unneeded = []string{
	"atftpd", "ftp", "inetutils-inetd", "inetutils-telnet", "inetutils-telnetd", "ldap-utils", "nis", "openbsd-inetd",
	"popularity-contest", "prelink", "rlinetd", "rsh-client", "rsh-redone-client", "rsh-redone-server", "rsh-server",
	"talk", "talkd", "telnet", "telnetd", "telnetd-ssl", "tftp", "tftp-hpa", "tftpd", "tftpd-hpa", "tnftp", "xinetd", "yp-tools", "ypbind", "ypserv",
}

func packages(on target) []provision.Resource {
	tuned := on.Hardening.Packages
	names := slices.DeleteFunc(slices.Concat(unneeded, tuned.Remove), func(name string) bool { return slices.Contains(tuned.Keep, name) })
	return []provision.Resource{provision.Removed{
		About: provision.About{Concern: "packages", Why: "programs that send passwords in the clear, or serve what nobody asks for"},
		Names: names,
	}}
}

// idle are units of services that images bring and nothing here needs. apport
// also turns core dumps of set-user-id programs on at each boot.
var idle = []string{
	"apport.service", "avahi-daemon.service", "avahi-daemon.socket", "bluetooth.service", "cups-browsed.service", "cups.path", "cups.service", "cups.socket",
	"exim4.service", "isc-dhcp-server.service", "ModemManager.service", "nfs-server.service", "nmbd.service", "rpcbind.service",
	"rpcbind.socket", "slapd.service", "smbd.service", "snmpd.service", "vsftpd.service", "whoopsie.service",
}

func services(on target) []provision.Resource {
	tuned := on.Hardening.Services
	var all []provision.Resource
	for _, name := range slices.Concat(idle, tuned.Stop) {
		if !slices.Contains(tuned.Keep, name) {
			all = append(all, provision.Unit{
				About: provision.About{Concern: "services", Why: "nothing here needs it, and what does not run can't be attacked"},
				Name:  name, State: provision.Stopped})
		}
	}
	return all
}
