package provision

import (
	"fmt"

	"holdfast/internal/shell"
)

// A Swap is a swap file on a server that has no swap at all, compressed memory
// included. There is none where the disk would be left with less than 2 GiB, of
// which a plan tells.
type Swap struct {
	About
	Path string // absolute, without blanks
	MiB  int
}

// minFreeBesideSwapMiB is what a swap file must leave free on /.
const minFreeBesideSwapMiB = 2048

// ID is "swap:" and the path.
func (s Swap) ID() string { return "swap:" + s.Path }

func (s Swap) observe(w *wanted) {
	w.mounts = append(w.mounts, "/") // swap is observed with what is mounted
	w.files = append(w.files, fstab)
}

// note tells of a server that has no swap and no room for it.
func (s Swap) note(facts Facts) string {
	if !s.appliesTo(facts) || facts.SwapMiB > 0 || s.fits(facts) {
		return ""
	}
	return fmt.Sprintf("the server has no swap, and no room for a file of %d MiB: / has %d MiB free, and %d must stay so",
		s.MiB, facts.FreeMiB["/"], minFreeBesideSwapMiB)
}

func (s Swap) fits(facts Facts) bool {
	return facts.FreeMiB["/"]-int64(s.MiB) >= minFreeBesideSwapMiB
}

// Change is there when the server has no swap.
func (s Swap) Change(facts Facts) (Change, bool) {
	if !s.appliesTo(facts) || facts.SwapMiB > 0 || !s.fits(facts) {
		return Change{}, false
	}
	c := s.About.change(s.ID())
	line := s.Path + " none swap sw 0 0"
	c.Summary = fmt.Sprintf("make a swap file of %d MiB", s.MiB)
	if old := fstabLine(facts, 1, s.Path); old != line {
		c.Diff = fstabDiff(old, line)
	}
	path := shell.Quote(s.Path)
	c.how.phase, c.how.keep, c.how.actions = phaseKernel, []string{fstab}, []string{"daemon-reload"}
	// Written in full: swapon(8) takes no file with holes, nor one that
	// fallocate made on some file systems; and none of btrfs that copies on write,
	// which only an empty file can be told not to.
	c.how.script = fmt.Sprintf("rm -f %[1]s\n(umask 077 && : >%[1]s)\nchattr +C %[1]s 2>/dev/null || :\n(umask 077 && try dd if=/dev/zero of=%[1]s bs=1M count=%[2]d)\ntry mkswap %[1]s\ntry swapon %[1]s\nfstab 1 %[1]s %[3]s\n", path, s.MiB, shell.Quote(line))
	return c, true
}
