# What the server is, in lines of name=value.
sed -n 's/^\(ID\|VERSION_ID\|PRETTY_NAME\)=/os.\1=/p' /etc/os-release || exit
printf 'hostname=%s\n' "$(uname -n)"
printf 'kernel=%s\n' "$(uname -r)"
printf 'architecture=%s\n' "$(dpkg --print-architecture)"
# Where the program is missing, process 1 tells (systemd(1), /run/systemd).
container=$(systemd-detect-virt --container 2>/dev/null)
[ -n "$container" ] || container=$(cat /run/systemd/container 2>/dev/null)
printf 'container=%s\n' "$container"
# What every supported system has and a run can't do without.
for tool in awk base64 chown cut dpkg-query apt-get flock getent grep gzip head mktemp sed sha256sum sort stat systemctl tail tar unshare useradd wc; do
    command -v "$tool" >/dev/null || printf 'missing=%s\n' "$tool"
done
for folder in /etc /usr /var; do
    [ -w "$folder" ] || printf 'read-only=%s\n' "$folder"
done
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
# where sshd does not listen by itself. Without all that a Match block may ask
# for sshd gives no answer; no Match block sets ports.
if settings=$(sshd -T -C user=nobody,host=x,addr=198.51.100.1,laddr=198.51.100.2,lport=22 2>&1); then
    printf '%s\n' "$settings" | sed -n 's/^port /ssh-port=/p'
else
    # With settings that it refuses sshd may still run, since they were changed:
    # then it is on the ports that process has open, with no program needed to
    # tell (proc_pid_net(5): state 0A listens, and ports are in hex).
    printf 'ssh-fault=%s\n' "$(printf '%s\n' "$settings" | tr -s '\r\n' '  ' | cut -c 1-300)"
    pid=$(systemctl show --property=MainPID --value ssh.service)
    readlink "/proc/$pid/fd/"* 2>/dev/null | sed -n 's/^socket:\[\([0-9]*\)\]$/\1/p' |
        awk 'NR == FNR { own[$1]; next } $4 == "0A" && $10 in own { sub(/.*:/, "", $2); print $2 }' - /proc/net/tcp /proc/net/tcp6 2>/dev/null |
        while IFS= read -r hex; do printf 'ssh-port=%s\n' "$((0x$hex))"; done
fi
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
df -Pi / /var | awk 'NR > 1 && $2 > 0 { print "inodes=" $4 " " $6 }'

# Debian 12 alone: whether somebody has added a repository with Compose v2.
if grep -qx 'VERSION_ID="12"' /etc/os-release; then
    if [ "$(dpkg-query -W -f '${db:Status-Status}' docker-compose-plugin 2>/dev/null)" = installed ]; then
        echo compose=installed
    elif apt-cache policy docker-compose-plugin 2>/dev/null | grep -q '^  Candidate: [0-9]'; then
        echo compose=available
    fi
fi

# What an earlier run left unfinished.
state=/var/lib/holdfast
[ -e "$state/guard/armed" ] && echo guard-armed=yes
[ -e "$state/guard/reverted" ] && sed 's/^/guard-reverted=/' "$state/guard/reverted"
[ -e "$state/pending" ] && sed 's/^/pending=/' "$state/pending"
exit 0
