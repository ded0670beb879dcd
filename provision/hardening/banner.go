package hardening

import (
	"strings"

	"holdfast/provision"
)

// banner is what is shown before a login.
func banner(on target) []provision.Resource {
	about := provision.About{Concern: "banner", Why: "nobody can say that they were not told, and nobody is told which system this is"}
	text := wrap(on.Hardening.Banner.Text, 72)
	return []provision.Resource{
		provision.File{About: about, Path: "/etc/issue", Content: text},
		provision.File{About: about, Path: "/etc/issue.net", Content: text},
	}
}

// wrap breaks text into lines of at most width bytes where it has blanks.
func wrap(text string, width int) string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return strings.Join(append(lines, line), "\n") + "\n"
}
