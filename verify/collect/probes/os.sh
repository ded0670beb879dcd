# os-release(5), then what it does not know, in the same form.
cat /etc/os-release || exit 1
echo
printf 'HOLDFAST_KERNEL=%s\n' "$(uname -r)"
printf 'HOLDFAST_ARCHITECTURE=%s\n' "$(uname -m)"
printf 'HOLDFAST_HOSTNAME=%s\n' "$(uname -n)"
# systemd-detect-virt exits 1 for "none".
printf 'HOLDFAST_VIRTUALIZATION=%s\n' "$(systemd-detect-virt 2>/dev/null)"
