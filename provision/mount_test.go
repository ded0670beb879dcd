package provision

import (
	"strings"
	"testing"
)

func mountFacts(table, mounts string) Facts {
	f := Facts{Files: map[string]FileFacts{}, Mounts: map[string]MountFacts{}, FreeMiB: map[string]int64{"/": 9000}}
	if table != "" {
		f.Files[fstab] = FileFacts{Kind: "file", Content: []byte(table)}
	}
	if err := f.parseMounts(mounts); err != nil {
		panic(err)
	}
	return f
}

func TestAMountIsTightenedNowAndKeptForTheNextBoot(t *testing.T) {
	tmp := Mount{Where: "/tmp", What: "tmpfs", Type: "tmpfs", Options: []string{"nosuid", "nodev", "noexec"}}
	shm := Mount{Where: "/dev/shm", Options: []string{"nosuid", "nodev", "noexec"}}
	bound := Mount{Where: "/var/tmp", What: "/var/tmp", Type: "none", Options: []string{"nosuid", "bind"}}
	for _, c := range []struct {
		name          string
		mount         Mount
		table, mounts string
		summary       string // "": nothing to do
		script        []string
	}{
		{"nothing mounted: at the next boot", tmp, "", "", "mount /tmp with nosuid, nodev, noexec at the next boot",
			[]string{"fstab 2 /tmp 'tmpfs /tmp tmpfs nosuid,nodev,noexec,mode=1777 0 0'"}},
		{"waiting for the boot", tmp, "tmpfs /tmp tmpfs nosuid,nodev,noexec,mode=1777 0 0\n", "", "", nil},
		{"mounted loosely", tmp, "", "mount /tmp tmpfs tmpfs rw,nosuid,relatime\n", "mount /tmp nodev, noexec from now on, and keep that in /etc/fstab",
			[]string{"mount -o remount,bind,rw,nosuid,relatime,nodev,noexec /tmp"}},
		{"as declared", tmp, "# static\ntmpfs\t/tmp\ttmpfs\tnodev,nosuid,noexec,size=1G\t0 0\n", "mount /tmp tmpfs tmpfs rw,nosuid,nodev,noexec\n", "", nil},
		{"fstab says otherwise", tmp, "/dev/vdb1 /tmp ext4 defaults 0 2\n", "mount /tmp tmpfs tmpfs rw,nosuid,nodev,noexec\n", "keep that in /etc/fstab", nil},
		{"what is there anyway", shm, "", "mount /dev/shm tmpfs shm rw,nosuid,nodev\n", "mount /dev/shm noexec from now on, and keep that in /etc/fstab",
			[]string{"'shm /dev/shm tmpfs nosuid,nodev,noexec,mode=1777 0 0'"}},
		{"what is not there", shm, "", "", "", nil},
		{"bind", bound, "", "", "mount /var/tmp with nosuid at the next boot", []string{"'/var/tmp /var/tmp none nosuid,bind 0 0'"}},
		{"bind in force", bound, "/var/tmp /var/tmp none nosuid,bind 0 0\n", "mount /var/tmp ext4 /dev/vda1 rw,nosuid\n", "", nil},
		{"a comment is no line", tmp, "#tmpfs /tmp tmpfs nosuid,nodev,noexec 0 0\n", "mount /tmp tmpfs tmpfs rw,nosuid,nodev,noexec\n", "keep that in /etc/fstab", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			change, found := c.mount.Change(mountFacts(c.table, c.mounts))
			if found != (c.summary != "") || change.Summary != c.summary {
				t.Fatalf("%t, %q; want %q", found, change.Summary, c.summary)
			}
			for _, want := range c.script {
				if !strings.Contains(change.how.script, want) {
					t.Errorf("the script lacks %q:\n%s", want, change.how.script)
				}
			}
		})
	}
}

func TestSwapIsMadeOnlyWhereThereIsNoneAndRoomForIt(t *testing.T) {
	swap := Swap{About: About{OwnKernel: true}, Path: "/swapfile", MiB: 1024}
	c, found := swap.Change(mountFacts("", ""))
	if !found || !strings.Contains(c.how.script, "count=1024") || !strings.Contains(c.Diff, "+/swapfile none swap sw 0 0") {
		t.Errorf("%t %+v", found, c)
	}
	if _, found := swap.Change(mountFacts("", "swap /dev/zram0 524288\n")); found {
		t.Error("a server that has swap gets a second one")
	}
	full := mountFacts("", "")
	full.FreeMiB["/"] = 3000
	if _, found := swap.Change(full); found {
		t.Error("the swap file takes the last of the disk")
	}
	if notes := Diff([]Resource{swap}, full).Notes; len(notes) != 1 || !strings.Contains(notes[0], "no room for a file of 1024 MiB") {
		t.Errorf("the plan does not tell why there is no swap: %q", notes)
	}
	if notes := Diff([]Resource{swap}, mountFacts("", "")).Notes; len(notes) != 0 {
		t.Errorf("the plan has notes: %q", notes)
	}
	contained := mountFacts("", "")
	contained.Container = "docker"
	if _, found := swap.Change(contained); found {
		t.Error("a container gets swap")
	}
}
