#!/bin/sh
# Fills the empty folder $1 with a stock server of the system $2 from its mirror
# $3; $4 is a mirror of Debian's. It is minbase plus what the installer and the
# cloud images put on every server. Docker, firewall rules and hardening are left
# to the deploy: it is them that the lab is there to try. A change of this file
# is a change of the recipe, and so makes new images.
set -eu
root=$1
system=$2
mirror=$3
debian=$4
packages=systemd,systemd-sysv,libpam-systemd,dbus,openssh-server,sudo,ca-certificates,iproute2,iputils-ping,nftables,kmod,procps,logrotate,python3-minimal
components=main
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# Ubuntu's keys, where this machine has none: Debian has a package of them, which
# apt checks as any other.
ubuntu_keyring() {
    keyring=/usr/share/keyrings/ubuntu-archive-keyring.gpg
    [ ! -e "$keyring" ] || return 0
    apt=$root.apt
    mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial" "$apt/keyring"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $debian trixie main" >"$apt/sources.list"
    set -- -q -o APT::Sandbox::User=root -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State="$apt/state" -o Dir::Cache="$apt/cache" -o Acquire::Languages=none -o APT::Update::Error-Mode=any
    apt-get "$@" update
    (cd "$apt" && apt-get "$@" download ubuntu-keyring)
    dpkg-deb -x "$apt"/ubuntu-keyring_*.deb "$apt/keyring"
    keyring=$(find "$apt/keyring/usr/share/keyrings" -name 'ubuntu-archive-keyring.*' ! -name '*removed*' | head -n 1)
}

# gutsy is what debootstrap calls the way that all of Ubuntu's releases since
# then are made; it lacks links to it for those that are younger than itself.
case $system in
debian-13) suite=trixie script= ;;
debian-12) suite=bookworm script= ;;
ubuntu-24.04) suite=noble script=gutsy ;;
ubuntu-22.04) suite=jammy script=gutsy ;;
*)
    echo "no recipe for $system" >&2
    exit 64
    ;;
esac
case $system in
ubuntu-*)
    # Of the tasks minimal, standard and cloud-image what a deploy meets.
    packages=$packages,ufw,unattended-upgrades,systemd-timesyncd
    components=main,universe
    ubuntu_keyring
    ;;
esac

debootstrap --foreign --variant=minbase --components="$components" --keyring="$keyring" --include="$packages" \
    "$suite" "$root" "$mirror" ${script:+"/usr/share/debootstrap/scripts/$script"}
rm -rf "$root.apt"

# Now the packages' own scripts run. /proc/sys is the kernel of this machine, to
# which Ubuntu's procps would give Ubuntu's settings: so it is read-only for them,
# as a mount of its own inside /proc, which keeps debootstrap from replacing it.
[ ! -L "$root/proc" ] || rm "$root/proc"
mkdir -p "$root/proc"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
guarded() {
    [ -e "$root/proc/sys/kernel/hostname" ] && [ ! -w "$root/proc/sys/kernel/hostname" ] && return
    echo "the settings of this machine's kernel are open to the packages of $system" >&2
    exit 78
}
guarded
chroot "$root" /debootstrap/debootstrap --second-stage
guarded
umount -R "$root/proc"

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

# As the images of providers do: cloud-init lets people in by password where
# the one who rents the server has chosen one, and ufw is on.
case $system in
ubuntu-*)
    (umask 077 && echo 'PasswordAuthentication yes' >"$root/etc/ssh/sshd_config.d/50-cloud-init.conf")
    chroot "$root" ufw allow OpenSSH
    sed -i 's/^ENABLED=no/ENABLED=yes/' "$root/etc/ufw/ufw.conf"
    ;;
esac
