package collect

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"holdfast/verify"
)

func readUnits(a answers, s *verify.Server) error {
	text, err := a.ok("units")
	if err != nil {
		return err
	}
	s.Units, err = parseUnits(text)
	return err
}

// parseUnits reads "systemctl list-units --plain": unit, load state, active
// state, sub-state and description a line.
func parseUnits(text string) (*verify.Units, error) {
	units := &verify.Units{Active: []string{}, Failed: []string{}}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) < 4 {
			return nil, fmt.Errorf("unreadable unit %q", line)
		}
		switch fields[2] {
		case "active":
			units.Active = append(units.Active, fields[0])
		case "failed":
			units.Failed = append(units.Failed, fields[0])
		default:
			return nil, fmt.Errorf("unreadable unit %q", line)
		}
	}
	if len(units.Active) == 0 {
		return nil, errors.New("systemd names no active unit")
	}
	return units, nil
}

// timeServices are the units that keep a clock right.
var timeServices = []string{"chrony.service", "chronyd.service", "ntp.service", "ntpsec.service", "openntpd.service", "systemd-timesyncd.service"}

func readTime(a answers, s *verify.Server) error {
	synchronized, err := a.ok("time")
	if err != nil {
		return err
	}
	units, err := a.ok("units")
	if err != nil {
		return err
	}
	known, err := parseUnits(units)
	if err != nil {
		return err
	}
	services := []string{}
	for _, unit := range known.Active {
		if slices.Contains(timeServices, unit) {
			services = append(services, unit)
		}
	}
	if synchronized = strings.TrimSpace(synchronized); synchronized != "yes" && synchronized != "no" {
		return fmt.Errorf("timedatectl says %q where yes or no was asked for", synchronized)
	}
	s.Time = &verify.Time{Synchronized: synchronized == "yes", Services: services}
	return nil
}

func readJournald(a answers, s *verify.Server) error {
	text, err := a.ok("journald")
	if err != nil {
		return err
	}
	values := assignments(text)
	s.Journald = &verify.Journald{
		Storage: cmp.Or(values["Storage"], "auto"), SystemMaxUse: values["SystemMaxUse"],
		Compress: cmp.Or(values["Compress"], "yes"), Persistent: values["Persistent"] == "yes",
	}
	return nil
}

func readAppArmor(a answers, s *verify.Server) error {
	text, err := a.ok("apparmor")
	if err != nil {
		return err
	}
	enabled, profiles, _ := strings.Cut(text, "\n")
	if enabled = strings.TrimSpace(enabled); enabled != "Y" && enabled != "N" {
		return fmt.Errorf("the kernel says %q where Y or N was asked for", enabled)
	}
	s.AppArmor = &verify.AppArmor{Enabled: strings.TrimSpace(enabled) == "Y", Complain: []string{}}
	for line := range strings.Lines(profiles) {
		line = strings.TrimSpace(line)
		switch name, isComplain := strings.CutSuffix(line, " (complain)"); {
		case isComplain:
			s.AppArmor.Complain = append(s.AppArmor.Complain, name)
		case strings.HasSuffix(line, " (enforce)"):
			s.AppArmor.Enforce++
		}
	}
	return nil
}

func readAuditd(a answers, s *verify.Server) error {
	text, err := a.ok("auditd")
	if err != nil {
		return err
	}
	s.Auditd, err = parseAuditd(text)
	return err
}

// parseAuditd reads the auditd probe: stored rules, and of a running daemon the
// kernel's state ("auditctl -s") and rules ("auditctl -l").
func parseAuditd(text string) (*verify.Auditd, error) {
	auditd := &verify.Auditd{Rules: []string{}, Loaded: []string{}}
	asked := map[string]bool{}
	for line := range strings.Lines(text) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "rule":
			auditd.Rules = append(auditd.Rules, rest)
		case "loaded":
			if rest != "No rules" {
				auditd.Loaded = append(auditd.Loaded, rest)
			}
		case "active":
			auditd.Active = true
		case "enabled", "lost":
			n, err := strconv.Atoi(rest)
			if err != nil {
				return nil, fmt.Errorf("unreadable audit state %q", line)
			}
			if asked[word] = true; word == "enabled" {
				auditd.Enabled = n
			} else {
				auditd.Lost = n
			}
		default:
			return nil, fmt.Errorf("unreadable audit line %q", line)
		}
	}
	if auditd.Active && !(asked["enabled"] && asked["lost"]) {
		return nil, errors.New("auditd runs, and the kernel does not say how it audits")
	}
	return auditd, nil
}

func readCoreDumps(a answers, s *verify.Server) error {
	text, err := a.ok("coredumps")
	if err != nil {
		return err
	}
	s.CoreDumps, err = parseCoreDumps(text)
	return err
}

// parseCoreDumps reads the coredumps probe: lines of limits.conf(5), the core
// pattern, and coredump.conf(5)'s Storage, of each the last one counts.
func parseCoreDumps(text string) (*verify.CoreDumps, error) {
	dumps := &verify.CoreDumps{}
	for line := range strings.Lines(text) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		fields := strings.Fields(rest)
		switch {
		case word == "pattern":
			dumps.Pattern = rest
		case word == "service":
			dumps.ServiceLimit = rest
		case word == "coredump":
			_, dumps.Storage, _ = strings.Cut(rest, "=")
		case word == "limit" && len(fields) >= 4 && fields[0] == "*" && (fields[1] == "hard" || fields[1] == "-") && fields[2] == "core":
			dumps.HardLimitZero = fields[3] == "0"
		}
	}
	if dumps.ServiceLimit == "" {
		return nil, errors.New("systemd does not say what limit services have")
	}
	return dumps, nil
}

