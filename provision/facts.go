package provision

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast/internal/probe"
)

// Facts are what was observed of one server.
type Facts struct {
	Role         string `json:"role"`
	Hostname     string `json:"hostname"`
	OS           OS     `json:"os"`
	Kernel       string `json:"kernel"`
	Architecture string `json:"architecture"`        // dpkg's word, as in "amd64"
	Container    string `json:"container,omitempty"` // systemd-detect-virt(1)'s word; "" on a machine of its own
	Started      string `json:"started"`             // differs after each boot, also of a container
	// ClockOff is how far the server's clock is behind this machine's, as of when
	// the facts were parsed.
	ClockOff time.Duration `json:"clock_off"`
	// NewestKernel is the newest one installed of the running one's flavour; ""
	// where the kernel is none of the server's own packages.
	NewestKernel   string   `json:"newest_kernel,omitempty"`
	RebootRequired bool     `json:"reboot_required"`
	RebootPackages []string `json:"reboot_packages,omitempty"` // what a reboot is due for, where it is known

	Packages     map[string]string     `json:"packages"`                // name → dpkg's status, as in "installed"
	PackageLists *time.Duration        `json:"package_lists,omitempty"` // age; nil: there are none
	Units        map[string]UnitFacts  `json:"units"`
	Files        map[string]FileFacts  `json:"files"`    // those that exist
	Sysctls      map[string]string     `json:"sysctls"`  // live values of keys that this kernel has
	Users        map[string]UserFacts  `json:"users"`    // those that exist
	Groups       map[string][]string   `json:"groups"`   // those that exist, with their members
	Paths        map[string]PathFacts  `json:"paths"`    // those that exist and are no links
	Mounts       map[string]MountFacts `json:"mounts"`   // mount point → what is mounted there
	SwapMiB      int64                 `json:"swap_mib"` // in use and not
	// SSHPorts are those of sshd's settings or, where sshd refuses its settings,
	// those it listens on. There is always one.
	SSHPorts []int `json:"ssh_ports"`
	// SSHFault is why sshd would not start with the settings it has; "": it would.
	SSHFault   string           `json:"ssh_fault,omitempty"`
	Firewall   FirewallFacts    `json:"firewall"`
	FreeMiB    map[string]int64 `json:"free_mib"`            // mount point → free space
	FreeInodes map[string]int64 `json:"free_inodes"`         // mount point → files that can be made; those with a limit
	ReadOnly   []string         `json:"read_only,omitempty"` // folders that can't be written to and must be
	Missing    []string         `json:"missing,omitempty"`   // programs that every supported system has
	// Compose says on Debian 12, whose own Docker lacks it, where Compose v2 comes
	// from: "installed", "available" from a repository that was added, or "".
	Compose string `json:"compose,omitempty"`

	// JournalFault says which of the journal's last records breaks its chain; "":
	// none does.
	JournalFault string `json:"journal_fault,omitempty"`

	Guard   GuardFacts `json:"guard"`
	Pending []string   `json:"pending,omitempty"` // actions that a run has left undone
}

// An OS is what os-release(5) says.
type OS struct {
	ID      string `json:"id"`      // "debian", "ubuntu"
	Version string `json:"version"` // "13", "24.04"
	Name    string `json:"name"`    // for people
}

// Key is id and version, as in "ubuntu 24.04".
func (o OS) Key() string { return o.ID + " " + o.Version }

// UnitFacts are the state of a systemd unit, in systemd's own words.
type UnitFacts struct {
	Load   string `json:"load"`   // "loaded", "not-found", "masked"
	Active string `json:"active"` // "active", "inactive", "failed"
	File   string `json:"file"`   // "enabled", "disabled", "static"; "" for an unknown unit
	// Inapplicable: systemd was asked to start it and found that a condition of
	// the unit does not hold, as in a container that can't set the clock.
	Inapplicable bool `json:"inapplicable,omitempty"`
}

// FileFacts are the state of a file that exists.
type FileFacts struct {
	Kind    string `json:"kind"` // "file", "link", "folder" or "other"
	Mode    string `json:"mode"` // four octal digits
	Owner   string `json:"owner"`
	Group   string `json:"group"`
	SHA256  string `json:"sha256"` // hex; of a file's content
	Content []byte `json:"-"`
}

