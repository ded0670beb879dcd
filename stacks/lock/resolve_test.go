package lock

import (
	"bytes"
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// made is an image of random content for a platform.
func made(t testing.TB, platform string) v1.Image {
	t.Helper()
	image, err := random.Image(256, 1)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, _ = strings.Cut(platform, "/")
	image, err = mutate.ConfigFile(image, config)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// index is one of images for the platforms given, "os/arch" or "os/arch/variant",
// with provenance beside them as BuildKit writes it.
func index(t testing.TB, images map[string]v1.Image) v1.ImageIndex {
	t.Helper()
	list := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: made(t, "unknown/unknown"),
		Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"}}})
	for platform, image := range images {
		p, err := v1.ParsePlatform(platform)
		if err != nil {
			t.Fatal(err)
		}
		list = mutate.AppendManifests(list, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: p}})
	}
	return list
}

func push(t testing.TB, ref string, content remote.Taggable, options ...remote.Option) {
	t.Helper()
	tag, err := name.NewTag(ref)
	if err != nil {
		t.Fatal(err)
	}
	switch c := content.(type) {
	case v1.Image:
		err = remote.Write(tag, c, options...)
	case v1.ImageIndex:
		err = remote.WriteIndex(tag, c, options...)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func digestOf(t testing.TB, image v1.Image) string {
	t.Helper()
	d, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

// serve starts a registry in this process and returns its name.
func serve(t testing.TB, wrap func(http.Handler) http.Handler) string {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir()) // nobody's credentials
	server := httptest.NewServer(wrap(registry.New(registry.Logger(log.New(io.Discard, "", 0)))))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func plain(h http.Handler) http.Handler { return h }

func TestTheDigestIsThatOfThePlatformsManifest(t *testing.T) {
	host := serve(t, plain)
	amd, arm, v3, single := made(t, "linux/amd64"), made(t, "linux/arm64"), made(t, "linux/amd64"), made(t, "linux/amd64")
	push(t, host+"/many:1.0.0", index(t, map[string]v1.Image{"linux/amd64": amd, "linux/amd64/v3": v3, "linux/arm64/v8": arm}))
	push(t, host+"/single:1.0.0", single)
	var told []string
	got, err := Resolver{Platform: "linux/amd64", Progress: func(_, total int, ref string) { told = append(told, ref) }}.
		Resolve(t.Context(), []string{host + "/single:1.0.0", host + "/many:1.0.0"})
	if err != nil {
		t.Fatal(err)
	}
	if got[0].Digest != digestOf(t, single) || got[1].Digest != digestOf(t, amd) {
		t.Errorf("got %+v, want %s and %s", got, digestOf(t, single), digestOf(t, amd))
	}
	if got[1].Name != host+"/many" || got[1].Tag != "1.0.0" || got[1].Platform != "linux/amd64" || time.Since(got[1].Locked) > time.Minute {
		t.Errorf("got %+v", got[1])
	}
	if len(told) != 2 {
		t.Errorf("progress told of %v", told)
	}
	got, err = Resolver{Platform: "linux/arm64"}.Resolve(t.Context(), []string{host + "/many:1.0.0"})
	if err != nil || got[0].Digest != digestOf(t, arm) {
		t.Errorf("got %+v, %v, want %s", got, err, digestOf(t, arm))
	}
}

func TestAnotherPlatformIsRefused(t *testing.T) {
	host := serve(t, plain)
	push(t, host+"/many:1.0.0", index(t, map[string]v1.Image{"linux/arm64": made(t, "linux/arm64")}))
	push(t, host+"/single:1.0.0", made(t, "linux/arm64"))
	_, err := Resolver{Platform: "linux/amd64"}.Resolve(t.Context(), []string{host + "/many:1.0.0", host + "/single:1.0.0"})
	want := "resolve " + host + "/many:1.0.0, " + host + "/single:1.0.0: there is no image for linux/amd64; it is made for linux/arm64"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestABusyRegistryIsAskedAgain(t *testing.T) {
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		var refused atomic.Int32
		host := serve(t, func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/manifests/") && refused.Add(1) <= 2 {
					w.WriteHeader(status)
					return
				}
				h.ServeHTTP(w, r)
			})
		})
		image := made(t, "linux/amd64")
		push(t, host+"/web:1.0.0", image)
		got, err := Resolver{Platform: "linux/amd64"}.Resolve(t.Context(), []string{host + "/web:1.0.0"})
		if err != nil || got[0].Digest != digestOf(t, image) {
			t.Errorf("after two %d: %v, %v", status, got, err)
		}
	}
}

func TestARegistryThatDoesNotAnswerIsGivenUp(t *testing.T) {
	release := make(chan struct{})
	host := serve(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		})
	})
	defer close(release)
	started := time.Now()
	_, err := Resolver{Platform: "linux/amd64", Timeout: 300 * time.Millisecond}.Resolve(t.Context(), []string{host + "/a:1.0.0", host + "/b:1.0.0"})
	if err == nil || !strings.Contains(err.Error(), "did not answer within 300ms") {
		t.Errorf("got %v", err)
	}
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("giving up took %s", took)
	}
}

func TestCancellingIsNoFailureOfARegistry(t *testing.T) {
	host := serve(t, plain)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (Resolver{Platform: "linux/amd64"}).Resolve(ctx, []string{host + "/a:1.0.0"}); err != context.Canceled {
		t.Errorf("got %v", err)
	}
}

func TestOnlySoManyImagesAreAskedForAtATime(t *testing.T) {
	var now, most atomic.Int32
	image := made(t, "linux/amd64")
	host := serve(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/manifests/") {
				n := now.Add(1)
				defer now.Add(-1)
				for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
				}
				time.Sleep(30 * time.Millisecond)
			}
			h.ServeHTTP(w, r)
		})
	})
	var refs []string
	for _, letter := range "abcdefghijklmnopqrst" {
		refs = append(refs, host+"/"+string(letter)+":1.0.0")
		push(t, refs[len(refs)-1], image)
	}
	if _, err := (Resolver{Platform: "linux/amd64"}).Resolve(t.Context(), refs); err != nil {
		t.Fatal(err)
	}
	if n := most.Load(); n < 2 || n > parallel {
		t.Errorf("%d at a time, want more than one and at most %d", n, parallel)
	}
}

// The library would speak plain http to private addresses, with credentials.
func TestPlainHTTPIsForThisMachineAlone(t *testing.T) {
	for host, plain := range map[string]bool{"127.0.0.1": true, "[::1]": true, "localhost": true, "10.0.0.1": false, "192.168.1.1": false, "mirror.local": false} {
		var asked bool
		s := secure{transportFunc(func(*http.Request) (*http.Response, error) {
			asked = true
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(&bytes.Buffer{})}, nil
		})}
		request, err := http.NewRequest(http.MethodGet, "http://"+host+":5000/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.RoundTrip(request)
		if asked != plain || (err == nil) != plain {
			t.Errorf("http to %s: asked %v, error %v", host, asked, err)
		}
	}
}

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
