package lab

import (
	"slices"
	"strings"
	"testing"
)

func TestNameServersKeepsWhatHoldsOnAnotherMachine(t *testing.T) {
	for _, test := range []struct{ name, in, want string }{
		{"plain", "# written by somebody\nnameserver 192.0.2.53\nsearch example.com\noptions edns0\n", "nameserver 192.0.2.53\nsearch example.com\noptions edns0"},
		{"a stub on the loopback is none", "nameserver 127.0.0.53\noptions edns0\n", ""},
		{"IPv6 is not in the lab's network", "nameserver 2001:db8::53\nnameserver 192.0.2.53\n", "nameserver 192.0.2.53"},
		{"a link-local one with its zone", "nameserver fe80::1%eth0\n", ""},
		{"a broken line", "nameserver\nnameserver ?\n", ""},
		{"nothing", "", ""},
	} {
		if got := nameServers([]byte(test.in)); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

func TestMirrorsAreThoseOfThisMachine(t *testing.T) {
	usual := parseMirrors(nil).ubuntu
	for _, test := range []struct{ name, in, main, security, ubuntu string }{
		{"no Debian machine", "Ubuntu http://mirror.example/ubuntu/\n", debianMirror, securityMirror, "http://mirror.example/ubuntu"},
		{"a mirror of its own", "Debian http://mirror.example/debian/\nDebian http://other.example/debian\nDebian-Security https://mirror.example/security/\n", "http://mirror.example/debian", "https://mirror.example/security", usual},
		{"a disc", "Debian cdrom://[Debian 12]/\nDebian http://mirror.example/debian/\n", "http://mirror.example/debian", securityMirror, usual},
		{"no lists fetched yet", " http://mirror.example/debian/\n", debianMirror, securityMirror, usual},
	} {
		if m := parseMirrors([]byte(test.in)); m.debian != test.main || m.security != test.security || m.ubuntu != test.ubuntu {
			t.Errorf("%s: got %+v, want %s, %s and %s", test.name, m, test.main, test.security, test.ubuntu)
		}
	}
}

func TestAptConfKeepsOnlyHowMirrorsAreReached(t *testing.T) {
	const dump = `Acquire "";
Acquire::IndexTargets::deb::Packages::MetaKey "x";
Acquire::http::Proxy "http://localhost:3142";
Acquire::http::Proxy::mirror.example "DIRECT";
Acquire::https::Verify-Peer "false";
Acquire::Check-Valid-Until "false";
Acquire::http::User-Agent "odd";
`
	want := "Acquire::http::Proxy \"http://198.51.100.1:3142\";\nAcquire::http::Proxy::mirror.example \"DIRECT\";\nAcquire::Check-Valid-Until \"false\";\n"
	if got := aptConf([]byte(dump), "http://ignored.example", "198.51.100.1"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := aptConf(nil, "http://127.0.0.1:8080", "198.51.100.1"); got != "Acquire::http::Proxy \"http://198.51.100.1:8080\";\n" {
		t.Errorf("proxy of the environment: got %q", got)
	}
	if got := aptConf([]byte("Acquire \"\";\n"), "", "198.51.100.1"); got != "" {
		t.Errorf("nothing to keep: got %q", got)
	}
}

func TestServersNeverGetTheClockNorTheModules(t *testing.T) {
	for _, test := range []struct {
		name, status string
		want         []string
	}{
		{"all capabilities", "Name:\tx\nCapBnd:\t000001ffffffffff\n", []string{"SYS_MODULE", "SYS_TIME"}},
		{"no SYS_RESOURCE", "CapBnd:\t000001fffeffffff\n", []string{"SYS_MODULE", "SYS_TIME", "SYS_RESOURCE"}},
	} {
		got, err := dropCapabilities([]byte(test.status))
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s: got %v, %v; want %v", test.name, got, err, test.want)
		}
	}
	for _, status := range []string{"", "CapBnd:\tnothing\n"} {
		if _, err := dropCapabilities([]byte(status)); err == nil {
			t.Errorf("%q: no error", status)
		}
	}
}

func FuzzMachineSettings(f *testing.F) {
	f.Add("nameserver 192.0.2.53\n", "Debian http://x/\n", "Acquire::http::Proxy \"http://localhost:1\";\n")
	f.Fuzz(func(t *testing.T, resolv, targets, dump string) {
		for line := range strings.Lines(nameServers([]byte(resolv))) {
			word, _, _ := strings.Cut(line, " ")
			if !slices.Contains([]string{"nameserver", "search", "options"}, word) {
				t.Errorf("resolv.conf line %q", line)
			}
		}
		m := parseMirrors([]byte(targets))
		for _, uri := range []string{m.debian, m.security, m.ubuntu} {
			if !strings.HasPrefix(uri, "http") || strings.ContainsAny(uri, "\n") {
				t.Errorf("mirror %q", uri)
			}
		}
		for line := range strings.Lines(aptConf([]byte(dump), "", "198.51.100.1")) {
			if !strings.HasPrefix(line, "Acquire::") || !strings.HasSuffix(line, "\";\n") {
				t.Errorf("apt.conf line %q", line)
			}
		}
	})
}

func TestASubnetThatHidesTheMirrorIsRefused(t *testing.T) {
	m := machine{mirrors: mirrors{"http://203.0.113.80/debian", "http://203.0.113.80/security", "http://192.0.2.80/ubuntu"}}
	if err := m.outside(t.Context(), "203.0.113.0/24", Ubuntu2404); err != nil {
		t.Errorf("a mirror that the system does not use: %v", err)
	}
	if err := m.outside(t.Context(), "203.0.113.0/24", Debian13); err == nil || !strings.Contains(err.Error(), "choose another subnet") {
		t.Errorf("got %v", err)
	}
	if err := m.outside(t.Context(), DefaultSubnet, Debian13); err != nil {
		t.Errorf("got %v", err)
	}
}
