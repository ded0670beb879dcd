package transport

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kevinburke/ssh_config"
)

// A hop is one SSH connection on the way to a server; the last one is the
// server itself.
type hop struct {
	name       string // "production", `bastion "jump" of production`
	bastion    bool
	host       string
	port       int
	user       string
	pin        string   // "SHA256:…" or ""
	required   string   // identity file that must exist, or ""
	identities []string // further identity files, in order; may be missing
	// certificates are files of their own, beside those that lie next to a key.
	certificates []string
	only         bool          // offer nothing but the identities (IdentitiesOnly)
	agent        string        // socket of the agent, "" for none
	alias        string        // name that host keys are looked up by (HostKeyAlias), "" for the address
	knownHosts   []string      // further files to look them up in
	timeout      time.Duration // 0: not said
}

// keyName is what known_hosts calls the hop, as "host:port"; an alias has no
// port (ssh_config(5)), which is to say 22.
func (h hop) keyName() string {
	if h.alias != "" {
		return net.JoinHostPort(h.alias, "22")
	}
	return h.addr()
}

func (h hop) addr() string { return net.JoinHostPort(h.host, strconv.Itoa(h.port)) }

func (h hop) String() string { return fmt.Sprintf("%s (%s@%s)", h.name, h.user, h.addr()) }

// maxHops bounds a chain of bastions, so that a bastion behind itself
// ("Host *" with a ProxyJump) is an error and not a loop.
const maxHops = 8

// route resolves target through ssh_config into the hops that lead to it.
func route(target Target, file string) ([]hop, error) {
	if target.Address == "" {
		return nil, errors.New("it has no address")
	}
	if target.Port < 0 || target.Port > 65535 {
		return nil, fmt.Errorf("port %d is not between 1 and 65535", target.Port)
	}
	config, err := loadConfig(file)
	if err != nil {
		return nil, err
	}
	hops, err := config.route(target.Address, target.User, target.Port, 0, true)
	if err != nil {
		return nil, err
	}
	for i := range hops {
		hops[i].bastion = true
		hops[i].name = fmt.Sprintf("bastion %q of %s", hops[i].name, target.Name)
	}
	last := &hops[len(hops)-1]
	last.bastion, last.name = false, target.Name
	last.required = expandHome(target.Identity)
	if last.pin, err = parsePin(target.HostKey); err != nil {
		return nil, err
	}
	return hops, nil
}

// sshConfig answers what ssh_config(5) says of a host.
//
// Honoured are Host, Match, Include and CanonicalizeHostname; HostName, User,
// Port, HostKeyAlias, ProxyJump; IdentityFile, CertificateFile, IdentitiesOnly
// and IdentityAgent; UserKnownHostsFile and GlobalKnownHostsFile, which are
// read after the target's files and never written; and ConnectTimeout where
// Options says nothing. What a Target says goes before all of it.
//
// ProxyCommand is refused by name. All else has no effect: what would make host
// keys less strict (StrictHostKeyChecking, VerifyHostKeyDNS, CheckHostIP),
// because that is Options' part; what is about terminals and forwarding; and
// ciphers, keepalives (ServerAliveInterval) and AddKeysToAgent, where there is
// one way here.
type sshConfig struct {
	parsed []*ssh_config.Config
	// client is the ssh program that is asked instead, for files beyond the
	// parser.
	client string
	file   string // for the client's -F; "" for the usual files
}

func loadConfig(file string) (*sshConfig, error) {
	config := &sshConfig{file: expandHome(file)}
	var files []string
	switch file {
	case "none":
		return config, nil
	case "":
		files = []string{expandHome("~/.ssh/config"), "/etc/ssh/ssh_config"}
	default:
		files = []string{config.file}
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) && file == "" {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the ssh configuration: %w", err)
		}
		data = bytes.TrimPrefix(data, []byte("\ufeff")) // editors of Windows
		parsed, err := ssh_config.DecodeBytes(data)
		conditional, includes := foreign(string(data), filepath.Dir(name))
		if err == nil && !conditional && !includes {
			config.parsed = append(config.parsed, parsed)
			continue
		}
		client, missing := exec.LookPath("ssh")
		switch {
		case missing == nil:
			config.client = client
		case err != nil:
			return nil, fmt.Errorf("read the ssh configuration %s: %w (with an OpenSSH client installed it would be asked instead)", name, err)
		case conditional:
			return nil, fmt.Errorf("read the ssh configuration %s: it has Match blocks or CanonicalizeHostname, which only an installed OpenSSH client can evaluate", name)
		default:
			config.parsed = append(config.parsed, parsed)
		}
	}
	return config, nil
}

