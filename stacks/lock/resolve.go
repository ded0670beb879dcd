package lock

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"holdfast/internal/version"
)

// A Resolver asks registries what tags mean. Credentials are those of the Docker
// config, proxies those of the environment (HTTPS_PROXY, NO_PROXY).
type Resolver struct {
	Platform string        // of the servers, as in "linux/amd64"
	Mirror   string        // see Mirrored; "" for none
	Timeout  time.Duration // for one image with all its retries; default 1 min
	// Progress is told of each image as it is done, from one goroutine at a time.
	Progress func(done, total int, ref string)
}

// parallel is how many images are asked for at a time: enough to hide the round
// trips, few enough that no registry takes it for an attack.
const parallel = 6

// Resolve returns the digest of each reference, in the order given. Nothing is
// returned unless all are found; the error is a Failures with all that are not.
//
// A registry that says it is busy (429) or broken (5xx), or whose connection
// breaks, is asked again, four times in all, after 1, 2 and 4 seconds.
func (r Resolver) Resolve(ctx context.Context, refs []string) ([]Image, error) {
	puller, err := remote.NewPuller(
		remote.WithContext(ctx),
		remote.WithAuthFromKeychain(authn.DefaultKeychain),
		remote.WithTransport(secure{remote.DefaultTransport}),
		remote.WithUserAgent("holdfast/"+version.Version),
		remote.WithRetryBackoff(remote.Backoff{Duration: time.Second, Factor: 2, Jitter: 0.1, Steps: 4}),
		remote.WithRetryStatusCodes(http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
			http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout),
	)
	if err != nil {
		return nil, fmt.Errorf("read the Docker config: %w", err)
	}
	if r.Timeout == 0 {
		r.Timeout = time.Minute
	}
	var (
		images  = make([]Image, len(refs))
		causes  = make([]error, len(refs))
		slots   = make(chan struct{}, parallel)
		workers sync.WaitGroup
		telling sync.Mutex
		done    int
		now     = time.Now().UTC().Truncate(time.Second)
	)
	for i, ref := range refs {
		workers.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			name, tag := split(ref)
			images[i] = Image{Name: name, Tag: tag, Platform: r.Platform, Locked: now}
			images[i].Digest, causes[i] = r.resolve(ctx, puller, ref)
			telling.Lock()
			defer telling.Unlock()
			if done++; causes[i] == nil && r.Progress != nil {
				r.Progress(done, len(refs), ref)
			}
		})
	}
	workers.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if failures := gather(refs, causes); len(failures) > 0 {
		return nil, failures
	}
	return images, nil
}

func (r Resolver) resolve(ctx context.Context, puller *remote.Puller, ref string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	tag, err := name.NewTag(Mirrored(ref, r.Mirror))
	if err != nil {
		return "", err
	}
	digest, err := r.digest(ctx, puller, tag)
	if err != nil {
		return "", r.explain(ctx, puller, tag, err)
	}
	return digest, nil
}

// A platformError is an image that is not made for the servers.
type platformError struct {
	want string
	have []string
}

func (e *platformError) Error() string {
	return fmt.Sprintf("there is no image for %s; it is made for %s", e.want, strings.Join(e.have, ", "))
}

// digest returns the digest of the platform's manifest.
func (r Resolver) digest(ctx context.Context, puller *remote.Puller, tag name.Tag) (string, error) {
	descriptor, err := puller.Get(ctx, tag)
	if err != nil {
		return "", err
	}
	if descriptor.MediaType.IsImage() {
		image, err := descriptor.Image()
		if err != nil {
			return "", err
		}
		config, err := image.ConfigFile()
		if err != nil {
			return "", err
		}
		if is := platform(config.OS, config.Architecture); is != r.Platform {
			return "", &platformError{r.Platform, []string{is}}
		}
		return descriptor.Digest.String(), nil
	}
	if !descriptor.MediaType.IsIndex() {
		return "", fmt.Errorf("it is no image that Docker runs, but %q", descriptor.MediaType)
	}
	index, err := descriptor.ImageIndex()
	if err != nil {
		return "", err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return "", err
	}
	var found *v1.Descriptor
	wrong := &platformError{want: r.Platform}
	for _, child := range manifest.Manifests {
		// Signatures and provenance stand in an index as images of no platform.
		if !child.MediaType.IsImage() || child.Platform == nil || child.Platform.OS == "unknown" {
			continue
		}
		is := platform(child.Platform.OS, child.Platform.Architecture)
		if is != r.Platform {
			if !slices.Contains(wrong.have, is) {
				wrong.have = append(wrong.have, is)
			}
			continue
		}
		// Of several variants the plain one runs on every processor of the kind;
		// v8 is what plain means for arm64.
		plain := child.Platform.Variant == "" || child.Platform.Variant == "v8"
		if found == nil || plain {
			found = &child
		}
		if plain {
			break
		}
	}
	if found == nil {
		return "", wrong
	}
	// An index can name what a registry or a mirror does not hold.
	if _, err := puller.Head(ctx, tag.Context().Digest(found.Digest.String())); err != nil {
		return "", fmt.Errorf("its image for %s: %w", r.Platform, err)
	}
	return found.Digest.String(), nil
}

func platform(os, architecture string) string { return os + "/" + architecture }

// errPlain is a registry that would be spoken to without TLS.
var errPlain = errors.New("it speaks plain http, which is used with this machine's own registries only")

// secure refuses to send anything over plain http, but to this machine: the
// library falls back to it for private addresses, and a registry may name
// a plain address as the place where tokens are issued.
type secure struct{ http.RoundTripper }

func (s secure) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" && !loopback(r.URL.Hostname()) {
		return nil, errPlain
	}
	return s.RoundTripper.RoundTrip(r)
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
