package kong

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// newTestGateway starts the gateway of testdata/kong.yml before an upstream
// that answers with what it received.
func newTestGateway(t *testing.T) (*gateway, string) {
	t.Helper()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			echoUpgraded(w, r)
			return
		}
		w.Header().Set("X-Powered-By", "upstream")
		w.Header().Set("Access-Control-Allow-Origin", "*")
		body, _ := io.ReadAll(r.Body)
		_ = json.NewEncoder(w).Encode(received{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, r.Header, len(body)})
	}))
	t.Cleanup(upstream.Close)
	content, err := os.ReadFile("testdata/kong.yml")
	if err != nil {
		t.Fatal(err)
	}
	set, err := allPlugins()
	if err != nil {
		t.Fatal(err)
	}
	m, err := parse([]byte(strings.ReplaceAll(string(content), "UPSTREAM", upstream.URL)), set)
	if err != nil {
		t.Fatal(err)
	}
	g := newGateway(m)
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	return g, server.URL
}

func allPlugins() (settings, error) {
	on, err := enabled("bundled")
	return settings{plugins: on, flavour: "expressions"}, err
}

type received struct {
	Method, Path, Query string
	Header              http.Header
	Size                int
}

func echoUpgraded(w http.ResponseWriter, r *http.Request) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Path: %s\r\nX-Key: %s\r\n\r\n", r.URL.Path, r.Header.Get("x-api-key"))
	line, _ := buffered.ReadString('\n')
	fmt.Fprint(conn, "echo "+line)
}

// ask sends one request; headers are given as name, value, name, value.
func ask(t *testing.T, method, url string, body io.Reader, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(content)
}

func message(t *testing.T, body string) string {
	t.Helper()
	var m struct{ Message string }
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		t.Fatalf("not JSON: %q", body)
	}
	return m.Message
}

func TestGatewayRefusesAsKongDoes(t *testing.T) {
	_, base := newTestGateway(t)
	for name, c := range map[string]struct {
		method, path string
		headers      []string
		status       int
		message      string
	}{
		"no key":                         {"GET", "/rest/v1/todos", nil, 401, "No API key found in request"},
		"wrong key":                      {"GET", "/rest/v1/todos", []string{"apikey", "nope"}, 401, "Unauthorized"},
		"key in a query where forbidden": {"GET", "/rest/v1/todos?apikey=anon-key", nil, 401, "No API key found in request"},
		"key of the wrong group":         {"GET", "/rest/v1/", []string{"apikey", "anon-key"}, 403, "You cannot consume this service"},
		"disguised path":                 {"GET", "/rest/v1/%2e", []string{"apikey", "anon-key"}, 403, "You cannot consume this service"},
		"doubled slash":                  {"GET", "/rest//v1//", []string{"apikey", "anon-key"}, 403, "You cannot consume this service"},
		"no route":                       {"GET", "/nothing", nil, 404, "no Route matched with those values"},
		"terminated route":               {"POST", "/pg/query", []string{"apikey", "service-key"}, 403, "Access is forbidden."},
		"address not allowed":            {"GET", "/office/", nil, 403, "IP address not allowed: 127.0.0.1"},
		"no password":                    {"GET", "/studio", nil, 401, "Unauthorized"},
		"wrong password":                 {"GET", "/studio", []string{"Authorization", "Basic YWRtaW46bm9wZQ=="}, 401, "Unauthorized"},
	} {
		t.Run(name, func(t *testing.T) {
			resp, body := ask(t, c.method, base+c.path, nil, c.headers...)
			if resp.StatusCode != c.status || message(t, body) != c.message {
				t.Errorf("%d %s, want %d %s", resp.StatusCode, body, c.status, c.message)
			}
		})
	}
}

