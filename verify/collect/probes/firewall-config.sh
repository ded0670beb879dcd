# Whether the stored rulesets load, and whether loading the distribution's
# removes Docker's. The files are its own and those that enabled units load.
if [ -e /etc/nftables.conf ] && grep -q '^[[:space:]]*flush[[:space:]][[:space:]]*ruleset' /etc/nftables.conf; then
    echo flushes
fi
units=$(systemctl list-unit-files --state=enabled --plain --no-legend --no-pager '*nftables*' '*firewall*' | awk '{print $1}')
loaded=''
if [ -n "$units" ]; then
    # shellcheck disable=SC2086 # a list of units
    loaded=$(systemctl cat --no-pager $units | sed -n 's/^ExecStart=.*nft .*-f[[:space:]]*\([^[:space:]]*\).*/\1/p')
fi
for file in /etc/nftables.conf $loaded; do
    [ ! -e "$file" ] || nft -c -f "$file" 2>&1 | sed 's/^/error /'
done
exit 0
