# $sysctl_paths are keys with "/" for ".".
cd /proc/sys || exit
for path in $sysctl_paths; do
    if [ -r "$path" ] && IFS= read -r value <"$path"; then
        printf '%s=%s\n' "$path" "$value"
    fi
done
exit 0
