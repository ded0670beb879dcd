# What needrestart does after an update; the last word counts, its own is "ask".
command -v needrestart >/dev/null || exit 0
echo i
# shellcheck disable=SC2016 # a Perl variable
sed -n 's/^[[:space:]]*\$nrconf{restart}[[:space:]]*=[[:space:]]*["'\'']\([lia]\)["'\''].*/\1/p' /etc/needrestart/needrestart.conf /etc/needrestart/conf.d/*.conf 2>/dev/null
exit 0
