# shellcheck shell=sh disable=SC2154
# The library of a changing run. $nonce frames what the controller reads. What
# steps print goes to a log, of which only a failing step's end is shown.
set -u
umask 022
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
unset POSIXLY_CORRECT TAR_OPTIONS GZIP
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
state=/var/lib/holdfast
exec 3>&1

# One changing run at a time, also when an earlier one has lost its controller
# and is still finishing its last step.
exec 8>/run/lock/holdfast-apply.lock
if ! flock -w 300 8; then
    echo "a step of an earlier run is still going on" >&2
    exit 75
fi

# The controller may be gone at any line that is printed: stop between steps.
trap 'exit 143' HUP INT TERM PIPE

frame() {
    printf '%s %s\n' "$nonce" "$*" >&3
}

# try COMMAND...: runs it, and remembers it as what the step was at.
try() {
    printf '%s\n' "$*" >"$work/command"
    "$@"
}

# step NUMBER FUNCTION RECORD: runs one step; the first that fails ends the run.
step() {
    frame "start $1"
    : >"$work/command"
    (
        set -e
        exec 8>&-
        # The first step of a guarded stage arms the guard.
        [ "$guarded" = no ] || [ "$1" -eq 0 ] || under_guard
        "$2"
    ) </dev/null >"$work/log" 2>&1
    code=$?
    if [ "$code" -eq 0 ]; then
        journal "$3\"result\":\"done\"}"
        frame "ok $1"
        return
    fi
    journal "$3\"result\":\"failed\",\"code\":$code}"
    failed "$1" "$code"
}

# failed NUMBER CODE: reports the step and its log, and ends the run. A guarded
# group is taken back as a whole.
failed() {
    if [ "$guarded" = yes ] && [ -e "$guard/armed" ]; then
        /bin/sh "$guard/revert" 8>&-
        systemctl stop holdfast-guard.timer
    fi
    tail -n 20 "$work/log" | cut -c 1-400 | while IFS= read -r line; do frame "out $line"; done
    frame "command $(tail -n 1 "$work/command" | cut -c 1-400)"
    frame "fail $1 $2"
    exit 1
}

# blocked PATH: says so where a file has an attribute that keeps even root from
# replacing it (chattr(1)).
blocked() {
    for file in "$1" "${1%/*}"; do
        # Attributes come first, and then the name.
        flags=$(lsattr -d -- "$file" 2>/dev/null) || continue
        case ${flags%% *} in
        *[ai]*) echo "$file was made immutable on purpose: \"chattr -ai $file\" ends that, then run again" ;;
        esac
    done
}

# put PATH MODE OWNER:GROUP [CHECK]: replaces a file by its content on stdin, in
# base64. It gets its name only when it is complete, has mode and owner, and
# CHECK has accepted it. The temporary name is one that no include pattern
# matches.
put() {
    temp=${1%/*}/.${1##*/}.holdfast
    try mkdir -p "${1%/*}"
    printf '%s\n' "write $temp" >"$work/command"
    (umask 077 && base64 -d >"$temp") || {
        code=$?
        rm -f "$temp" 2>/dev/null || :
        blocked "$1"
        return "$code"
    }
    try chown "$3" "$temp"
    try chmod "$2" "$temp"
    if [ -n "${4-}" ]; then
        try sh -c "$4" || {
            code=$?
            printf '%s\n' "$4" >"$work/command"
            rm -f "$temp"
            return "$code"
        }
    fi
    # A check that took so long that the guard has acted comes too late.
    if [ "$guarded" = yes ] && [ "$1" != "$guard/revert" ] && ! guarding; then
        rm -f "$temp"
        echo "the server has put the old settings back in the meantime; run again"
        return 1
    fi
    try mv -fT "$temp" "$1" || {
        code=$?
        rm -f "$temp"
        blocked "$1"
        return "$code"
    }
}

# unchanged SHA256 PATH: somebody else's file is still what was observed.
unchanged() {
    [ "$(sha256sum <"$2" | cut -d ' ' -f 1)" = "$1" ] || {
        echo "$2 was changed by somebody else in the meantime; run again"
        return 1
    }
}

# fstab FIELD KEY LINE: puts a line into /etc/fstab in place of those whose field
# is KEY.
fstab() {
    touch /etc/fstab
    # shellcheck disable=SC2016 # awk reads the program
    try awk -v field="$1" -v key="$2" '$1 ~ /^#/ || $field != key' /etc/fstab >/etc/.fstab.holdfast
    printf '%s\n' "$3" >>/etc/.fstab.holdfast
    try chmod 0644 /etc/.fstab.holdfast
    try mv -fT /etc/.fstab.holdfast /etc/fstab
}

# expect COMMAND: a file that was put must have had its effect.
expect() {
    try sh -c "$1" || {
        code=$?
        printf '%s\n' "$1" >"$work/command"
        return "$code"
    }
}

# pending ACTION...: what must still be done for files that are replaced in
# this run; the next run finds it when this one is cut off.
pending() {
    mkdir -p "$state" && chmod 0700 "$state" && printf '%s\n' "$@" >"$state/pending" || exit
}

set_sysctl() {
    [ "$guarded" = no ] || keep_value "$1"
    printf '%s\n' "sysctl -w $1=$2" >"$work/command"
    printf '%s\n' "$2" >"/proc/sys/$1"
}