// foreign reports what the parser is not trusted with: Match, whose conditions
// it does not all evaluate, CanonicalizeHostname, which makes it read all
// twice, and files included from folder, which may hold either.
func foreign(text, folder string) (conditional, includes bool) {
	for line := range strings.Lines(text) {
		words := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\r\n=\"", r) })
		if len(words) == 0 {
			continue
		}
		switch strings.ToLower(words[0]) {
		case "match":
			conditional = true
		case "canonicalizehostname":
			conditional = conditional || len(words) > 1 && !strings.EqualFold(words[1], "no")
		case "include":
			for _, pattern := range words[1:] {
				if pattern = expandHome(pattern); !filepath.IsAbs(pattern) {
					pattern = filepath.Join(folder, pattern)
				}
				found, err := filepath.Glob(pattern)
				includes = includes || err != nil || len(found) > 0
			}
		}
	}
	return conditional, includes
}

// settings are the values ssh_config has for one host, by lower-case keyword.
type settings map[string][]string

func (s settings) first(key string) string {
	if len(s[key]) == 0 {
		return ""
	}
	return s[key][0]
}

var keywords = []string{
	"hostname", "user", "port", "hostkeyalias", "proxyjump", "proxycommand",
	"identityfile", "certificatefile", "identitiesonly", "identityagent",
	"userknownhostsfile", "globalknownhostsfile", "connecttimeout",
}

// lookup returns what is said of alias; login and port are what is known
// without it, and may decide about a Match block.
func (c *sshConfig) lookup(alias, login string, port int) (settings, error) {
	if c.client != "" {
		return c.ask(alias, login, port)
	}
	s := settings{}
	for _, parsed := range c.parsed {
		for _, key := range keywords {
			values, err := parsed.GetAll(alias, key)
			if err != nil {
				return nil, fmt.Errorf("look up %q in the ssh configuration: %w", alias, err)
			}
			s[key] = append(s[key], values...)
		}
	}
	return s, nil
}

// ask lets the OpenSSH client evaluate its own configuration (ssh -G, ssh(1)).
func (c *sshConfig) ask(alias, login string, port int) (settings, error) {
	args := []string{"-G"}
	if login != "" {
		args = append(args, "-l", login)
	}
	if port != 0 {
		args = append(args, "-p", strconv.Itoa(port))
	}
	if c.file != "" {
		args = append(args, "-F", c.file)
	}
	var out, complaint bytes.Buffer
	cmd := exec.Command(c.client, append(args, "--", alias)...)
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("look up %q in the ssh configuration (ssh -G): %w: %s", alias, err, lastLines(complaint.String(), 2))
	}
	s := settings{}
	for line := range strings.Lines(out.String()) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if slices.Contains(keywords, key) {
			s[key] = append(s[key], value)
		}
	}
	// Without an IdentityFile ssh -G lists every default; those are ours to try
	// after the agent, as ssh itself does.
	if files := s["identityfile"]; len(files) >= 4 && files[0] == "~/.ssh/id_rsa" {
		delete(s, "identityfile")
	}
	for keyword, usual := range map[string]string{"userknownhostsfile": "/.ssh/known_hosts", "globalknownhostsfile": "/etc/ssh/ssh_known_hosts"} {
		if names := strings.Fields(s.first(keyword)); len(names) == 2 && strings.HasSuffix(names[0], usual) && names[1] == names[0]+"2" {
			delete(s, keyword) // the default
		}
	}
	return s, nil
}

