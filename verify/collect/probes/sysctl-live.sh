# shellcheck disable=SC2154 # its variables are set in front of it, see server.go
# $sysctl_paths are keys with "/" for ".". Read by grep, in one piece: the shell
# reads byte by byte, and the kernel gives these files' first byte only.
cd /proc/sys || exit
# shellcheck disable=SC2086 # a list of paths
grep -sH '' $sysctl_paths | sed 's/:/=/'
exit 0
