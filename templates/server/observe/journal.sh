# How many records the journal has, and the last $records of them.
journal=/var/log/holdfast/journal.jsonl
[ -e "$journal" ] || exit 0
wc -l <"$journal"
# shellcheck disable=SC2154 # a number
tail -n "$records" "$journal"
