// Package client plays the small programs that containers' health checks call
// and that the lab's stand-in images do not have: curl, node, bash, nc,
// clickhouse-client, mc. Each understands what health checks ask of it, and
// fails on anything else instead of guessing.
package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// An Exit is an error with the exit code that the played program would have.
type Exit struct {
	Code int
	Err  error
}

func (e *Exit) Error() string { return e.Err.Error() }
func (e *Exit) Unwrap() error { return e.Err }

// Get fails unless a GET of address is answered with 200.
func Get(ctx context.Context, address string) error {
	response, err := send(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", address, response.Status)
	}
	return nil
}

func send(ctx context.Context, method, address string, header http.Header) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		request.Header[name] = values
	}
	c := http.Client{Timeout: 30 * time.Second}
	return c.Do(request)
}

// Curl knows -s, -S, -f, -L, -k, -I/--head, -o FILE, -H HEADER, -X METHOD, -m
// SECONDS and their long names, and one address.
func Curl(ctx context.Context, args []string, out io.Writer) error {
	c := curl{header: http.Header{}, method: http.MethodGet}
	if err := c.parse(args); err != nil {
		return &Exit{2, err}
	}
	response, err := send(ctx, c.method, c.address, c.header)
	if err != nil {
		return &Exit{7, fmt.Errorf("curl: (7) %w", err)}
	}
	defer response.Body.Close()
	if c.fail && response.StatusCode >= 400 {
		return &Exit{22, fmt.Errorf("curl: (22) The requested URL returned error: %d", response.StatusCode)}
	}
	if c.discard {
		out = io.Discard
	}
	if c.method == http.MethodHead {
		fmt.Fprintf(out, "HTTP/1.1 %s\r\n", response.Status)
		return response.Header.Write(out)
	}
	_, err = io.Copy(out, response.Body)
	return err
}

type curl struct {
	header        http.Header
	method        string
	address       string
	fail, discard bool
}

func (c *curl) parse(args []string) error {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		value := func() (string, error) {
			if len(args) == 0 {
				return "", fmt.Errorf("curl: option %s: requires parameter", arg)
			}
			v := args[0]
			args = args[1:]
			return v, nil
		}
		options := []string{arg}
		if len(arg) > 2 && arg[0] == '-' && arg[1] != '-' { // -sSfL
			options = nil
			for _, letter := range arg[1:] {
				options = append(options, "-"+string(letter))
			}
		}
		for _, option := range options {
			if err := c.option(option, value); err != nil {
				return err
			}
		}
	}
	if c.address == "" {
		return errors.New("curl: (2) no URL specified")
	}
	return nil
}

func (c *curl) option(option string, value func() (string, error)) error {
	switch option {
	case "-s", "--silent", "-S", "--show-error", "-L", "--location", "-k", "--insecure":
	case "-f", "--fail":
		c.fail = true
	case "-I", "--head":
		c.method = http.MethodHead
	case "-m", "--max-time", "--connect-timeout":
		_, err := value()
		return err
	case "-X", "--request":
		method, err := value()
		c.method = method
		return err
	case "-o", "--output":
		file, err := value()
		if err == nil && file != "/dev/null" {
			err = errors.New("the stand-in for curl writes to /dev/null only")
		}
		c.discard = true
		return err
	case "-H", "--header":
		header, err := value()
		name, content, _ := strings.Cut(header, ":")
		c.header.Set(strings.TrimSpace(name), strings.TrimSpace(content))
		return err
	default:
		if strings.HasPrefix(option, "-") {
			return fmt.Errorf("the stand-in for curl does not know %s", option)
		}
		if c.address = option; !strings.Contains(option, "://") {
			c.address = "http://" + option
		}
	}
	return nil
}

var address = regexp.MustCompile(`https?://[^'"` + "`" + `\s)]+`)

// Node runs no JavaScript. Of "node -e SCRIPT" it finds the address that the
// script asks, and succeeds when that answers 200.
func Node(ctx context.Context, args []string, _ io.Writer) error {
	i := slices.IndexFunc(args, func(a string) bool { return a == "-e" || a == "--eval" })
	if i < 0 || i+1 == len(args) {
		return errors.New("the stand-in for node knows -e SCRIPT with a health check only")
	}
	found := address.FindString(args[i+1])
	if found == "" {
		return errors.New("the stand-in for node finds no address in the script")
	}
	return Get(ctx, found)
}

var devTCP = regexp.MustCompile(`/dev/tcp/([^/\s'"]+)/([0-9]+)`)

// Bash opens the connections that a "-c" script names as /dev/tcp/HOST/PORT;
// any other script goes to busybox's shell.
func Bash(ctx context.Context, args []string, _ io.Writer) error {
	if i := slices.Index(args, "-c"); i >= 0 && i+1 < len(args) {
		if found := devTCP.FindAllStringSubmatch(args[i+1], -1); found != nil {
			for _, m := range found {
				if err := dial(ctx, net.JoinHostPort(m[1], m[2])); err != nil {
					return fmt.Errorf("bash: connect: %w", err)
				}
			}
			return nil
		}
	}
	return busybox("sh", args)
}

// NC knows "-z HOST PORT", which busybox's nc does not; all else is left to it.
func NC(ctx context.Context, args []string, _ io.Writer) error {
	if len(args) != 3 || args[0] != "-z" {
		return busybox("nc", args)
	}
	return dial(ctx, net.JoinHostPort(args[1], args[2]))
}

// Busybox becomes one of busybox's programs.
func busybox(applet string, args []string) error {
	err := syscall.Exec("/bin/busybox", append([]string{applet}, args...), os.Environ())
	return fmt.Errorf("run busybox: %w", err)
}

func dial(ctx context.Context, address string) error {
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// ClickHouse asks the server on --host, with the password of --password or
// CLICKHOUSE_PASSWORD, over HTTP: the stand-in has no native protocol.
func ClickHouse(ctx context.Context, args []string, out io.Writer) error {
	options := map[string]string{"host": "localhost", "port": "9000", "user": os.Getenv("CLICKHOUSE_USER"), "password": os.Getenv("CLICKHOUSE_PASSWORD")}
	for i := 0; i < len(args); i++ {
		name, value, joined := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		if long, short := map[string]string{"h": "host", "u": "user", "q": "query"}[name]; short {
			name = long
		}
		if !joined && i+1 < len(args) {
			i++
			value = args[i]
		}
		options[name] = value
	}
	if options["user"] == "" {
		options["user"] = "default"
	}
	if err := dial(ctx, net.JoinHostPort(options["host"], options["port"])); err != nil {
		return &Exit{210, err}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(options["host"], "8123")+"/", nil)
	if err != nil {
		return err
	}
	request.URL.RawQuery = "query=" + strings.ReplaceAll(options["query"], " ", "+")
	request.SetBasicAuth(options["user"], options["password"])
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return &Exit{210, err}
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return &Exit{194, fmt.Errorf("clickhouse answered %s", response.Status)}
	}
	_, err = io.Copy(out, response.Body)
	return err
}

// MC knows "mc ready ALIAS", of the store on this machine.
func MC(ctx context.Context, args []string, _ io.Writer) error {
	if len(args) != 2 || args[0] != "ready" {
		return fmt.Errorf("the stand-in for mc knows 'ready ALIAS', not %q", args)
	}
	return Get(ctx, "http://localhost:9000/minio/health/ready")
}
