# All sysctl.d files in the order systemd applies them at boot.
for program in /usr/lib/systemd/systemd-sysctl /lib/systemd/systemd-sysctl; do
    [ -x "$program" ] && exec "$program" --cat-config
done
echo 'systemd-sysctl is not installed' >&2
exit 1
