# A kernel without modules has no such file.
[ -e /proc/modules ] || exit 0
cut -d ' ' -f 1 /proc/modules
