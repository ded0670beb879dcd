package kong

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"gopkg.in/yaml.v3"
)

type rateLimit struct {
	Second            int       `yaml:"second"`
	Minute            int       `yaml:"minute"`
	Hour              int       `yaml:"hour"`
	Day               int       `yaml:"day"`
	Month             int       `yaml:"month"`
	Year              int       `yaml:"year"`
	LimitBy           string    `yaml:"limit_by"`
	HeaderName        string    `yaml:"header_name"`
	Path              string    `yaml:"path"`
	Policy            string    `yaml:"policy"`
	FaultTolerant     *bool     `yaml:"fault_tolerant"`
	HideClientHeaders bool      `yaml:"hide_client_headers"`
	ErrorCode         int       `yaml:"error_code"`
	ErrorMessage      string    `yaml:"error_message"`
	SyncRate          *float64  `yaml:"sync_rate"`
	Redis             yaml.Node `yaml:"redis"`

	windows []window
	mu      sync.Mutex
	counts  map[string]int
	swept   time.Time
}

type window struct {
	name   string
	length time.Duration
	limit  int
}

func buildRateLimit(n yaml.Node, _ *model) (any, error) {
	p := &rateLimit{
		LimitBy: "consumer", Policy: "local", ErrorCode: http.StatusTooManyRequests,
		ErrorMessage: "API rate limit exceeded", counts: map[string]int{},
	}
	if err := strict(n, p); err != nil {
		return nil, err
	}
	// Months and years are counted as 30 and 365 days here, not by the calendar.
	const day = 24 * time.Hour
	for _, w := range []window{
		{"Second", time.Second, p.Second}, {"Minute", time.Minute, p.Minute}, {"Hour", time.Hour, p.Hour},
		{"Day", day, p.Day}, {"Month", 30 * day, p.Month}, {"Year", 365 * day, p.Year},
	} {
		if w.limit < 0 {
			return nil, fmt.Errorf("config.%s: value must be greater than 0", w.name)
		}
		if w.limit > 0 {
			p.windows = append(p.windows, w)
		}
	}
	if len(p.windows) == 0 {
		return nil, errors.New("config: at least one of these fields must be non-empty: 'second', 'minute', 'hour', 'day', 'month', 'year'")
	}
	for i := 1; i < len(p.windows); i++ {
		if p.windows[i].limit < p.windows[i-1].limit {
			return nil, fmt.Errorf("config: the limit for %s (%d) cannot be lower than the limit for %s (%d)",
				p.windows[i].name, p.windows[i].limit, p.windows[i-1].name, p.windows[i-1].limit)
		}
	}
	if !slices.Contains([]string{"consumer", "credential", "ip", "service", "header", "path"}, p.LimitBy) {
		return nil, fmt.Errorf("config.limit_by: %q is none of consumer, credential, ip, service, header, path", p.LimitBy)
	}
	if p.LimitBy == "header" && p.HeaderName == "" {
		return nil, errors.New("config.header_name: required field missing")
	}
	switch p.Policy {
	case "local":
	case "redis":
		return nil, errors.New("config.policy: the stand-in counts in memory only (local)")
	default:
		return nil, fmt.Errorf("config.policy: %q can't be used without a database", p.Policy)
	}
	return p, nil
}

// Identifier says whose requests are counted together.
func (p *rateLimit) identifier(x *exchange) string {
	switch p.LimitBy {
	case "consumer", "credential":
		if x.consumer != nil {
			return x.consumer.id
		}
	case "service":
		if x.route.service != nil {
			return x.route.service.name
		}
	case "header":
		if v := x.in.Header.Get(p.HeaderName); v != "" {
			return v
		}
	case "path":
		if x.path == p.Path {
			return x.path
		}
	}
	return x.clientIP
}