func readReboot(a answers, s *verify.Server) error {
	text, err := a.ok("reboot")
	if err != nil {
		return err
	}
	lines := strings.Fields(text)
	s.Reboot = &verify.Reboot{Required: len(lines) > 0, Packages: []string{}}
	if len(lines) > 1 {
		s.Reboot.Packages = lines[1:]
	}
	return nil
}

func readDisks(a answers, s *verify.Server) error {
	text, err := a.ok("disks")
	if err != nil {
		return err
	}
	s.Disks, err = parseDisks(text)
	return err
}

// parseDisks reads "df --output=fstype,avail,pcent,ipcent,target". Overlay
// mounts other than the root are containers' views of a disk already listed.
func parseDisks(text string) (*verify.Disks, error) {
	disks := &verify.Disks{Mounts: []verify.Mount{}}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] == "Type" {
			continue
		}
		if len(fields) < 5 {
			return nil, fmt.Errorf("unreadable df line %q", line)
		}
		target := strings.Join(fields[4:], " ")
		if fields[0] == "overlay" && target != "/" {
			continue
		}
		free, err := strconv.Atoi(fields[1])
		if err != nil {
			return nil, fmt.Errorf("unreadable df line %q", line)
		}
		used, err := percent(fields[2])
		if err != nil {
			return nil, err
		}
		inodes, err := percent(fields[3])
		if err != nil {
			return nil, err
		}
		disks.Mounts = append(disks.Mounts, verify.Mount{
			Path: target, FileSystem: fields[0], FreeMiB: free, UsedPct: used, InodesPct: inodes,
		})
	}
	if len(disks.Mounts) == 0 {
		return nil, errors.New("df lists no file system")
	}
	return disks, nil
}

// percent reads "42%"; df prints "-" where a file system does not count.
func percent(text string) (int, error) {
	if text == "-" {
		return 0, nil
	}
	n, err := strconv.Atoi(strings.TrimSuffix(text, "%"))
	if err != nil || n < 0 {
		return 0, fmt.Errorf("unreadable share %q of a file system", text)
	}
	return n, nil
}

func readRelease(a answers, s *verify.Server) error {
	text, err := a.ok("release")
	if err != nil {
		return err
	}
	s.Release, err = parseRelease(text)
	return err
}

// parseRelease reads the release probe. Paths are relative to the release.
func parseRelease(text string) (*verify.Release, error) {
	release := &verify.Release{Secrets: []verify.File{}, Open: []verify.File{}, PublishedSecrets: []string{}}
	for line := range strings.Lines(text) {
		word, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch word {
		case "current":
			release.Current = rest
		case "published":
			release.PublishedSecrets = append(release.PublishedSecrets, within(rest))
		case "secret", "open":
			files, err := parseFiles(rest)
			if err != nil {
				return nil, err
			}
			if len(files) != 1 {
				return nil, fmt.Errorf("unreadable release line %q", line)
			}
			files[0].Path = within(files[0].Path)
			if word == "secret" {
				release.Secrets = append(release.Secrets, files[0])
			} else {
				release.Open = append(release.Open, files[0])
			}
		default:
			return nil, fmt.Errorf("unreadable release line %q", line)
		}
	}
	return release, nil
}

// within strips the link from a path that find printed.
func within(p string) string { return strings.TrimPrefix(path.Clean(p), "current/") }

// publishedSecrets are values printed in upstream examples and sources
// (supabase/docker .env.example and compose files, Trigger.dev's
// hosting/docker and env.server.ts). Whoever runs with one has no secret.
func publishedSecrets() []string {
	values := []string{
		"your-super-secret-and-long-postgres-password",
		"super-secret-jwt-token-with-at-least-32-characters-long",
		"this_password_is_insecure_and_should_be_updated",
		"UpNVntn3cDxHJpq99YMc1T1AQgQpc8kf",
		"your-32-character-encryption-key",
		"your-encryption-key-32-chars-min",
		"your-super-secret-and-long-logflare-key",
		"625729a08b95bf1b7ff351a663f3a23c",
		"850181e4652dd023b7a98c58ae0d2d34bd487ee0cc3254aed6eda37307425907",
		"secret1234", "supabaserealtime", "SAMPLE_KEY", "your-tenant-id", "fake_mail_password",
		"2818143646516f6fffd707b36f334bbb", "44da78b7bbb0dfe709cf38931d25dcdd",
		"f686147ab967943ebbe9ed3b496e465a", "447c29678f9eaf289e9c4b70d3dd8a7f",
		"very-secure-indeed", "very-safe-password",
	}
	// API keys of the upstream demo are JWTs whose issuer says so; inside the
	// base64 of the payload it has one of three forms, by its alignment.
	const issuer = `"supabase-demo"`
	for shift := range 3 {
		encoded := base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + issuer))
		values = append(values, encoded[(shift*8+5)/6:len(encoded)-2])
	}
	return values
}
