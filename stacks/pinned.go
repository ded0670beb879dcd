package stacks

import (
	"regexp"
	"slices"
	"strings"
)

// Fixed reports whether a reference names its content: by digest, or as
// holdfast.local/name:sha256-…. All others depend on what a registry answers.
func Fixed(ref string) bool {
	_, byContent := ContentID(ref)
	return byContent || strings.Contains(ref, "@sha256:")
}

// Floating returns the images of a release that have no digest, each once, in
// the order they are used. A server that pulls them must be given none such.
func (r *Release) Floating() []string {
	var refs []string
	for _, project := range r.Projects {
		for _, service := range project.Services {
			if !Fixed(service.Image) && !slices.Contains(refs, service.Image) {
				refs = append(refs, service.Image)
			}
		}
	}
	return refs
}

// unpinned says why a reference does not name one image for good, or "" when it
// does. A reference is pinned by
//
//   - a digest: name@sha256:…, with or without a tag,
//   - its content: holdfast.local/name:sha256-… (64 digits), or
//   - a tag that names one build: a full version, a date or a commit.
//
// A full version has three numbers ("2.11.4", "v1.74.0-alpine"); two are enough
// for the few programs whose releases have no more (see twoNumbers), and never
// otherwise: "caddy:2.11" is whatever 2.11 is today. A tag can still be moved by
// whoever owns it; a digest can't.
func unpinned(ref string) string {
	if name, digest, ok := strings.Cut(ref, "@"); ok {
		if name != "" && sha256Digest.MatchString(digest) {
			return ""
		}
		return "its digest is not sha256: and 64 hexadecimal digits"
	}
	if strings.HasPrefix(ref, contentRepository) {
		if _, ok := ContentID(ref); ok {
			return ""
		}
		return "an image of " + strings.TrimSuffix(contentRepository, "/") + " is named by its content: sha256- and 64 hexadecimal digits"
	}
	name := ref[strings.LastIndex(ref, "/")+1:]
	name, tag, ok := strings.Cut(name, ":")
	if !ok || tag == "" {
		return "it has no tag, which means latest"
	}
	switch {
	case fullVersion.MatchString(tag), date.MatchString(tag), commit.MatchString(tag):
		return ""
	case twoNumbers[name] && twoNumberVersion.MatchString(tag):
		return ""
	case shortVersion.MatchString(tag):
		return "its tag is part of a version, and moves with each release"
	}
	return "its tag names no version, date or commit, and moves with each build"
}

var (
	sha256Digest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	// Three or more numbers, where a word may begin: "17.6.1.136", "v3.9.3-ubuntu", "jdk-21.0.4".
	fullVersion = regexp.MustCompile(`(?:^|[-_])[a-zA-Z]*[0-9]+\.[0-9]+\.[0-9]+(?:[.+_-]|$)`)
	// One or two numbers in front: "7", "v3.4", "2.11-alpine".
	shortVersion = regexp.MustCompile(`^v?[0-9]+(?:\.[0-9]+)?(?:[-_]|$)`)
	// Two numbers in front: "v14.17", "14.24-alpine".
	twoNumberVersion = regexp.MustCompile(`^v?[0-9]+\.[0-9]+(?:[-_]|$)`)
	// A day of this century: "2026.09.07-sha-7996410", "RELEASE.2026-08-04T00-00-00Z", "20260907".
	date = regexp.MustCompile(`(?:^|[^0-9])20[0-9]{2}[-.]?(?:0[1-9]|1[0-2])[-.]?(?:0[1-9]|[12][0-9]|3[01])(?:[^0-9]|$)`)
	// "sha-7996410", "git-1f37f2a9", or a whole commit ID.
	commit = regexp.MustCompile(`(?:^|[-_.])(?:(?:sha|git|commit|g)[-_.]?[0-9a-f]{7,40}|[0-9a-f]{40})(?:[-_.]|$)`)
)

// twoNumbers are the programs whose complete version has two numbers, by the
// last part of their image's name.
var twoNumbers = map[string]bool{
	"postgres":  true, // PostgreSQL since 10
	"postgrest": true, // PostgREST since 13
}
