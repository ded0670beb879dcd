# login.defs(5), PAM's common stacks and faillock.conf(5), without comments.
sed -n 's/^[[:space:]]*\([A-Z][A-Z_]*[[:space:]]\)/defs \1/p' /etc/login.defs || exit
for stack in auth account password; do
    sed -n "s/^[[:space:]]*-\{0,1\}${stack}[[:space:]]/pam $stack /p" "/etc/pam.d/common-$stack" || exit
done
[ ! -e /etc/security/faillock.conf ] || sed -n 's/^[[:space:]]*\([a-z]\)/faillock \1/p' /etc/security/faillock.conf
exit 0
