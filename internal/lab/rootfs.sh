#!/bin/sh
# Fills the empty folder $1 with a stock Debian 13 server from the mirror $2:
# minbase plus what Debian's installer and its cloud images put on every
# server. Docker, firewall rules and hardening are left to the deploy: it is
# them that the lab is there to try. A change of this file is a change of the
# recipe, and so makes a new image.
set -eu
root=$1
mirror=$2

debootstrap --variant=minbase \
    --include=systemd,systemd-sysv,libpam-systemd,dbus,openssh-server,sudo,ca-certificates,iproute2,iputils-ping,nftables,kmod,procps,logrotate,python3-minimal \
    trixie "$root" "$mirror"

# What must differ between two servers is made on their first boot.
rm -f "$root"/etc/ssh/ssh_host_*
rm -f "$root"/etc/hostname "$root"/etc/hosts "$root"/etc/resolv.conf
: >"$root/etc/machine-id"
rm -f "$root/var/lib/dbus/machine-id"

# The lab writes the package sources of each server, with the mirror of the day.
rm -f "$root/etc/apt/sources.list"
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/var/log/bootstrap.log

# A container has no terminal of its own, neither firmware nor a disk to trim;
# and the last four would mount parts of the machine's kernel.
for unit in getty.target console-getty.service systemd-pstore.service fstrim.timer \
    sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount sys-fs-fuse-connections.mount; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
