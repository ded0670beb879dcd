# Those of $users that exist: name, id, home, shell, state of the password,
# groups, whether it expires, and mode, owner and content of authorized_keys.
# Hashes stay here.
# shellcheck disable=SC2154 # a list of names
for user in $users; do
    entry=$(getent passwd "$user") || continue
    IFS=: read -r _ _ id _ _ home shell <<ENTRY
$entry
ENTRY
    password=$(getent shadow "$user" | awk -F: '{ s = "set"; if ($2 == "") s = "empty"; else if ($2 ~ /^[!*]/) s = "locked"; print s }')
    printf 'user\t%s\t%s\t%s\t%s\t%s\t%s\n' "$user" "$id" "$home" "$shell" "$password" "$(id -nG "$user")"
    getent shadow "$user" | awk -F: -v OFS='\t' '$3 == "0" || ($5 != "" && $5 < 99999) || $7 != "" || $8 != "" { print "expires", $1 }'
    keys=$home/.ssh/authorized_keys
    if [ -f "$keys" ] && [ ! -L "$keys" ]; then
        printf 'keys\t%s\t%s\t%s\t%s\t%s\n' "$user" "$(stat -c %a "$home/.ssh")" "$(stat -c %a "$keys")" "$(stat -c %U "$keys")" "$(base64 -w 0 "$keys")"
    fi
done
exit 0
