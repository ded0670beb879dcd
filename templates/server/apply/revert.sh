#!/bin/sh
# Puts back what the guard has kept, unless it was confirmed. Started by the
# timer holdfast-guard, by a run whose settings failed, or at boot: "revert boot".
# It can be cut off and started again at any line; what can't be put back is
# tried again by the timer's service.
export LC_ALL=C PATH="$PATH:/usr/sbin:/usr/bin:/sbin:/bin"
guard=${0%/*}
kept=$guard/kept
code=0
# At boot other units wait for this one, so it must not wait for them.
control() { timeout 30 systemctl "$@"; }
[ "${1-}" != boot ] || control() { timeout 30 systemctl --no-block "$@"; }

# A step that is going on is waited for, but one that hangs must not keep the
# operator out.
exec 7>"$guard/lock"
flock -w 20 7
[ -e "$guard/armed" ] || exit 0
: >"$guard/reverting" # no step may begin any more

# What was not started at boot is not, while its file is still there.
while read -r unit enabled active; do
    case $enabled in
    enabled* | static | alias | indirect | generated | masked*) ;;
    *) timeout 30 systemctl disable "$unit" ;;
    esac
done <"$guard/units" >/dev/null 2>&1

same() {
    [ ! -L "$1" ] && [ ! -L "$2" ] && cmp -s "$1" "$2" &&
        [ "$(stat -c '%a %u %g' "$1")" = "$(stat -c '%a %u %g' "$2")" ]
}
: >"$guard/changed"
n=0
while IFS= read -r path; do
    n=$((n + 1))
    old=$kept/$n
    if [ -e "$old.absent" ]; then
        [ -e "$path" ] || [ -L "$path" ] || continue
        rm -f "$path" || code=1
    elif [ -d "$old" ] && [ ! -L "$old" ]; then
        [ "$(stat -c '%a %u %g' "$old")" != "$(stat -c '%a %u %g' "$path")" ] || continue
        { chown --reference="$old" "$path" && chmod --reference="$old" "$path"; } || code=1
    elif [ -e "$old" ] || [ -L "$old" ]; then
        ! same "$old" "$path" || continue
        temp=${path%/*}/.${path##*/}.holdfast
        # On a full disk there is no room for a copy; moving needs none.
        { cp -aT "$old" "$temp" && mv -fT "$temp" "$path"; } || { rm -f "$temp"; mv -fT "$old" "$path"; } || code=1
    else
        continue
    fi
    printf '%s\n' "$path" >>"$guard/changed"
done <"$guard/index"

while read -r key value; do
    [ "$(cat "/proc/sys/$key")" != "$value" ] || continue
    printf '%s\n' "$value" >"/proc/sys/$key"
    printf 'the kernel setting %s\n' "$key" >>"$guard/changed"
done <"$guard/values"

timeout 30 systemctl daemon-reload
while read -r unit enabled active; do
    [ "$enabled" != enabled ] || timeout 30 systemctl enable "$unit"
    case $unit:$active in
    ssh.*) ;;
    *:active) control start "$unit" ;;
    *:inactive | *:failed) [ "${1-}" = boot ] || control stop "$unit" ;;
    esac
done <"$guard/units" >/dev/null 2>&1

# Only the table of our own: flushing the ruleset would take Docker's with it. At
# boot its unit loads the file, after this.
if [ "${1-}" = boot ]; then
    :
elif [ -e "$kept/table" ]; then
    nft -s -t list table inet holdfast 2>/dev/null | cmp -s - "$kept/rules" || echo 'the live firewall' >>"$guard/changed"
    { printf 'table inet holdfast\ndelete table inet holdfast\n'; cat "$kept/table"; } | nft -f - || code=1
else
    nft delete table inet holdfast 2>/dev/null
fi

# sshd is restarted, which is over when it listens and leaves sessions alone
# (KillMode=process); a reload is over before it has read anything. One that runs
# under settings which it would not start with is left alone. Where a socket
# starts it, the socket's ports are made of sshd's settings. At boot it starts
# after this.
was() { grep -q "^$1 [^ ]* active" "$guard/units"; }
if [ "${1-}" = boot ]; then
    :
elif was ssh.socket; then
    timeout 30 systemctl restart ssh.socket
    timeout 30 systemctl try-restart ssh.service
elif was ssh.service; then
    mkdir -p /run/sshd
    if sshd -t || ! systemctl is-active --quiet ssh.service; then
        systemctl reset-failed ssh.service 2>/dev/null
        timeout 30 systemctl restart ssh.service || code=1
    fi
fi
# The operator may have been banned for logins that the new settings refused, or
# be exempt no more.
! systemctl is-active --quiet fail2ban.service || timeout 10 fail2ban-client reload --unban >/dev/null 2>&1

if [ "$code" -ne 0 ]; then
    logger -t holdfast -p auth.err "not everything could be put back; it is tried again"
    exit "$code"
fi
rm -f "$guard/../pending"
if [ -s "$guard/changed" ]; then
    {
        date -u +%Y-%m-%dT%H:%M:%SZ
        cat "$guard/changed"
    } >"$guard/reverted"
fi
sync -f "$guard"
rm -f "$guard/armed" "$guard/changed"
rm -f "$guard/reverting"
logger -t holdfast -p auth.warning "unconfirmed settings of sshd, the firewall or accounts were put back"
exit 0
