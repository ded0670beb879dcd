# shellcheck disable=SC2154 # its variables are set in front of it, see server.go
# Those of $packages that are installed.
# shellcheck disable=SC2086 # a list of names
dpkg-query -W -f '${db:Status-Status} ${Package}\n' $packages 2>/dev/null | sed -n 's/^installed //p'
exit 0