func (p *rateLimit) access(x *exchange) *reply {
	id, now := p.identifier(x), x.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sweep(now)

	exceeded := false
	least, reset, limit := -1, time.Duration(0), 0
	header := http.Header{}
	for _, w := range p.windows {
		start := now.Truncate(w.length)
		used := p.counts[countKey(start, w, id)]
		remaining := max(0, w.limit-used)
		if used >= w.limit {
			exceeded = true
		}
		if shown := max(0, remaining-1); least < 0 || shown < least {
			least, limit, reset = shown, w.limit, start.Add(w.length).Sub(now)
		}
		header.Set("X-RateLimit-Limit-"+w.name, strconv.Itoa(w.limit))
		header.Set("X-RateLimit-Remaining-"+w.name, strconv.Itoa(max(0, remaining-1)))
	}
	seconds := strconv.Itoa(int((reset + time.Second - 1) / time.Second))
	header.Set("RateLimit-Limit", strconv.Itoa(limit))
	header.Set("RateLimit-Remaining", strconv.Itoa(least))
	header.Set("RateLimit-Reset", seconds)
	if p.HideClientHeaders {
		header = http.Header{}
	}
	if exceeded {
		if !p.HideClientHeaders {
			header.Set("Retry-After", seconds)
		}
		return &reply{status: p.ErrorCode, message: p.ErrorMessage, header: header}
	}
	for _, w := range p.windows {
		p.counts[countKey(now.Truncate(w.length), w, id)]++
	}
	for name, values := range header {
		x.response[name] = values
	}
	return nil
}

func countKey(start time.Time, w window, id string) string {
	return strconv.FormatInt(start.Unix(), 10) + w.name + "\x00" + id
}

// Sweep forgets old counts now and then, so that memory stays bounded.
func (p *rateLimit) sweep(now time.Time) {
	if len(p.counts) > 100_000 || now.Sub(p.swept) > time.Hour && p.windows[len(p.windows)-1].length < time.Hour {
		clear(p.counts)
		p.swept = now
	}
}

type sizeLimit struct {
	AllowedPayloadSize   int64  `yaml:"allowed_payload_size"`
	SizeUnit             string `yaml:"size_unit"`
	RequireContentLength bool   `yaml:"require_content_length"`

	bytes int64
}

func buildSizeLimit(n yaml.Node, _ *model) (any, error) {
	p := &sizeLimit{AllowedPayloadSize: 128, SizeUnit: "megabytes"}
	if err := strict(n, p); err != nil {
		return nil, err
	}
	unit, known := map[string]int64{"bytes": 1, "kilobytes": 1 << 10, "megabytes": 1 << 20}[p.SizeUnit]
	if !known {
		return nil, fmt.Errorf("config.size_unit: %q is none of megabytes, kilobytes, bytes", p.SizeUnit)
	}
	if p.AllowedPayloadSize < 1 {
		return nil, errors.New("config.allowed_payload_size: must be at least 1")
	}
	p.bytes = p.AllowedPayloadSize * unit
	return p, nil
}

func (p *sizeLimit) access(x *exchange) *reply {
	tooLarge := &reply{status: http.StatusRequestEntityTooLarge, message: "Request size limit exceeded"}
	switch {
	case x.in.ContentLength > p.bytes && x.in.Header.Get("Expect") == "100-continue":
		tooLarge.status = http.StatusExpectationFailed
		return tooLarge
	case x.in.ContentLength > p.bytes:
		return tooLarge
	case x.in.ContentLength >= 0:
		return nil
	case p.RequireContentLength:
		return &reply{status: http.StatusLengthRequired, message: "A valid Content-Length header is required"}
	}
	// Of unknown length: read as much as is allowed and one byte more.
	body, err := io.ReadAll(io.LimitReader(x.in.Body, p.bytes+1))
	if err != nil {
		return &reply{status: http.StatusBadRequest, message: "Bad request"}
	}
	if int64(len(body)) > p.bytes {
		return tooLarge
	}
	x.body = bytes.NewReader(body)
	return nil
}
