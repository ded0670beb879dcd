# The first program of a lab server; it hands over to systemd. Arguments: the
# server's name, its address, its IPv6 address or "", and the lines of its
# resolv.conf.
#
# /proc/sys outside of net is the kernel of the machine that the lab runs on. A
# hardening run would change that machine, some keys until its next reboot. So
# before anything else runs, each of those folders is hidden under a copy in
# memory, whose keys are plain files; and that is proved, or the server does
# not start.
set -eu
name=$1
address=$2
address6=$3
resolv=$4

# The engine starts a server again that has ended with any other status.
refuse() {
    echo "lab server $name refuses to start: $1" >&2
    exit 0
}

# Docker mounts these three from the machine; a server owns plain files, which
# can be replaced by rename.
for file in /etc/resolv.conf /etc/hosts /etc/hostname; do
    umount "$file"
done
chmod 644 /etc/resolv.conf /etc/hosts /etc/hostname
[ -s /etc/resolv.conf ] || printf '%s\n' "$resolv" >/etc/resolv.conf
[ -s /etc/hostname ] || printf '%s\n' "$name" >/etc/hostname
[ -s /etc/hosts ] || printf '127.0.0.1 localhost\n::1 localhost ip6-localhost\n%s %s\n' "$address" "$name" >/etc/hosts

# Docker puts NAT rules for its own name server here; a bare server has none.
nft flush ruleset

# The engine turns IPv6 off in networks that it does not number itself.
if [ -n "$address6" ]; then
    link=$(ip -o -4 address show to "$address" | { read -r _ link _ && echo "$link"; })
    for scope in all default lo "$link"; do
        echo 0 >"/proc/sys/net/ipv6/conf/$scope/disable_ipv6"
    done
    ip address replace "$address6/64" dev "$link" nodad
fi

# The machine's own keys stay in view, read-only, at $real until the proof is done.
real=/run/real
mkdir -p "$real" /run/copy
mount --bind /proc/sys "$real"
mount -o remount,bind,ro "$real"

shadow() {
    mount -t tmpfs -o size=4m,mode=0755 tmpfs /run/copy
    # Some keys can only be written, others fail when read: those stay empty.
    cp -R --preserve=mode "/proc/sys/$1/." /run/copy 2>/dev/null || :
    find "/proc/sys/$1" -type f | while read -r key; do
        copy=/run/copy${key#"/proc/sys/$1"}
        [ -e "$copy" ] || : >"$copy"
    done
    # A file system of its own: systemd would mount the machine's over the folder.
    rm -rf /run/copy/binfmt_misc
    mount --bind /run/copy "/proc/sys/$1"
    umount /run/copy
}

# prove DIR: it is a file system in memory, and a value written to one of its
# keys does not arrive in the machine's kernel.
prove() {
    [ "$(stat -f -c %T "/proc/sys/$1")" = tmpfs ] || refuse "/proc/sys/$1 is still the machine's kernel"
    key=$(find "/proc/sys/$1" -type f -perm -u+w | head -n 1)
    [ -n "$key" ] || return 0
    own=$(cat "$key")
    echo 7353 >"$key"
    if [ "$(cat "$real/${key#/proc/sys/}" 2>/dev/null)" = 7353 ]; then
        echo "$own" >"$key"
        refuse "a value written to $key arrived in the machine's kernel"
    fi
    printf '%s\n' "$own" >"$key"
}

for dir in /proc/sys/*; do
    dir=${dir#/proc/sys/}
    [ "$dir" != net ] || continue
    shadow "$dir"
    prove "$dir"
done
# This one makes a new value for each reader, which no file can; writing it is
# not possible anyway. Each boot has an id of its own.
mount --bind "$real/kernel/random/uuid" /proc/sys/kernel/random/uuid
cat /proc/sys/kernel/random/uuid >/proc/sys/kernel/random/boot_id
printf '%s\n' "$name" >/proc/sys/kernel/hostname
umount "$real"
rmdir "$real" /run/copy

# Keys of Debian's kernel that the machine's may lack, at Debian's defaults.
while read -r key value; do
    mkdir -p "$(dirname "/proc/sys/$key")"
    [ -e "/proc/sys/$key" ] || printf '%s\n' "$value" >"/proc/sys/$key"
done <<KEYS
kernel/kexec_load_disabled 0
kernel/modules_disabled 0
kernel/sysrq 438
kernel/yama/ptrace_scope 0
KEYS

# systemd-sysctl does not truncate what it writes to, since no kernel key needs
# it: in a plain file "438" over which "0" is written would end as two lines.
mkdir -p /run/lab /run/systemd/system/systemd-sysctl.service.d
cat >/run/lab/first-lines <<'SCRIPT'
find /proc/sys -path /proc/sys/net -prune -o -type f -perm -u+w -size +0 -print | while read -r key; do
    IFS= read -r line <"$key" && printf '%s\n' "$line" >"$key"
done
SCRIPT
printf '[Service]\nExecStartPost=/bin/sh /run/lab/first-lines\n' >/run/systemd/system/systemd-sysctl.service.d/lab.conf

# What fstab(5) says of /tmp is for systemd to mount, as on a machine.
if grep -q '^[^#[:space:]][^[:space:]]*[[:space:]]*/tmp[[:space:]]' /etc/fstab; then
    umount /tmp
fi

# A cgroup2 mount of its own lets systemd boot whichever version the machine
# uses; the rest of /sys is the machine's and stays read-only.
mount -o remount,rw /sys
umount -R /sys/fs/cgroup
mkdir -p /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mount -o remount,bind,ro /sys

# Only those keys that are missing are made.
ssh-keygen -A >/dev/null
exec /lib/systemd/systemd