// UserFacts are the state of an account.
type UserFacts struct {
	ID       int      `json:"id"`
	Home     string   `json:"home"`
	Shell    string   `json:"shell"`
	Password string   `json:"password"` // "set", "locked" or "empty"
	Groups   []string `json:"groups"`
	Expires  bool     `json:"expires,omitempty"` // the account or its password, now or on some day
	Keys     *Keys    `json:"keys,omitempty"`    // nil: no authorized_keys
}

// Keys are an account's authorized_keys.
type Keys struct {
	FolderMode string `json:"folder_mode"` // of .ssh; four octal digits
	Mode       string `json:"mode"`        // four octal digits
	Owner      string `json:"owner"`
	Text       string `json:"text"`
}

// FirewallFacts compare the live table with the file it is loaded from.
type FirewallFacts struct {
	AsDeclared bool `json:"as_declared"` // the live table is what the file holds
	// Where it is not: nft's listings of both; "" when there is none.
	Live     string `json:"live,omitempty"`
	Declared string `json:"declared,omitempty"`
}

// GuardFacts tell of changes that are, or were, waiting for a new login.
type GuardFacts struct {
	Armed    bool      `json:"armed,omitempty"`
	Reverted *Reverted `json:"reverted,omitempty"`
}

// Reverted is what the guard put back. It is forgotten with the next change
// that is confirmed.
type Reverted struct {
	At    string   `json:"at"` // RFC 3339, UTC
	Files []string `json:"files"`
}

// supported are the systems that the resources were written for.
var supported = []string{"debian 13", "debian 12", "ubuntu 24.04", "ubuntu 22.04"}

// What an installation needs on / and /var: Docker alone brings 300 MiB, and
// 5000 files with a first image.
const (
	minFreeMiB    = 500
	minFreeInodes = 10_000
)

// An UnsupportedError is a server that Holdfast does not know how to provision.
type UnsupportedError struct {
	OS   OS
	Role string
}

func (e *UnsupportedError) Error() string {
	name := e.OS.Name
	if name == "" {
		name = "a system without a name in /etc/os-release"
	}
	if slices.Contains(supported, e.OS.Key()) {
		return fmt.Sprintf("%s can't be a %s server: its own packages have no Compose v2", name, e.Role)
	}
	return fmt.Sprintf("%s is not supported; Debian 13 and 12 and Ubuntu 24.04 and 22.04 are", name)
}

// Hint says what to do next.
func (e *UnsupportedError) Hint() string {
	if slices.Contains(supported, e.OS.Key()) {
		return "install Debian 13 on the server, or add Docker's own package repository to it, which has docker-compose-plugin, and run apt-get update; nothing was changed"
	}
	return "install Debian 13 on the server; nothing was changed on it"
}

// A DiskFullError is a file system with too little room.
type DiskFullError struct {
	Path string // mount point
	// What there is left: MiB, or files where NoInodes.
	Free     int64
	NoInodes bool
}

func (e *DiskFullError) Error() string {
	if e.NoInodes {
		return fmt.Sprintf("%s has room for %d more files, and %d are needed", e.Path, e.Free, minFreeInodes)
	}
	return fmt.Sprintf("%s has %d MiB free, and %d are needed", e.Path, e.Free, minFreeMiB)
}

// Hint says what to do next.
func (e *DiskFullError) Hint() string {
	if e.NoInodes {
		return "remove what makes so many files, then run again: du -x --inodes --max-depth=3 " + e.Path + " | sort -n | tail"
	}
	return "make room, then run again: du -xh --max-depth=2 " + e.Path + " | sort -h | tail"
}

// A ReadOnlyError is a server some of whose folders can't be written to.
type ReadOnlyError struct{ Paths []string }

func (e *ReadOnlyError) Error() string {
	return strings.Join(e.Paths, " and ") + " can't be written to: mounted read-only"
}

// Hint says what to do next.
func (e *ReadOnlyError) Hint() string {
	return "the kernel does that to a file system with errors: look at \"dmesg | grep -i remount\" and at the disk, then mount it read-write and run again"
}

// A MissingToolsError is a server without programs that are on every supported
// system.
type MissingToolsError struct{ Tools []string }

func (e *MissingToolsError) Error() string {
	return "the server lacks " + strings.Join(e.Tools, ", ")
}

// Hint says what to do next.
func (e *MissingToolsError) Hint() string {
	var packages []string
	for _, tool := range e.Tools {
		packages = append(packages, orElse(toolPackages[tool], "coreutils"))
	}
	return "bring them back, then run again: apt-get install --reinstall " + strings.Join(sorted(packages), " ")
}

