cat /etc/security/limits.conf /etc/security/limits.d/*.conf 2>/dev/null | sed 's/^/limit /'
printf 'pattern %s\n' "$(cat /proc/sys/kernel/core_pattern)"
printf 'service %s\n' "$(systemctl show --property=DefaultLimitCORE --value)"
if [ -x /usr/lib/systemd/systemd-coredump ] || [ -x /lib/systemd/systemd-coredump ]; then
    echo 'coredump Storage=external'
fi
systemd-analyze --no-pager cat-config systemd/coredump.conf 2>/dev/null | sed -n 's/^Storage=/coredump Storage=/p'
exit 0
