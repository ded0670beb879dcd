# Every authorized_keys file with its fingerprints, and every private key in a
# user's .ssh folder. %u and %h are sshd's own tokens; see sshd_config(5).
settings=$(sshd -T -C user=nobody,host=x,addr=198.51.100.1,laddr=198.51.100.2,lport=22) || exit
patterns=$(printf '%s\n' "$settings" | sed -n 's/^authorizedkeysfile //p')
set -f
while IFS=: read -r user _ _ _ _ home _; do
    for pattern in $patterns; do
        case $pattern in
        none) continue ;;
        esac
        file=$(printf '%s\n' "$pattern" | sed "s|%u|$user|g; s|%h|$home|g")
        case $file in
        /*) ;;
        *) file=$home/$file ;;
        esac
        [ -f "$file" ] || continue
        printf 'authorized\t%s\t%s\t%s\t%s\n' "$user" "$(stat -c %a "$file")" "$(stat -c %U "$file")" "$file"
        ssh-keygen -lf "$file" 2>/dev/null | sed 's/^/key\t/'
    done
    [ -d "$home/.ssh" ] || continue
    set +f
    for file in "$home"/.ssh/* "$home"/.ssh/.[!.]*; do
        [ -f "$file" ] || continue
        IFS= read -r first <"$file"
        case $first in
        *'PRIVATE KEY-----'*) printf 'private\t%s\t%s\n' "$(stat -c %a "$file")" "$file" ;;
        esac
    done
    set -f
done </etc/passwd
exit 0
