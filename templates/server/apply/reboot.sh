# Restarts the server, unless packages are being installed or are half installed:
# what boots next would be neither the old nor the new.
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
unset POSIXLY_CORRECT
left=300
# By what processes say, with no program needed that a server may lack. Not by
# the name of unattended-upgrade: the process that only waits for the shutdown
# has the same one. The brackets keep this script from finding itself.
while grep -qsx -e dpkg -e apt-get -e apt /proc/[0-9]*/comm || grep -qsa '/usr/bin/[u]nattended-upgrade' /proc/[0-9]*/cmdline; do
    if [ "$left" -le 0 ]; then
        echo "packages have been installed for 5 minutes, and a reboot would interrupt that; run again when it is done" >&2
        exit 75
    fi
    left=$((left - 1))
    sleep 1
done
if audit=$(dpkg --audit) && [ -n "$audit" ]; then
    printf 'packages are half installed; "dpkg --configure -a" finishes them:\n%s\n' "$audit" >&2
    exit 78
fi
sync
# In a moment, so that the one who asked is answered.
systemd-run --quiet --collect --on-active=1s --timer-property=AccuracySec=100ms systemctl reboot
