# shellcheck shell=sh disable=SC2154
# apt WORDS...: apt-get. While another process holds a package lock it says who
# and waits, $patience seconds at most.
apt() {
    left=$patience
    mended=no
    while :; do
        printf 'apt-get %s\n' "$*" >"$work/command"
        code=0
        apt-get -y -q -o DPkg::Lock::Timeout=0 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
            -o APT::Install-Recommends=false "$@" >"$work/apt" 2>&1 || code=$?
        cat "$work/apt"
        [ "$code" -ne 0 ] || return 0
        if grep -q -e 'is not valid yet' -e '(invalid since' -e 'is expired' "$work/apt"; then
            echo "the clock of the server says $(date -u '+%F %T') UTC: if that is wrong, set it, then run again"
        fi
        if [ "$mended" = no ] && grep -q 'dpkg was interrupted' "$work/apt"; then
            mended=yes
            frame "note finishing a package installation that was interrupted"
            try dpkg --force-confdef --force-confold --configure -a || return
            continue
        fi
        grep -q -e '^E: Could not get lock' -e '^E: Unable to lock' "$work/apt" || return "$code"
        holder=$(sed -n 's/.*It is held by process \([0-9]* ([^)]*)\).*/\1/p' "$work/apt" | head -n 1)
        if [ "$left" -le 0 ]; then
            echo "the package lock is still held by process ${holder:-that could not be named} after $patience s; end it or wait for it, then run again"
            return "$code"
        fi
        [ $((left % 10)) -ne 0 ] || frame "note waiting for the package lock, held by process ${holder:-that could not be named}; $left s left"
        sleep 2
        left=$((left - 2))
    done
}

# install_packages PACKAGES...: with lists that are a day old at most, and new
# ones when these do not do. Nothing is removed for them: what is in their way
# somebody has installed on purpose.
install_packages() {
    fresh=no
    if [ "$stale" = yes ]; then
        frame "note refreshing the package lists"
        apt update
        fresh=yes
    fi
    if apt install --no-remove "$@"; then
        return
    elif [ "$fresh" = yes ] || grep -q -e 'lock is still held' -e 'Packages need to be removed' "$work/log"; then
        return "$code"
    fi
    frame "note refreshing the package lists"
    apt update
    apt install --no-remove "$@"
}
