package lab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A System is what a lab server runs. The user space is the real one, made from
// the distribution's own packages; the kernel is that of this machine.
type System string

// The systems there is a recipe for. Ubuntu's servers are as providers hand
// them out: ufw is on and lets SSH in, and a file of cloud-init's lets people
// in by password.
const (
	Debian13   System = "debian-13"
	Debian12   System = "debian-12"
	Ubuntu2404 System = "ubuntu-24.04"
	Ubuntu2204 System = "ubuntu-22.04"
)

// Systems are all of them; the first is the default.
var Systems = []System{Debian13, Debian12, Ubuntu2404, Ubuntu2204}

// suites are the distributions' own names of their releases.
var suites = map[System]string{Debian13: "trixie", Debian12: "bookworm", Ubuntu2404: "noble", Ubuntu2204: "jammy"}

// ErrMirror is what errors.Is finds when a system's packages are out of reach.
var ErrMirror = errors.New("the package mirror can't be reached")

func (s System) ubuntu() bool { return strings.HasPrefix(string(s), "ubuntu-") }

// complete fills in the default and refuses a system without a recipe.
func (s System) complete() (System, error) {
	if s == "" {
		return Systems[0], nil
	}
	if !slices.Contains(Systems, s) {
		return "", fmt.Errorf("%q is no system for a lab: there are %s", string(s), join(Systems))
	}
	return s, nil
}

func join(systems []System) string {
	var names []string
	for _, s := range systems {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}

// Reach reports whether the mirror with the packages of a system answers. The
// error is [ErrMirror] when it does not, within 10 seconds.
func Reach(ctx context.Context, system System) error {
	system, err := system.complete()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	url := machineMirrors(ctx).of(system) + "/dists/" + suites[system] + "/Release"
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMirror, err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMirror, err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: %s: %s", ErrMirror, url, answer.Status)
	}
	return nil
}