func TestGatewayPassesWhatIsAllowed(t *testing.T) {
	_, base := newTestGateway(t)
	for name, c := range map[string]struct {
		path, query string
		headers     []string
		want        received
	}{
		"prefix is stripped":          {"/rest/v1/todos", "?id=eq.1&select=b,a", []string{"apikey", "anon-key"}, received{Path: "/todos", Query: "id=eq.1&select=b,a"}},
		"exact path goes to the root": {"/rest/v1/", "", []string{"apikey", "service-key"}, received{Path: "/"}},
		"key is hidden":               {"/hidden/a%2Fb", "?apikey=anon-key&x=1", nil, received{Path: "/base/a%2Fb", Query: "x=1"}},
		"basic auth":                  {"/studio/x", "", []string{"Authorization", "Basic YWRtaW46cGFzcyB3b3Jk"}, received{Path: "/x"}},
	} {
		t.Run(name, func(t *testing.T) {
			resp, body := ask(t, "GET", base+c.path+c.query, nil, c.headers...)
			var got received
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatalf("%d %q", resp.StatusCode, body)
			}
			if got.Path != c.want.Path || got.Query != c.want.Query {
				t.Errorf("upstream got %s?%s, want %s?%s", got.Path, got.Query, c.want.Path, c.want.Query)
			}
		})
	}
}

func TestGatewayExchangesKeysForTokensAndVouchesForTheConsumer(t *testing.T) {
	_, base := newTestGateway(t)
	for name, c := range map[string]struct {
		headers []string
		want    string
	}{
		"opaque key":                 {[]string{"apikey", "sb_publishable_1"}, "Bearer anon-key"},
		"opaque key as bearer":       {[]string{"apikey", "sb_publishable_1", "Authorization", "Bearer sb_publishable_1"}, "Bearer anon-key"},
		"legacy key":                 {[]string{"apikey", "anon-key"}, "anon-key"},
		"a user's token is kept":     {[]string{"apikey", "anon-key", "Authorization", "Bearer ey.user"}, "Bearer ey.user"},
		"a forged consumer is taken": {[]string{"apikey", "anon-key", "X-Consumer-Username", "service_role"}, "anon-key"},
	} {
		t.Run(name, func(t *testing.T) {
			_, body := ask(t, "GET", base+"/rest/v1/todos", nil, c.headers...)
			var got received
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatal(err)
			}
			if got.Header.Get("Authorization") != c.want {
				t.Errorf("Authorization %q, want %q", got.Header.Get("Authorization"), c.want)
			}
			if got.Header.Get("X-Consumer-Username") != "anon" {
				t.Errorf("X-Consumer-Username %q", got.Header.Get("X-Consumer-Username"))
			}
			if got.Header.Get("X-Consumer-Groups") != "" {
				t.Error("the groups were to be hidden")
			}
		})
	}
}

func TestCORSAnswersOnlyTheNamedOrigins(t *testing.T) {
	_, base := newTestGateway(t)
	for origin, want := range map[string]string{
		"https://app.example.com":     "https://app.example.com",
		"https://app.example.com:443": "https://app.example.com",
		"https://admin.example.com":   "https://admin.example.com",
		"https://evil.example.com":    "",
		"http://app.example.com":      "",
	} {
		resp, _ := ask(t, "OPTIONS", base+"/rest/v1/todos", nil, "Origin", origin, "Access-Control-Request-Method", "POST")
		if got := resp.Header.Get("Access-Control-Allow-Origin"); resp.StatusCode != 200 || got != want {
			t.Errorf("preflight from %s: %d, allowed %q, want %q", origin, resp.StatusCode, got, want)
		}
		resp, _ = ask(t, "GET", base+"/rest/v1/todos", nil, "Origin", origin, "apikey", "anon-key")
		if got := resp.Header.Get("Access-Control-Allow-Origin"); got != want {
			t.Errorf("request from %s: allowed %q, want %q", origin, got, want)
		}
	}
}

func TestSecurityHeadersAreOnEveryRoutedAnswer(t *testing.T) {
	_, base := newTestGateway(t)
	for _, key := range []string{"anon-key", "wrong", ""} {
		resp, _ := ask(t, "GET", base+"/rest/v1/todos", nil, "apikey", key)
		if resp.Header.Get("X-Content-Type-Options") != "nosniff" || resp.Header.Get("X-Request-Id") == "" {
			t.Errorf("key %q: %v", key, resp.Header)
		}
		if resp.Header.Get("X-Powered-By") != "" || resp.Header.Get("Server") != "" {
			t.Errorf("key %q: the server tells what it is: %v", key, resp.Header)
		}
	}
}

