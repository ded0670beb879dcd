# What is mounted now ("now", as in proc_mounts(5)), what fstab(5) mounts at the
# next boot, and the options of mount units, also of those that are generated.
sed 's/^/now /' /proc/self/mounts || exit
[ ! -e /etc/fstab ] || sed 's/^/fstab /' /etc/fstab
for unit in tmp.mount var-tmp.mount dev-shm.mount; do
    state=$(systemctl is-enabled "$unit" 2>/dev/null)
    case $state in
    enabled | static | generated) systemctl cat --no-pager "$unit" | sed -n "s/^Where=/unit Where=/p; s/^Options=/unit Options=/p" ;;
    esac
done
exit 0
