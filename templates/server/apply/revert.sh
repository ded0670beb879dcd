#!/bin/sh
# Puts back what the guard has kept, unless it was confirmed. Started by the
# timer holdfast-guard, by a run whose settings failed, or at boot: "revert boot".
export LC_ALL=C PATH="$PATH:/usr/sbin:/usr/bin:/sbin:/bin"
guard=${0%/*}
rules=/etc/holdfast/firewall.nft
unit=/etc/systemd/system/holdfast-firewall.service

exec 7>"$guard/lock"
flock 7
[ -e "$guard/armed" ] || exit 0

n=0
while IFS= read -r path; do
    n=$((n + 1))
    if [ -e "$guard/kept/$n" ] || [ -L "$guard/kept/$n" ]; then
        temp=${path%/*}/.${path##*/}.holdfast
        cp -aT "$guard/kept/$n" "$temp" && mv -fT "$temp" "$path"
    else
        rm -f "$path"
    fi
done <"$guard/index"

# Only the table of our own: flushing the ruleset would take Docker's with it.
if [ -e "$rules" ]; then
    nft -f "$rules"
else
    nft delete table inet holdfast 2>/dev/null
fi
if [ ! -e "$unit" ]; then
    rm -f /etc/systemd/system/sysinit.target.wants/holdfast-firewall.service
fi
systemctl daemon-reload
if [ "${1-}" = boot ]; then
    # sshd waits for this script, so it must not wait for sshd.
    systemctl --no-block try-reload-or-restart ssh.service
else
    systemctl try-reload-or-restart ssh.service
fi

rm -f "$guard/../pending"
{
    date -u +%Y-%m-%dT%H:%M:%SZ
    cat "$guard/index"
} >"$guard/reverted"
rm -f "$guard/armed"
logger -t holdfast -p auth.warning "unconfirmed settings of sshd, the firewall or accounts were put back"
exit 0