// toolPackages are the packages of the programs that observe/system.sh looks
// for; of the others it is coreutils.
var toolPackages = map[string]string{
	"awk": "mawk", "sed": "sed", "grep": "grep", "tar": "tar", "gzip": "gzip", "flock": "util-linux", "unshare": "util-linux",
	"getent": "libc-bin", "dpkg-query": "dpkg", "apt-get": "apt", "systemctl": "systemd", "useradd": "passwd",
}

// A NoSSHPortError is a server that does not say where sshd listens. A firewall
// for a guessed port would lock everyone out.
type NoSSHPortError struct{ Fault string } // sshd's own words

func (e *NoSSHPortError) Error() string {
	text := "the port that sshd listens on can't be told"
	if e.Fault != "" {
		text += ": " + e.Fault
	}
	return text
}

// Hint says what to do next.
func (e *NoSSHPortError) Hint() string {
	return "make \"sshd -T\" print its settings on the server, as root, then run again; nothing was changed"
}

// ParseFacts reads the answers to the probes of [Probes]. The error is an
// *[UnsupportedError], *[MissingToolsError], *[ReadOnlyError], *[DiskFullError] or
// *[NoSSHPortError], or says which answer can't be read.
func ParseFacts(role string, outputs probe.Outputs) (Facts, error) {
	f := Facts{
		Role: role, Packages: map[string]string{}, Units: map[string]UnitFacts{}, Files: map[string]FileFacts{},
		Sysctls: map[string]string{}, Users: map[string]UserFacts{}, Groups: map[string][]string{}, Paths: map[string]PathFacts{}, Mounts: map[string]MountFacts{},
		FreeMiB: map[string]int64{}, FreeInodes: map[string]int64{},
	}
	// The system comes first: on a foreign one the other probes may well fail.
	for _, p := range parsers {
		out, ok := outputs[p.name]
		switch {
		case !ok && p.optional:
			continue
		case !ok:
			return f, fmt.Errorf("observe the server: it gave no answer to %s", p.name)
		case out.Exit != 0:
			return f, fmt.Errorf("observe the server: %s exited %d: %s", p.name, out.Exit, strings.TrimSpace(out.Stderr))
		}
		if err := p.parse(&f, out.Stdout); err != nil {
			return f, fmt.Errorf("observe the server: %s: %w", p.name, err)
		}
		if p.name == probeSystem {
			if err := f.refuse(); err != nil {
				return f, err
			}
		}
	}
	return f, nil
}

// RebootReason says why the server should be restarted; "" when it need not be.
func (f *Facts) RebootReason() string {
	var reasons []string
	if f.RebootRequired {
		reasons = append(reasons, orElse(strings.Join(f.RebootPackages, ", "), "an update asks for it"))
	}
	if f.Container == "" && f.NewestKernel != "" && f.NewestKernel != f.Kernel {
		reasons = append(reasons, fmt.Sprintf("kernel %s is installed, and %s runs", f.NewestKernel, f.Kernel))
	}
	return strings.Join(reasons, "; ")
}

// refuse returns why nothing can be done on this server.
func (f *Facts) refuse() error {
	if !slices.Contains(supported, f.OS.Key()) || f.OS.Key() == "debian 12" && f.Role == "production" && f.Compose == "" {
		return &UnsupportedError{OS: f.OS, Role: f.Role}
	}
	if len(f.Missing) > 0 {
		return &MissingToolsError{Tools: f.Missing}
	}
	if len(f.ReadOnly) > 0 {
		return &ReadOnlyError{Paths: f.ReadOnly}
	}
	for _, path := range slices.Sorted(maps.Keys(f.FreeMiB)) {
		if free := f.FreeMiB[path]; free < minFreeMiB {
			return &DiskFullError{Path: path, Free: free}
		}
	}
	for _, path := range slices.Sorted(maps.Keys(f.FreeInodes)) {
		if free := f.FreeInodes[path]; free < minFreeInodes {
			return &DiskFullError{Path: path, Free: free, NoInodes: true}
		}
	}
	if len(f.SSHPorts) == 0 {
		return &NoSSHPortError{Fault: f.SSHFault}
	}
	return nil
}

