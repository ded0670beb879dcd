package collect

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"holdfast/verify"
)

// watchedMounts are the folders whose mount options are observed: those that
// anyone may write to, and Docker's.
var watchedMounts = []string{"/tmp", "/var/tmp", "/dev/shm", "/var/lib/docker"}

func readMounts(a answers, s *verify.Server) error {
	text, err := a.ok("mounts")
	if err != nil {
		return err
	}
	s.Mounts, err = parseMounts(text)
	return err
}

// parseMounts reads the mounts probe: lines of proc_mounts(5), of which the
// last one of a folder lies on top, of fstab(5), and settings of mount units.
// What fstab says beats a unit's own file; see systemd-fstab-generator(8).
func parseMounts(text string) (*verify.Mounts, error) {
	points := map[string]verify.MountPoint{}
	units, table := map[string][]string{}, map[string][]string{}
	where, root := "", false
	for line := range strings.Lines(text) {
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		fields := strings.Fields(rest)
		switch {
		case kind == "now" && len(fields) >= 4:
			root = root || fields[1] == "/"
			if slices.Contains(watchedMounts, fields[1]) {
				points[fields[1]] = verify.MountPoint{
					Path: fields[1], Mounted: true, FileSystem: fields[2], Options: mountOptions(fields[3]), Boot: []string{},
				}
			}
		case kind == "now":
			return nil, fmt.Errorf("unreadable mount %q", line)
		case kind == "fstab" && len(fields) >= 4 && !strings.HasPrefix(rest, "#"):
			// Two lines for one folder are a mount and its remount: both count.
			table[fields[1]] = append(table[fields[1]], mountOptions(fields[3])...)
		case kind == "unit":
			name, value, _ := strings.Cut(rest, "=")
			if name == "Where" {
				where = value
			} else {
				units[where] = mountOptions(value)
			}
		}
	}
	if !root {
		return nil, errors.New("the kernel names no root file system")
	}
	for _, path := range watchedMounts {
		point, mounted := points[path]
		if !mounted {
			point = verify.MountPoint{Path: path, Options: []string{}, Boot: []string{}}
		}
		if options, ok := table[path]; ok {
			point.Boot = options
		} else if options, ok := units[path]; ok {
			point.Boot = options
		}
		if mounted || len(point.Boot) > 0 {
			points[path] = point
		}
	}
	return &verify.Mounts{Points: points}, nil
}

func mountOptions(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' })
}

func readMemory(a answers, s *verify.Server) error {
	text, err := a.ok("memory")
	if err != nil {
		return err
	}
	values := assignments(text) // KiB, as in proc_meminfo(5)
	total, err := strconv.Atoi(values["MemTotal"])
	if err != nil {
		return fmt.Errorf("unreadable size of the memory %q", values["MemTotal"])
	}
	swap, err := strconv.Atoi(values["SwapTotal"])
	if err != nil {
		return fmt.Errorf("unreadable size of the swap %q", values["SwapTotal"])
	}
	s.Memory = &verify.Memory{TotalMiB: total / 1024, SwapMiB: swap / 1024}
	return nil
}

func readIntegrity(a answers, s *verify.Server) error {
	text, err := a.ok("integrity")
	if err != nil {
		return err
	}
	list, err := a.ok("units")
	if err != nil {
		return err
	}
	units, err := parseUnits(list)
	if err != nil {
		return err
	}
	s.Integrity, err = parseIntegrity(text, units.Active)
	return err
}

// parseIntegrity reads the integrity probe, whose times are Unix's.
func parseIntegrity(text string, active []string) (*verify.Integrity, error) {
	integrity := &verify.Integrity{Timers: []string{}}
	times := map[string]int{}
	for line := range strings.Lines(text) {
		word, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "tool":
			integrity.Tool = value
		case "now", "looked", "installed":
			n, err := strconv.Atoi(value)
			if err != nil {
				return nil, fmt.Errorf("unreadable time %q", line)
			}
			times[word] = n
		default:
			return nil, fmt.Errorf("unreadable line %q", line)
		}
	}
	for _, unit := range active {
		if strings.HasSuffix(unit, ".timer") && (strings.Contains(unit, "aide") || strings.Contains(unit, "integrity")) {
			integrity.Timers = append(integrity.Timers, unit)
		}
	}
	if integrity.Tool == "" {
		return integrity, nil
	}
	last, ok := times["looked"]
	if !ok {
		last, ok = times["installed"]
	}
	if !ok || times["now"] == 0 {
		return nil, fmt.Errorf("%s does not say when it last looked, nor since when it is there", integrity.Tool)
	}
	integrity.AgeHours = max(0, (times["now"]-last)/3600)
	return integrity, nil
}
