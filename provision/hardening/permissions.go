package hardening

import (
	"io/fs"

	"holdfast/provision"
)

// permissions are those of files that packages bring. Updates keep them, but
// for grub.cfg, which each new kernel writes anew: a hook narrows it again.
func permissions(target) []provision.Resource {
	about := provision.About{Concern: "permissions", Why: "what only root needs only root can read"}
	all := []provision.Resource{provision.File{
		About: about, Path: "/etc/kernel/postinst.d/zzz-holdfast", Content: template("kernel-hook"), Mode: 0o755}}
	for _, p := range []struct {
		path         string
		mode         fs.FileMode
		owner, group string
	}{
		{"/boot/grub/grub.cfg", 0o600, "root", "root"},
		{"/etc/crontab", 0o600, "root", "root"},
		{"/etc/cron.d", 0o700, "root", "root"},
		{"/etc/cron.hourly", 0o700, "root", "root"},
		{"/etc/cron.daily", 0o700, "root", "root"},
		{"/etc/cron.weekly", 0o700, "root", "root"},
		{"/etc/cron.monthly", 0o700, "root", "root"},
		{"/etc/ssh/sshd_config", 0o600, "root", "root"},
		{"/etc/sudoers", 0o440, "root", "root"},
		{"/etc/sudoers.d", 0o750, "root", "root"},
		{"/etc/passwd", 0o644, "root", "root"},
		{"/etc/group", 0o644, "root", "root"},
		{"/etc/shadow", 0o640, "root", "shadow"},
		{"/etc/shadow-", 0o640, "root", "shadow"},
		{"/etc/gshadow", 0o640, "root", "shadow"},
		{"/etc/gshadow-", 0o640, "root", "shadow"},
		{"/root", 0o700, "root", "root"},
		{"/root/.ssh", 0o700, "root", "root"},
	} {
		all = append(all, provision.Permissions{About: about, Path: p.path, Mode: p.mode, Owner: p.owner, Group: p.group})
	}
	return all
}