func (f *Facts) parseSystem(text string) error {
	var reverted []string
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if !ok {
			return fmt.Errorf("unreadable line %q", line)
		}
		switch name {
		case "os.ID":
			f.OS.ID = unquote(value)
		case "os.VERSION_ID":
			f.OS.Version = unquote(value)
		case "os.PRETTY_NAME":
			f.OS.Name = unquote(value)
		case "hostname":
			f.Hostname = value
		case "kernel":
			f.Kernel = value
		case "architecture":
			f.Architecture = value
		case "container":
			if value != "none" {
				f.Container = value
			}
		case "boot":
			f.Started = value + f.Started
		case "init":
			f.Started += "+" + value
		case "newest-kernel":
			f.NewestKernel = value
		case "time":
			seconds, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return fmt.Errorf("the clock shows %q", value)
			}
			f.ClockOff = time.Since(time.Unix(seconds, 0)).Round(time.Second)
		case "reboot":
			f.RebootRequired, f.RebootPackages = true, sorted(strings.Fields(value))
		case "ssh-port":
			port, err := strconv.ParseUint(value, 10, 16)
			if err != nil || port == 0 {
				return fmt.Errorf("sshd listens on port %q", value)
			}
			f.SSHPorts = append(f.SSHPorts, int(port))
		case "ssh-fault":
			f.SSHFault = value
		case "missing":
			f.Missing = append(f.Missing, value)
		case "read-only":
			f.ReadOnly = append(f.ReadOnly, value)
		case "compose":
			f.Compose = value
		case "lists-age":
			seconds, err := strconv.ParseInt(value, 10, 32)
			if err != nil {
				return fmt.Errorf("the package lists are %q seconds old", value)
			}
			age := time.Duration(seconds) * time.Second
			f.PackageLists = &age
		case "free":
			blocks, path, _ := strings.Cut(value, " ")
			n, err := strconv.ParseInt(blocks, 10, 64)
			if err != nil {
				return fmt.Errorf("%q blocks are free on %s", blocks, path)
			}
			f.FreeMiB[path] = n >> 10
		case "inodes":
			free, path, _ := strings.Cut(value, " ")
			n, err := strconv.ParseInt(free, 10, 64)
			if err != nil {
				return fmt.Errorf("%q files can be made on %s", free, path)
			}
			f.FreeInodes[path] = n
		case "guard-armed":
			f.Guard.Armed = true
		case "guard-reverted":
			reverted = append(reverted, value)
		case "pending":
			// It goes back into a script: nothing but our own words is taken.
			if !action.MatchString(value) {
				return fmt.Errorf("/var/lib/holdfast/pending holds %q; remove the file", value)
			}
			f.Pending = append(f.Pending, value)
		}
	}
	slices.Sort(f.SSHPorts)
	f.SSHPorts = slices.Compact(f.SSHPorts)
	if len(reverted) > 0 {
		f.Guard.Reverted = &Reverted{At: reverted[0], Files: reverted[1:]}
	}
	return nil
}

// unquote strips the quotes of a shell assignment in os-release(5).
func unquote(s string) string { return strings.Trim(s, `"'`) }

func (f *Facts) parsePackages(text string) error {
	for line := range strings.Lines(text) {
		name, status, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			return fmt.Errorf("unreadable line %q", line)
		}
		f.Packages[name] = status
	}
	return nil
}

func (f *Facts) parseUnits(text string) error {
	for block := range strings.SplitSeq(text, "\n\n") {
		values := map[string]string{}
		for line := range strings.Lines(block) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			values[name] = value
		}
		if id := values["Id"]; id != "" {
			f.Units[id] = UnitFacts{
				Load: values["LoadState"], Active: values["ActiveState"], File: values["UnitFileState"],
				Inapplicable: values["ConditionResult"] == "no" && values["ConditionTimestampMonotonic"] != "0",
			}
		}
	}
	return nil
}

func (f *Facts) parseSysctls(text string) error {
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		if !ok {
			return fmt.Errorf("unreadable line %q", line)
		}
		f.Sysctls[strings.ReplaceAll(key, "/", ".")] = strings.Join(strings.Fields(value), " ")
	}
	return nil
}

func (f *Facts) parseRuleset(text string) error {
	word, rest, _ := strings.Cut(text, "\n")
	switch word {
	case "same":
		f.Firewall.AsDeclared = true
	case "live":
		live, declared, _ := strings.Cut("\n"+rest, "\ndeclared\n")
		f.Firewall.Live, f.Firewall.Declared = strings.TrimSpace(live), strings.TrimSpace(declared)
	case "": // nft is not installed
	default:
		return fmt.Errorf("unreadable answer %q", word)
	}
	return nil
}
