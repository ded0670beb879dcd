package kong

import (
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
)

func TestStartStopsOnWhatKongWouldNotLoad(t *testing.T) {
	for name, c := range map[string]struct{ content, plugins, flavour, want string }{
		"empty file":             {"", "bundled", "expressions", "is empty"},
		"wrong version":          {`_format_version: "9"`, "bundled", "expressions", "_format_version"},
		"unknown key":            {"_format_version: '3.0'\nservces: []", "bundled", "expressions", "servces"},
		"plugin not enabled":     {"_format_version: '3.0'\nplugins: [{name: acl, config: {allow: [a]}}]", "cors", "expressions", "plugin 'acl' not enabled"},
		"unknown plugin":         {"_format_version: '3.0'\nplugins: [{name: magic}]", "bundled", "expressions", "not installed"},
		"unknown plugin field":   {"_format_version: '3.0'\nplugins: [{name: cors, config: {orgins: [a]}}]", "bundled", "expressions", "orgins"},
		"no limit":               {"_format_version: '3.0'\nplugins: [{name: rate-limiting}]", "bundled", "expressions", "at least one"},
		"shrinking limits":       {"_format_version: '3.0'\nplugins: [{name: rate-limiting, config: {minute: 9, hour: 8}}]", "bundled", "expressions", "cannot be lower"},
		"same plugin twice":      {"_format_version: '3.0'\nplugins: [{name: cors}, {name: cors}]", "bundled", "expressions", "twice"},
		"expression elsewhere":   {"_format_version: '3.0'\nservices: [{name: a, url: 'http://a', routes: [{expression: 'http.path == \"/\"'}]}]", "bundled", "traditional", "KONG_ROUTER_FLAVOR"},
		"broken expression":      {"_format_version: '3.0'\nservices: [{name: a, url: 'http://a', routes: [{expression: 'http.path == '}]}]", "bundled", "expressions", "needs a string"},
		"Lua beyond the subset":  {"_format_version: '3.0'\nplugins: [{name: request-transformer, config: {add: {headers: ['a: $(os.time())']}}}]", "bundled", "expressions", "does not understand"},
		"consumer without name":  {"_format_version: '3.0'\nconsumers: [{}]", "bundled", "expressions", "at least one"},
		"credential of nobody":   {"_format_version: '3.0'\nacls: [{consumer: x, group: y}]", "bundled", "expressions", "no such consumer"},
		"key of two consumers":   {"_format_version: '3.0'\nconsumers: [{username: a, keyauth_credentials: [{key: k}]}, {username: b, keyauth_credentials: [{key: k}]}]", "bundled", "expressions", "uniqueness"},
		"route without criteria": {"_format_version: '3.0'\nservices: [{name: a, url: 'http://a', routes: [{name: b}]}]", "bundled", "expressions", "must set one of"},
	} {
		t.Run(name, func(t *testing.T) {
			on, err := enabled(c.plugins)
			if err != nil {
				t.Fatal(err)
			}
			_, err = parse([]byte(c.content), settings{plugins: on, flavour: c.flavour})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q in it", err, c.want)
			}
		})
	}
	if _, err := enabled("cors,magic"); err == nil || err.Error() != "magic plugin is enabled but not installed" {
		t.Errorf("KONG_PLUGINS with an unknown name: %v", err)
	}
}

func TestNormalPathUndoesDisguises(t *testing.T) {
	for in, want := range map[string]string{
		"/":               "/",
		"/rest/v1":        "/rest/v1",
		"/rest/v1/":       "/rest/v1/",
		"/rest//v1///":    "/rest/v1/",
		"/rest/./v1/x/..": "/rest/v1/",
		"/%72est/v1/%2E":  "/rest/v1/",
		"/../../etc":      "/etc",
		"/a%2fb":          "/a%2Fb",
		"/a/b%20c":        "/a/b%20c",
	} {
		u, err := url.Parse("http://x" + in)
		if err != nil {
			t.Fatal(err)
		}
		if got := normalPath(u); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestExpressionsSelectRequests(t *testing.T) {
	r, err := http.NewRequest("GET", "http://api.example.com/rest/v1/x?v=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	for source, want := range map[string]bool{
		`http.path == "/rest/v1/x"`:                                  true,
		`http.path ^= "/rest/" && http.method == "POST"`:             false,
		`http.path ^= "/auth/" || (http.host == "api.example.com")`:  true,
		`!(http.path ~ r#"^/rest/v\d/"#)`:                            false,
		`http.queries.v == "1" && http.path contains "v1"`:           true,
		`http.path =^ "/x" && http.path != "/x"`:                     true,
		`http.headers.x_test == "" && net.protocol == "http"`:        true,
		`http.path == "/a" || http.path == "/b" && http.path ^= "/"`: false,
	} {
		e, err := compileExpression(source)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		if got := e(&asked{request: r, path: r.URL.Path}); got != want {
			t.Errorf("%s is %v", source, got)
		}
	}
}

func TestTemplatesEvaluateTheLuaThatKeysNeed(t *testing.T) {
	v := &variables{
		headers: func(n string) (string, bool) { s, ok := map[string]string{"apikey": "k"}[n]; return s, ok },
		query:   func(n string) (string, bool) { s, ok := map[string]string{"apikey": "q"}[n]; return s, ok },
	}
	for source, want := range map[string]string{
		"plain":                                       "plain",
		"a-$(headers.apikey)-b":                       "a-k-b",
		"$(headers['apikey'])":                        "k",
		"$(query_params.apikey)":                      "q",
		"$(headers.none)":                             "",
		"$(headers.none or 'x')":                      "x",
		"$('a' .. 'b')":                               "ab",
		"$('Bearer x':sub(1, 6))":                     "Bearer",
		"$('abc':sub(-2))":                            "bc",
		"$('aB':upper())":                             "AB",
		"$((headers.apikey == 'k' and 'yes') or nil)": "yes",
		"$((headers.apikey ~= 'k' and 'yes') or nil)": "",
		"$(not headers.none and 'n)n' or '')":         "n)n",
	} {
		tpl, err := compileTemplate(source)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		if got := tpl.render(v); got != want {
			t.Errorf("%s gives %q, want %q", source, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	content, err := os.ReadFile("testdata/kong.yml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content)
	f.Fuzz(func(t *testing.T, content []byte) {
		set, err := allPlugins()
		if err != nil {
			t.Fatal(err)
		}
		m, err := parse(content, set)
		if (m == nil) == (err == nil) {
			t.Errorf("model %v, error %v", m, err)
		}
	})
}

func FuzzExpressionAndTemplate(f *testing.F) {
	f.Add(`http.path == "/rest/v1/" && !(http.method == "GET")`, "x$((headers.a or 'b'):sub(1, 2))y")
	r, _ := http.NewRequest("GET", "http://x/", nil)
	f.Fuzz(func(_ *testing.T, e, tpl string) {
		if compiled, err := compileExpression(e); err == nil {
			compiled(&asked{request: r, path: "/"})
		}
		if compiled, err := compileTemplate(tpl); err == nil {
			compiled.render(&variables{
				headers: func(string) (string, bool) { return "v", true },
				query:   func(string) (string, bool) { return "", false },
			})
		}
	})
}
