package collect

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"holdfast/verify"
)

func readPasswords(a answers, s *verify.Server) error {
	text, err := a.ok("passwords")
	if err != nil {
		return err
	}
	s.Passwords, err = parsePasswords(text)
	return err
}

// parsePasswords reads the passwords probe: lines of login.defs(5), of PAM's
// common stacks (pam.d(5)), and of faillock.conf(5).
func parsePasswords(text string) (*verify.Passwords, error) {
	defs, faillock := map[string]string{}, map[string]string{}
	var stacks []pamLine
	for line := range strings.Lines(text) {
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch kind {
		case "defs":
			if fields := strings.Fields(rest); len(fields) >= 2 {
				defs[fields[0]] = fields[1]
			}
		case "pam":
			if l, ok := parsePAM(rest); ok {
				stacks = append(stacks, l)
			}
		case "faillock":
			name, value, _ := strings.Cut(rest, "=")
			value, _, _ = strings.Cut(value, "#")
			faillock[strings.TrimSpace(name)] = strings.TrimSpace(value)
		default:
			return nil, fmt.Errorf("unreadable password policy %q", line)
		}
	}
	if len(stacks) == 0 {
		return nil, errors.New("PAM's common stacks name no module")
	}
	p := &verify.Passwords{Umask: mode(defs["UMASK"]), HomeMode: mode(defs["HOME_MODE"])}
	var err error
	// Without a line there is no limit; see login.defs(5).
	if p.MaxDays, err = days(defs, "PASS_MAX_DAYS", 99999); err != nil {
		return nil, err
	}
	if p.MinDays, err = days(defs, "PASS_MIN_DAYS", 0); err != nil {
		return nil, err
	}
	return p, describePAM(p, stacks, faillock)
}

func days(defs map[string]string, name string, absent int) (int, error) {
	value, ok := defs[name]
	if !ok {
		return absent, nil
	}
	n, err := strconv.Atoi(value)
	if err != nil {
		return 0, fmt.Errorf("login.defs: %s is %q, not a number of days", name, value)
	}
	if n < 0 { // as good as not set
		return absent, nil
	}
	return n, nil
}

// mode pads an octal mode or mask; the empty one stays empty.
func mode(text string) string {
	if text == "" {
		return ""
	}
	return octal(text)
}

// A pamLine is one line of a PAM stack.
type pamLine struct {
	stack, module string
	arguments     []string
}

// parsePAM reads "stack control module arguments"; the control may be a list in
// brackets.
func parsePAM(text string) (pamLine, bool) {
	fields := strings.Fields(text)
	for i, field := range fields {
		if i > 0 && strings.HasSuffix(field, ".so") {
			name := field[strings.LastIndexByte(field, '/')+1:]
			return pamLine{stack: fields[0], module: strings.TrimSuffix(name, ".so"), arguments: fields[i+1:]}, true
		}
	}
	return pamLine{}, false // such as an include
}

// pamHashes are the ways in which pam_unix(8) stores a password.
var pamHashes = []string{"yescrypt", "gost_yescrypt", "blowfish", "sha512", "sha256", "bigcrypt", "md5"}

// describePAM says what PAM does with passwords. Accounts are locked only where
// pam_faillock counts failures and also looks at the count, before the password
// or with the account; see pam_faillock(8).
func describePAM(p *verify.Passwords, stacks []pamLine, faillock map[string]string) error {
	counts, looks := false, false
	for _, l := range stacks {
		switch {
		case l.stack == "password" && (l.module == "pam_pwquality" || l.module == "pam_passwdqc" || l.module == "pam_cracklib"):
			p.Quality = l.module
		case l.stack == "password" && l.module == "pam_unix":
			for _, hash := range pamHashes {
				if slices.Contains(l.arguments, hash) {
					p.Hash = hash
				}
			}
		case l.module == "pam_faillock":
			counts = counts || l.stack == "auth" && slices.Contains(l.arguments, "authfail")
			looks = looks || l.stack == "account" || l.stack == "auth" && slices.Contains(l.arguments, "preauth")
			for _, argument := range l.arguments { // they beat the file
				if name, value, ok := strings.Cut(argument, "="); ok {
					faillock[name] = value
				}
			}
		}
	}
	if !counts || !looks {
		return nil
	}
	var err error
	if p.LockAfter, err = strconv.Atoi(cmp.Or(faillock["deny"], "3")); err != nil || p.LockAfter < 0 {
		return fmt.Errorf("faillock.conf: deny is %q, not a number", faillock["deny"])
	}
	if faillock["unlock_time"] == "never" {
		return nil
	}
	if p.LockSeconds, err = strconv.Atoi(cmp.Or(faillock["unlock_time"], "600")); err != nil || p.LockSeconds < 0 {
		return fmt.Errorf("faillock.conf: unlock_time is %q, not a number of seconds", faillock["unlock_time"])
	}
	return nil
}

func readShell(a answers, s *verify.Server) error {
	text, err := a.ok("shell")
	if err != nil {
		return err
	}
	s.Shell, err = parseShell(text)
	return err
}

// parseShell reads the shell probe's line: its name, the umask and TMOUT.
func parseShell(text string) (*verify.Shell, error) {
	fields := strings.Fields(text)
	if len(fields) != 3 || fields[0] != "holdfast-shell" {
		return nil, fmt.Errorf("unreadable answer of the login shell: %q", text)
	}
	if _, err := strconv.ParseUint(fields[1], 8, 16); err != nil {
		return nil, fmt.Errorf("the login shell's umask is %q", fields[1])
	}
	idle, err := strconv.Atoi(fields[2])
	if err != nil || idle < 0 {
		return nil, fmt.Errorf("the login shell's TMOUT is %q", fields[2])
	}
	return &verify.Shell{Umask: octal(fields[1]), Idle: idle}, nil
}

func readBanners(a answers, s *verify.Server) error {
	text, err := a.ok("banners")
	if err != nil {
		return err
	}
	s.Banners, err = parseBanners(text)
	return err
}

// parseBanners reads lines with their file in front: "/etc/issue:text".
func parseBanners(text string) (*verify.Banners, error) {
	banners := &verify.Banners{Files: map[string]string{}}
	for line := range strings.Lines(text) {
		file, rest, ok := strings.Cut(line, ":")
		if !ok || !strings.HasPrefix(file, "/etc/issue") {
			return nil, fmt.Errorf("unreadable banner line %q", line)
		}
		banners.Files[file] += rest
	}
	return banners, nil
}

func readBanning(a answers, s *verify.Server) error {
	text, err := a.ok("banning")
	if err != nil {
		return err
	}
	s.Banning, err = parseBanning([]byte(text))
	return err
}

// parseBanning reads the banning probe's JSON, which has the shape of the facts.
func parseBanning(data []byte) (*verify.Banning, error) {
	banning := &verify.Banning{}
	if err := json.Unmarshal(data, banning); err != nil {
		return nil, fmt.Errorf("read what fail2ban says: %w", err)
	}
	if banning.Jails == nil {
		return nil, errors.New("fail2ban does not say which jails it has")
	}
	return banning, nil
}
