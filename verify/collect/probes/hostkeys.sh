# path, mode, owner and ssh-keygen's line of each host key sshd offers.
settings=$(sshd -T -C user=nobody,host=x,addr=198.51.100.1,laddr=198.51.100.2,lport=22) || exit
printf '%s\n' "$settings" | while read -r option file; do
    if [ "$option" != hostkey ] || [ ! -e "$file" ]; then continue; fi
    printf '%s\t%s\t%s\t%s\n' "$file" "$(stat -c %a "$file")" "$(stat -c %U "$file")" "$(ssh-keygen -lf "$file")"
done
