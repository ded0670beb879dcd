# shellcheck shell=sh disable=SC2154
# The guard: settings that can lock the operator out are put back by the server
# itself unless they are confirmed over a new connection.
guard=$state/guard

# arm SECONDS: starts the timer. When an earlier run's guard is still armed, what
# it kept is the last state that let people in, so it is kept on.
arm() {
    mkdir -p "$guard"
    chmod 0700 "$state" "$guard"
    exec 7>"$guard/lock"
    flock 7
    if [ -e "$guard/armed" ]; then
        systemctl stop holdfast-guard.timer 2>/dev/null || :
    else
        rm -rf "$guard/kept" "$guard/index"
        mkdir "$guard/kept"
        : >"$guard/index"
    fi
    systemctl reset-failed holdfast-guard.service 2>/dev/null || :
    : >"$guard/armed"
    # Without an accuracy of its own the timer could be a minute late
    # (systemd.timer(5), AccuracySec).
    try systemd-run --quiet --collect --unit=holdfast-guard --on-active="$1" --timer-property=AccuracySec=1s \
        /bin/sh "$guard/revert"
    exec 7>&-
}

# keep PATH: keeps a file as it is now, or that it is not there.
keep() {
    ! grep -qxF -e "$1" "$guard/index" || return 0
    kept=$guard/kept/$(($(wc -l <"$guard/index") + 1))
    rm -rf "$kept"
    if [ -e "$1" ] || [ -L "$1" ]; then
        try cp -a "$1" "$kept"
    fi
    printf '%s\n' "$1" >>"$guard/index"
}

# disarm: the new settings are confirmed.
disarm() {
    exec 7>"$guard/lock"
    flock 7
    if [ ! -e "$guard/armed" ]; then
        echo "the server had already put the old settings back"
        return 1
    fi
    rm -f "$guard/armed" "$guard/reverted"
    try systemctl stop holdfast-guard.timer
    rm -rf "$guard/kept" "$guard/index"
}