// route returns the hops to alias. Only the first of several bastions is
// reached through its own ProxyJump, as ssh(1) does.
func (c *sshConfig) route(alias, login string, port, depth int, jumps bool) ([]hop, error) {
	if depth > maxHops {
		return nil, fmt.Errorf("the ssh configuration sends %q through more than %d bastions (ProxyJump); does one lie behind itself?", alias, maxHops)
	}
	s, err := c.lookup(alias, login, port)
	if err != nil {
		return nil, err
	}
	h := hop{name: alias, host: alias, port: port, user: login, agent: os.Getenv("SSH_AUTH_SOCK")}
	if name := s.first("hostname"); name != "" {
		h.host = name
		if c.client == "" { // which has replaced them already
			h.host = strings.NewReplacer("%%", "%", "%h", alias).Replace(name)
		}
	}
	h.host = strings.TrimSuffix(strings.TrimPrefix(h.host, "["), "]")
	if h.port == 0 {
		h.port = 22
		if value := s.first("port"); value != "" {
			if h.port, err = strconv.Atoi(value); err != nil || h.port < 1 || h.port > 65535 {
				return nil, fmt.Errorf("the ssh configuration has Port %q for %q", value, alias)
			}
		}
	}
	local := localUser()
	if h.user == "" {
		h.user = s.first("user")
	}
	if h.user == "" {
		h.user = local
	}
	h.alias = s.first("hostkeyalias")
	expand := func(path string) string {
		home, machine := expandHome("~/"), ""
		if name, err := os.Hostname(); err == nil {
			machine = name
		}
		short, _, _ := strings.Cut(machine, ".")
		path = strings.NewReplacer("%%", "%", "%d", strings.TrimSuffix(home, "/"), "%h", h.host, "%n", alias, "%k", cmp.Or(h.alias, alias),
			"%r", h.user, "%u", local, "%p", strconv.Itoa(h.port), "%l", machine, "%L", short, "%i", strconv.Itoa(os.Getuid())).Replace(path)
		return expandHome(variable.ReplaceAllStringFunc(path, os.ExpandEnv))
	}
	files := func(keyword string) (expanded []string) {
		for _, file := range s[keyword] {
			if file = expand(file); !strings.EqualFold(file, "none") && !slices.Contains(expanded, file) {
				expanded = append(expanded, file)
			}
		}
		return expanded
	}
	h.identities, h.certificates = files("identityfile"), files("certificatefile")
	for _, keyword := range []string{"userknownhostsfile", "globalknownhostsfile"} {
		// Of these the first line counts, which may name several files.
		s[keyword] = strings.Fields(s.first(keyword))
		h.knownHosts = append(h.knownHosts, files(keyword)...)
	}
	if value := s.first("connecttimeout"); value != "" {
		if seconds, err := strconv.Atoi(value); err == nil && seconds > 0 && seconds < 1<<20 {
			h.timeout = time.Duration(seconds) * time.Second
		}
	}
	h.only = strings.EqualFold(s.first("identitiesonly"), "yes")
	switch agent := s.first("identityagent"); {
	case strings.EqualFold(agent, "none"):
		h.agent = ""
	case agent != "" && agent != "SSH_AUTH_SOCK":
		h.agent = expand(agent)
	}
	if !jumps {
		return []hop{h}, nil
	}
	var hops []hop
	if jump := s.first("proxyjump"); jump != "" && !strings.EqualFold(jump, "none") {
		for i, spec := range strings.Split(jump, ",") {
			host, login, port, err := parseJump(spec)
			if err != nil {
				return nil, err
			}
			via, err := c.route(host, login, port, depth+1, i == 0)
			if err != nil {
				return nil, err
			}
			hops = append(hops, via...)
		}
	} else if command := s.first("proxycommand"); command != "" && !strings.EqualFold(command, "none") {
		return nil, fmt.Errorf("the ssh configuration has a ProxyCommand for %q, which is not supported; name the bastion with ProxyJump", alias)
	}
	return append(hops, h), nil
}

// parseJump takes [user@]host[:port] or ssh://[user@]host[:port] apart.
func parseJump(spec string) (host, login string, port int, err error) {
	rest := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(spec), "ssh://"), "/")
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		login, rest = rest[:at], rest[at+1:]
	}
	host = strings.TrimSuffix(strings.TrimPrefix(rest, "["), "]")
	if h, p, splitErr := net.SplitHostPort(rest); splitErr == nil {
		host = h
		if port, err = strconv.Atoi(p); err != nil || port < 1 || port > 65535 {
			return "", "", 0, fmt.Errorf("the ssh configuration has ProxyJump %q: bad port", spec)
		}
	}
	if host == "" {
		return "", "", 0, fmt.Errorf("the ssh configuration has ProxyJump %q: no host", spec)
	}
	return host, login, port, nil
}

// variable is what ssh_config replaces by the environment: not "$NAME".
var variable = regexp.MustCompile(`\$\{[^}]*\}`)

func localUser() string {
	u, err := user.Current()
	if err != nil {
		return os.Getenv("USER")
	}
	return u.Username[strings.LastIndexByte(u.Username, '\\')+1:] // DOMAIN\name on Windows
}

// expandHome replaces a leading "~/" by the user's home.
func expandHome(path string) string {
	rest, ok := strings.CutPrefix(path, "~/")
	if !ok {
		return path
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return path
	}
	return filepath.Join(home, rest)
}
