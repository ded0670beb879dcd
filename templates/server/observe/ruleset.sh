# Whether the live table is what the file $ruleset would load. The file is
# loaded into an empty network namespace of its own, so that nft itself puts
# both into the same words; counters and what rules have collected are left out.
command -v nft >/dev/null || exit 0
# shellcheck disable=SC2086,SC2154 # the table's family and name
live=$(nft -s -t list table $table 2>/dev/null)
# shellcheck disable=SC2016,SC2086,SC2154 # the inner shell expands it
declared=$(unshare --net sh -c 'nft -f "$0" && nft -s -t list table "$@"' "$ruleset" $table 2>/dev/null)
if [ -z "$declared" ] && [ -e "$ruleset" ] && ! unshare --net true; then
    echo "the file $ruleset can't be compared with the live table: no network namespace can be made here" >&2
    exit 1
elif [ -n "$live" ] && [ "$live" = "$declared" ]; then
    echo same
else
    printf 'live\n%s\ndeclared\n%s\n' "$live" "$declared"
fi
exit 0
