# shellcheck shell=sh disable=SC2154
# The guard: settings that can lock the operator out are put back by the server
# itself unless they are confirmed over a new connection. What it keeps is on
# the disk before anything is changed, so that a power cut finds it there.
guard=$state/guard

# can_arm: whether this server can take anything back by itself.
can_arm() {
    if ! command -v systemd-run >/dev/null || ! systemctl show --property=Version >/dev/null; then
        echo "systemd-run does not work here, so nothing would take the settings of sshd, firewall and accounts back: install the package systemd"
        return 1
    fi
}

# guarding: the guard is armed, and has not begun to act.
guarding() {
    [ -e "$guard/armed" ] && [ ! -e "$guard/reverting" ]
}

# arm SECONDS: starts the timer. When an earlier run's guard is still armed, what
# it kept is the last state that let people in, so it is kept on.
arm() {
    can_arm
    mkdir -p "$guard"
    chmod 0700 "$state" "$guard"
    exec 7>"$guard/lock"
    flock 7
    if [ -e "$guard/armed" ] && [ -e "$guard/reverting" ]; then
        exec 7>&-
        /bin/sh "$guard/revert" || :
        echo "the server has put the old settings back in the meantime; run again"
        return 1
    elif [ ! -e "$guard/armed" ]; then
        rm -rf "$guard/kept" "$guard/index" "$guard/units" "$guard/values" "$guard/reverting"
        mkdir "$guard/kept"
        : >"$guard/index"
        : >"$guard/units"
        : >"$guard/values"
        # The live table, and not only its file: someone may have let themselves
        # in by hand.
        nft list table inet holdfast >"$guard/kept/table" 2>/dev/null || rm -f "$guard/kept/table"
        nft -s -t list table inet holdfast >"$guard/kept/rules" 2>/dev/null || :
        keep_unit ssh.socket
        keep_unit ssh.service
        sync -f "$guard"
        : >"$guard/armed"
    elif systemctl is-active --quiet holdfast-guard.timer; then
        # In one go: there is no moment without a timer.
        try systemctl restart holdfast-guard.timer
        exec 7>&-
        return
    fi
    systemctl reset-failed holdfast-guard.service 2>/dev/null || :
    # By the monotonic clock, which nobody can set (systemd.timer(5), OnActiveSec).
    # Without an accuracy of its own the timer could be a minute late.
    try systemd-run --quiet --collect --unit=holdfast-guard --on-active="$1" --timer-property=AccuracySec=1s \
        --property=Restart=on-failure --property=RestartSec=5s --property=StartLimitIntervalSec=0 \
        /bin/sh "$guard/revert"
    exec 7>&-
}

# under_guard: a guarded step holds the guard's lock, so that the old settings
# come back before it or after it and never in between. Before it means that it
# must not be done any more: nothing would take it back.
under_guard() {
    exec 7>"$guard/lock"
    flock 7
    if ! guarding; then
        echo "the server has put the old settings back in the meantime; run again"
        return 1
    fi
}

# keep PATH: keeps a file as it is now, or that it is not there; of a folder its
# mode and owner.
keep() {
    ! grep -qxF -e "$1" "$guard/index" || return 0
    kept=$guard/kept/$(($(wc -l <"$guard/index") + 1))
    rm -rf "$kept" "$kept.absent"
    if [ -d "$1" ] && [ ! -L "$1" ]; then
        try mkdir "$kept"
        try chown --reference="$1" "$kept"
        try chmod --reference="$1" "$kept"
    elif [ -e "$1" ] || [ -L "$1" ]; then
        try cp -a "$1" "$kept"
        [ -L "$1" ] || try sync "$kept"
    else
        : >"$kept.absent"
    fi
    printf '%s\n' "$1" >>"$guard/index"
    try sync "$guard/index" "$guard/kept"
}

# keep_unit UNIT: keeps whether a unit is started at boot and whether it runs.
keep_unit() {
    ! grep -q "^$1 " "$guard/units" || return 0
    enabled=$(systemctl is-enabled "$1" 2>/dev/null) || :
    active=$(systemctl is-active "$1" 2>/dev/null) || :
    printf '%s %s %s\n' "$1" "${enabled:-not-found}" "${active:-inactive}" >>"$guard/units"
}

# keep_value KEY: keeps a kernel setting of the network, its key a path under
# /proc/sys. The others keep nobody out, and some can't be set back.
keep_value() {
    [ "${1%%/*}" = net ] || return 0
    ! grep -q "^$1 " "$guard/values" || return 0
    [ ! -r "/proc/sys/$1" ] || printf '%s %s\n' "$1" "$(cat "/proc/sys/$1")" >>"$guard/values"
}

# keep_pam: keeps what pam-auth-update rewrites.
keep_pam() {
    [ "$guarded" = yes ] || return 0
    for file in /etc/pam.d/common-* /var/lib/pam/*; do
        [ ! -f "$file" ] || keep "$file"
    done
}

# disarm: the new settings are confirmed.
disarm() {
    exec 7>"$guard/lock"
    flock 7
    if ! guarding; then
        echo "the server had already put the old settings back"
        return 1
    fi
    rm -f "$guard/armed" "$guard/reverted"
    try systemctl stop holdfast-guard.timer
    rm -rf "$guard/kept" "$guard/index" "$guard/units" "$guard/values"
}