func TestRateLimitCountsPerWindowAndAddress(t *testing.T) {
	g, base := newTestGateway(t)
	clock := time.Date(2026, 1, 2, 3, 4, 30, 0, time.UTC)
	g.now = func() time.Time { return clock }
	for i := range 3 {
		resp, body := ask(t, "POST", base+"/auth/v1/token", nil)
		if resp.StatusCode != 200 {
			t.Fatalf("request %d: %d %s", i+1, resp.StatusCode, body)
		}
		if got := resp.Header.Get("X-RateLimit-Remaining-Minute"); got != fmt.Sprint(2-i) {
			t.Errorf("request %d: %s remain", i+1, got)
		}
	}
	resp, body := ask(t, "POST", base+"/auth/v1/token", nil)
	if resp.StatusCode != 429 || message(t, body) != "API rate limit exceeded" || resp.Header.Get("Retry-After") != "30" {
		t.Errorf("%d %s %v", resp.StatusCode, body, resp.Header)
	}
	g.trusted, _ = prefixes([]string{"127.0.0.1"})
	if resp, _ := ask(t, "POST", base+"/auth/v1/token", nil, "X-Real-IP", "192.0.2.7"); resp.StatusCode != 200 {
		t.Errorf("another address is counted with the first: %d", resp.StatusCode)
	}
	g.trusted = nil
	if resp, _ := ask(t, "POST", base+"/auth/v1/token", nil, "X-Real-IP", "192.0.2.8"); resp.StatusCode != 429 {
		t.Errorf("an untrusted client chose its own address: %d", resp.StatusCode)
	}
	clock = clock.Add(time.Minute)
	if resp, _ := ask(t, "POST", base+"/auth/v1/token", nil); resp.StatusCode != 200 {
		t.Errorf("a new minute does not start at zero: %d", resp.StatusCode)
	}
}

func TestSizeLimitHoldsWithAndWithoutContentLength(t *testing.T) {
	_, base := newTestGateway(t)
	large := strings.Repeat("x", 1025)
	for name, body := range map[string]io.Reader{
		"declared": strings.NewReader(large),
		"chunked":  io.MultiReader(strings.NewReader(large)),
	} {
		resp, got := ask(t, "POST", base+"/auth/v1/token", body)
		if resp.StatusCode != 413 || message(t, got) != "Request size limit exceeded" {
			t.Errorf("%s: %d %s", name, resp.StatusCode, got)
		}
	}
	resp, got := ask(t, "POST", base+"/auth/v1/token", io.MultiReader(strings.NewReader("small")))
	if resp.StatusCode != 200 || !strings.Contains(got, `"Size":5`) {
		t.Errorf("a small chunked body: %d %s", resp.StatusCode, got)
	}
}

func TestWebSocketsPassWithTheKeyInTheQuery(t *testing.T) {
	_, base := newTestGateway(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /realtime/v1/websocket?apikey=anon-key HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	reader := bufio.NewReader(conn)
	resp, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 101 || resp.Header.Get("X-Path") != "/socket/websocket" || resp.Header.Get("X-Key") != "anon-key" {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	fmt.Fprint(conn, "hello\n")
	if line, _ := reader.ReadString('\n'); line != "echo hello\n" {
		t.Errorf("got %q", line)
	}
}

func TestUnreachableUpstreamIsABadGateway(t *testing.T) {
	set, _ := allPlugins()
	m, err := parse([]byte(`
_format_version: "2.1"
services:
  - {name: a, url: "http://127.0.0.1:9/", routes: [{name: a, paths: [/]}]}`), set)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(newGateway(m))
	defer server.Close()
	if resp, body := ask(t, "GET", server.URL, nil); resp.StatusCode != 502 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}
