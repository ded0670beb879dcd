package lock

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"holdfast/internal/nearest"
)

// A Failure is why images could not be resolved.
type Failure struct {
	Refs  []string // that failed for this reason, in the order asked for
	Cause error
}

// Failures is everything that went wrong, each reason once. holdfast.lock is
// never written beside one.
type Failures []Failure

func (f Failures) Error() string {
	var lines []string
	for _, one := range f {
		lines = append(lines, fmt.Sprintf("resolve %s: %v", Some(one.Refs), one.Cause))
	}
	return strings.Join(lines, "\n")
}

// Some lists references for people: the first few, and how many more there are.
func Some(refs []string) string {
	const few = 5
	if len(refs) <= few {
		return strings.Join(refs, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(refs[:few], ", "), len(refs)-few)
}

// Hint is the first failure's that has one.
func (f Failures) Hint() string {
	for _, one := range f {
		if e := (*answer)(nil); errors.As(one.Cause, &e) && e.hint != "" {
			return e.hint
		}
	}
	return ""
}

// gather puts those that failed for one reason together.
func gather(refs []string, causes []error) Failures {
	var failures Failures
	for i, cause := range causes {
		if cause == nil {
			continue
		}
		same := slices.IndexFunc(failures, func(f Failure) bool { return f.Cause.Error() == cause.Error() })
		if same >= 0 {
			failures[same].Refs = append(failures[same].Refs, refs[i])
		} else {
			failures = append(failures, Failure{[]string{refs[i]}, cause})
		}
	}
	return failures
}

// An answer is what a registry said, or did not, in words that help.
type answer struct {
	message, hint string
	cause         error
}

func (e *answer) Error() string { return e.message }
func (e *answer) Unwrap() error { return e.cause }

// explain says what a registry's refusal means. It asks the registry for its tags
// when it has none of that name.
func (r Resolver) explain(ctx context.Context, puller *remote.Puller, tag name.Tag, err error) error {
	host := registryName(tag.Registry)
	say := func(hint, message string, args ...any) error {
		return &answer{message: fmt.Sprintf(message, args...), hint: hint, cause: err}
	}
	var refused *transport.Error
	var wrong *platformError
	switch {
	case errors.Is(err, errPlain):
		return say("give it a certificate", "registry %s: %v", host, errPlain)
	case errors.As(err, &wrong):
		return say("choose a tag that is, or set servers.production.platform if the server is of that kind", "%v", wrong)
	case ctx.Err() != nil:
		return say("check the network and HTTPS_PROXY, and run it again", "registry %s did not answer within %s", host, r.Timeout)
	case !errors.As(err, &refused):
		return say("check the network and HTTPS_PROXY; `registry.mirror` names another place to ask", "registry %s can't be reached: %v", host, err)
	}
	switch code := refused.StatusCode; {
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		hint := "`docker login " + host + "`"
		if host == dockerHub {
			hint += "; Docker Hub says so of images that don't exist, too"
		}
		return say(hint, "registry %s refused the login, or wants one (%d)", host, code)
	case code == http.StatusNotFound:
		return say(near(ctx, puller, tag), "registry %s has no tag %q of %s", host, tag.TagStr(), tag.RepositoryStr())
	case code == http.StatusTooManyRequests:
		return say("log in for a higher limit with `docker login "+host+"`, set `registry.mirror`, or try again later", "registry %s allows no more requests for now (429), after four tries", host)
	case code >= 500:
		return say("try again later; `registry.mirror` names another place to ask", "registry %s is out of order (%d), after four tries", host, code)
	}
	return say("", "registry %s: %v", host, err)
}

const dockerHub = "docker.io"

// registryName is a registry as people write it.
func registryName(r name.Registry) string {
	if r.Name() == name.DefaultRegistry {
		return dockerHub
	}
	return r.Name()
}

// near names the tag that was probably meant, or those there are.
func near(ctx context.Context, puller *remote.Puller, tag name.Tag) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tags, err := puller.List(ctx, tag.Context())
	switch {
	case err != nil || len(tags) == 0:
		return "check the name: the registry lists no tags for it"
	case nearest.Word(tag.TagStr(), tags) != "":
		return fmt.Sprintf("did you mean %s?", nearest.Word(tag.TagStr(), tags))
	case len(tags) <= 5:
		return "it has the tags " + strings.Join(tags, ", ")
	}
	return fmt.Sprintf("none of its %d tags is near", len(tags))
}
