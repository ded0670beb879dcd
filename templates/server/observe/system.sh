# What the server is, in lines of name=value. No variables.
sed -n 's/^\(ID\|VERSION_ID\|PRETTY_NAME\)=/os.\1=/p' /etc/os-release || exit
printf 'hostname=%s\n' "$(uname -n)"
printf 'kernel=%s\n' "$(uname -r)"
printf 'architecture=%s\n' "$(dpkg --print-architecture)"
printf 'container=%s\n' "$(systemd-detect-virt --container 2>/dev/null)"
IFS= read -r boot </proc/sys/kernel/random/boot_id && printf 'boot=%s\n' "$boot"
# When process 1 was started, in ticks since the kernel was: it tells two boots
# of a container apart, whose kernel stays (proc_pid_stat(5), field 22).
sed 's/.*) //; s/^/x x /' /proc/1/stat | awk '{ print "init=" $22 }'
date +time=%s
# The newest kernel that is installed, of the running one's flavour.
for image in /boot/vmlinuz-*-"$(uname -r | sed 's/.*-//')"; do
    [ -e "$image" ] && printf '%s\n' "${image#/boot/vmlinuz-}"
done | sort -V | sed -n '$s/^/newest-kernel=/p'
[ -e /run/reboot-required ] && printf 'reboot=%s\n' "$(tr '\n' ' ' 2>/dev/null </run/reboot-required.pkgs)"

# sshd's ports: its own, and those of the socket that starts it, on systems
# where sshd does not listen by itself.
sshd -T 2>/dev/null | sed -n 's/^port /ssh-port=/p'
if systemctl is-active --quiet ssh.socket 2>/dev/null; then
    systemctl show --property=Listen ssh.socket | sed -n 's/.*:\([0-9][0-9]*\) (Stream)$/ssh-port=\1/p'
fi

# The age in seconds of the package lists; nothing when there are none.
set -- /var/lib/apt/lists/*Packages*
if [ -e "$1" ]; then
    now=$(date +%s)
    newest=$(stat -c %Y /var/lib/apt/lists /var/lib/apt/lists/partial /var/lib/apt/periodic/update-success-stamp 2>/dev/null | sort -n | tail -n 1)
    printf 'lists-age=%s\n' "$((now - newest))"
fi

df -Pk / /var | awk 'NR > 1 { print "free=" $4 " " $6 }'

# What an earlier run left unfinished.
state=/var/lib/holdfast
[ -e "$state/guard/armed" ] && echo guard-armed=yes
[ -e "$state/guard/reverted" ] && sed 's/^/guard-reverted=/' "$state/guard/reverted"
[ -e "$state/pending" ] && sed 's/^/pending=/' "$state/pending"
exit 0
