#!/bin/sh
# Fills the empty folder $1, from the mirror $2 if given, with a Debian 13 that
# has what the lab's images run for real: PostgreSQL, Redis, a registry, Caddy.
# What a container never uses is taken out, since these images travel to the
# servers over SSH. A change of this file is a change of the recipe.
set -eu
root=$1

debootstrap --variant=minbase \
  --include=busybox-static,ca-certificates,caddy,docker-registry,postgresql-17,redis-server \
  trixie "$@"

cd "$root"
# Packages are complete: neither apt nor dpkg nor perl is needed to run them.
rm -rf var/cache/* var/lib/apt var/lib/dpkg var/lib/postgresql var/lib/redis var/log/*
rm -rf usr/share/doc usr/share/man usr/share/info usr/share/locale usr/share/i18n usr/share/lintian \
  usr/share/perl* usr/share/bash-completion usr/share/bug usr/share/common-licenses usr/lib/apt usr/lib/dpkg
rm -rf usr/bin/perl* usr/bin/apt* usr/bin/dpkg* usr/bin/sqv usr/lib/*/perl* usr/lib/*/libperl.so* usr/lib/*/libapt* usr/lib/*/gconv
# Just-in-time compilation: 160 MB for nothing that a lab would notice.
rm -rf usr/lib/*/libLLVM* usr/lib/*/libz3* usr/lib/postgresql/17/lib/bitcode usr/lib/postgresql/17/lib/llvmjit*
# Health checks call it.
ln -s busybox usr/bin/wget
# The engine mounts its own.
rm -f etc/hostname etc/hosts etc/resolv.conf
: >etc/machine-id
find dev -mindepth 1 -delete
rm -rf tmp/* run/*
