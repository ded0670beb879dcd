// Package version says which build of Holdfast this is.
package version

import "runtime/debug"

// Version is set by the release build through -ldflags; "dev" otherwise.
var Version = "dev"

// String returns the version and, when the build recorded it, the commit.
func String() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return Version + " (" + s.Value[:12] + ")"
		}
	}
	return Version
}
