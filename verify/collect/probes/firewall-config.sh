# Whether the stored ruleset loads, and whether loading it removes Docker's.
[ -e /etc/nftables.conf ] || exit 0
grep -q '^[[:space:]]*flush[[:space:]][[:space:]]*ruleset' /etc/nftables.conf && echo flushes
nft -c -f /etc/nftables.conf 2>&1 | sed 's/^/error /'
exit 0
