package client

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func server(t *testing.T) (address, port string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/private" && r.Header.Get("Authorization") != "Bearer key":
			w.WriteHeader(http.StatusForbidden)
		case r.URL.Path == "/down":
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = w.Write([]byte("body"))
	}))
	t.Cleanup(s.Close)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return "http://127.0.0.1:" + port, port
}

// Each health check here stands word for word in a Compose file, but for the
// address.
func TestHealthChecksSucceedOnlyWhenTheServiceAnswers(t *testing.T) {
	up, port := server(t)
	for name, c := range map[string]struct {
		run  func(context.Context, []string) error
		args []string
		ok   bool
	}{
		"curl with a header":    {curlTo, []string{"-sSfL", "--head", "-o", "/dev/null", "-H", "Authorization: Bearer key", up + "/private"}, true},
		"curl without it":       {curlTo, []string{"-sSfL", "--head", "-o", "/dev/null", up + "/private"}, false},
		"curl -f":               {curlTo, []string{"-f", up + "/down"}, false},
		"curl without -f":       {curlTo, []string{up + "/down"}, true},
		"curl to nobody":        {curlTo, []string{"-f", "http://127.0.0.1:1/"}, false},
		"curl, unknown option":  {curlTo, []string{"--retry", "3", up}, false},
		"node fetch":            {nodeTo, []string{"-e", "fetch('" + up + "/').then((r) => {if (r.status !== 200) throw new Error(r.status)})"}, true},
		"node http.get":         {nodeTo, []string{"-e", "http.get('" + up + "/', res => process.exit(res.statusCode === 200 ? 0 : 1)).on('error', () => process.exit(1))"}, true},
		"node of what is down":  {nodeTo, []string{"-e", "fetch('" + up + "/down')"}, false},
		"node without address":  {nodeTo, []string{"-e", "process.exit(0)"}, false},
		"node with a file":      {nodeTo, []string{"server.js"}, false},
		"bash opens a port":     {bashTo, []string{"-c", "</dev/tcp/127.0.0.1/" + port}, true},
		"bash echoes to a port": {bashTo, []string{"-c", "echo > /dev/tcp/127.0.0.1/" + port}, true},
		"bash on a closed port": {bashTo, []string{"-c", "</dev/tcp/127.0.0.1/1"}, false},
		"nc -z":                 {ncTo, []string{"-z", "127.0.0.1", port}, true},
		"nc -z on a closed one": {ncTo, []string{"-z", "127.0.0.1", "1"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := c.run(t.Context(), c.args); (err == nil) != c.ok {
				t.Errorf("error %v", err)
			}
		})
	}
}

func curlTo(ctx context.Context, args []string) error { return Curl(ctx, args, &bytes.Buffer{}) }
func nodeTo(ctx context.Context, args []string) error { return Node(ctx, args, nil) }
func bashTo(ctx context.Context, args []string) error { return Bash(ctx, args, nil) }
func ncTo(ctx context.Context, args []string) error   { return NC(ctx, args, nil) }

func TestCurlExitsAsCurlDoes(t *testing.T) {
	up, _ := server(t)
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{"-f", up + "/down"}, 22},
		{[]string{"http://127.0.0.1:1/"}, 7},
		{nil, 2},
	} {
		var exit *Exit
		if err := curlTo(t.Context(), c.args); !errors.As(err, &exit) || exit.Code != c.code {
			t.Errorf("%v: %v", c.args, err)
		}
	}
	var out bytes.Buffer
	if err := Curl(t.Context(), []string{"-s", strings.TrimPrefix(up, "http://")}, &out); err != nil || out.String() != "body" {
		t.Errorf("%q, %v", out.String(), err)
	}
}
