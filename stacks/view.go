package stacks

import (
	"fmt"
	"net/mail"
	"regexp"
	"strings"

	"holdfast/internal/environment"
	"holdfast/internal/shell"
)

// view is what templates see: the environment, with what follows from it.
type view struct {
	Environment string
	Set         string // the catalog set
	Version     string // the stack's version, as npm and the stack call it
	Domains     environment.Domains
	Domain      string // of the dashboard
	API         string // https://…, also where browsers call the gateway
	App         string
	Jobs        string
	Mail        *mailView

	Supabase     bool
	Trigger      bool
	Schemas      []string
	SignUp       bool
	RedirectURLs []string
	Origins      []string // pages of these may call the API

	SignUpPattern string
	MaxDuration   int // seconds of CPU time an attempt of a task may take

	AppPort        int
	AppHealth      string
	AppEnvironment map[string]string
	AppSecrets     []string

	Sites       []string // the host names that are served
	Email       string
	TLSInternal bool
}

// mailView is the mail server, its sender taken apart.
type mailView struct {
	Host    string
	Port    int
	User    string
	Secret  string // the name of the password, or empty
	From    string
	Address string
	Name    string
}

func newView(c environment.Config, set Set) (view, error) {
	v := view{
		Environment: c.Environment, Set: set.Name, Version: set.Version,
		Domains: c.Domains, Domain: c.Domains.Jobs,
		API: "https://" + c.Domains.API, App: "https://" + c.Domains.App, Jobs: "https://" + c.Domains.Jobs,
		Supabase: c.Stacks.Supabase != nil, Trigger: c.Stacks.Trigger != nil,
		Origins:     []string{"https://" + c.Domains.App},
		MaxDuration: 300,
	}
	if s := c.Stacks.Supabase; s != nil {
		v.Schemas, v.SignUp, v.RedirectURLs = s.Schemas, s.SignUp, s.RedirectURLs
		if len(v.Schemas) == 0 {
			v.Schemas = []string{"public", "graphql_public"}
		}
		v.Origins = append(v.Origins, origins(s.RedirectURLs, v.App)...)
	}
	if t := c.Stacks.Trigger; t != nil {
		v.SignUpPattern = signUpPattern(t.SignUp)
	}
	if a := c.Stacks.App; a != nil {
		v.AppPort, v.AppSecrets = a.Port, a.Secrets
		if v.AppPort == 0 {
			v.AppPort = 3000
		}
		v.AppHealth = appHealth(v.AppPort, a.Health)
		v.AppEnvironment = map[string]string{
			"NODE_ENV": "production", "HOSTNAME": "0.0.0.0", "PORT": fmt.Sprint(v.AppPort), "NEXT_TELEMETRY_DISABLED": "1",
		}
		if v.Supabase {
			// The public address, inside as outside: supabase-js names its
			// cookies after the host, and both sides have to find them.
			v.AppEnvironment["SUPABASE_URL"] = v.API
		}
		for name, value := range a.Public {
			v.AppEnvironment[name] = value
		}
	}
	if e := c.Stacks.Edge; e != nil {
		v.Email, v.TLSInternal = e.Email, e.TLS == "internal"
	}
	for _, site := range []struct {
		name string
		runs bool
	}{{c.Domains.API, v.Supabase}, {c.Domains.App, c.Stacks.App != nil}, {c.Domains.Jobs, v.Trigger}} {
		if site.runs {
			v.Sites = append(v.Sites, site.name)
		}
	}
	if m := c.Mail; m != nil {
		var err error
		if v.Mail, err = newMailView(*m); err != nil {
			return view{}, err
		}
	}
	return v, nil
}

func newMailView(m environment.Mail) (*mailView, error) {
	from, err := mail.ParseAddress(m.From)
	if err != nil {
		return nil, fmt.Errorf("mail.from %q is not a mail address: %w", m.From, err)
	}
	v := &mailView{Host: m.Host, Port: m.Port, User: m.User, From: m.From, Address: from.Address, Name: from.Name}
	if v.Port == 0 {
		v.Port = 587
	}
	if v.Name == "" {
		v.Name = from.Address
	}
	if m.Password != "" {
		name, ok := environment.SecretName(m.Password)
		if !ok || placeholder.FindString("{"+name+"}") != "{"+name+"}" {
			return nil, fmt.Errorf("mail.password is not of the form secret:NAME")
		}
		v.Secret = name
	}
	return v, nil
}

// exactOrigin is the origin of an address without wildcards.
var exactOrigin = regexp.MustCompile(`^(https?://[A-Za-z0-9.-]+(?::[0-9]+)?)(?:/|$)`)

// origins returns the origins of the redirect addresses, each once. A pattern
// with a wildcard in its host gives none: as an allowed origin it would open the
// API to pages that nobody named. Neither does the scheme of a mobile app, which
// sends no Origin.
func origins(urls []string, known ...string) []string {
	seen := map[string]bool{}
	for _, o := range known {
		seen[o] = true
	}
	var found []string
	for _, url := range urls {
		m := exactOrigin.FindStringSubmatch(url)
		if m == nil || seen[strings.ToLower(m[1])] {
			continue
		}
		origin := strings.ToLower(m[1])
		seen[origin] = true
		found = append(found, origin)
	}
	return found
}

// signUpPattern is the regular expression of the addresses that may sign up.
// With an empty list it matches no address.
func signUpPattern(allowed []string) string {
	var alternatives []string
	for _, a := range allowed {
		pattern := regexp.QuoteMeta(strings.ToLower(a))
		if strings.HasPrefix(a, "@") {
			pattern = "[^@]+" + pattern
		}
		alternatives = append(alternatives, pattern)
	}
	if alternatives == nil {
		return "^$"
	}
	return "^(" + strings.Join(alternatives, "|") + ")$"
}

// appHealth is the shell line that asks the app for its health page, with
// whichever of three programs the app's image has.
func appHealth(port int, page string) string {
	if page == "" {
		page = "/"
	}
	url := fmt.Sprintf("http://127.0.0.1:%d%s", port, page)
	q := shell.Quote(url)
	script := "fetch(process.argv[1]).then(r => process.exit(r.ok ? 0 : 1), () => process.exit(1))"
	return "wget -q -O /dev/null " + q + " || curl -fsS -o /dev/null " + q + " || node -e " + shell.Quote(script) + " " + q
}
