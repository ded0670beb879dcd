# shellcheck shell=sh disable=SC2154
# Holds the server for one run: prints "ready" when the lock is had, else ends
# with status 75 and says on stderr who has it. $holder is a JSON object without
# its closing brace. The lock is free when this process ends, however it ends;
# the record beside it is only there to be read.
umask 022
exec 9>>/run/lock/holdfast.lock
if ! flock -n 9; then
    printf 'held %s\n' "$(cat /run/lock/holdfast.holder 2>/dev/null)" >&2
    exit 75
fi
printf '%s,"since":"%s"}\n' "$holder" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" >/run/lock/holdfast.holder
# A run whose controller died may still be finishing a step.
if ! flock -w 120 /run/lock/holdfast-apply.lock true 9>&-; then
    printf 'busy\n' >&2
    exit 75
fi
echo ready
