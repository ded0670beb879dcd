# "name status" of those of $packages that dpkg has heard of.
# shellcheck disable=SC2086,SC2154 # a list of names
dpkg-query -W -f '${Package} ${db:Status-Status}\n' $packages 2>/dev/null
exit 0
