#!/bin/bash
# Become a real systemd as PID 1 over a throw-away copy of this machine's root.
#
#   systemd_boot.sh FOLDER SHARED [VISIBLE...]
#
# Runs as the first process of new pid, mount, uts, ipc and cgroup namespaces, as root. FOLDER is an
# empty folder for our mounts, SHARED one that both sides may write, VISIBLE are folders that must be
# seen inside as they are outside (read-only), because /tmp and /run inside are others.
set -euo pipefail
folder=$1 shared=$2
shift 2

mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$folder"
mkdir "$folder"/{upper,work,root}
root=$folder/root
mount -t overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" overlay "$root"

# What systemd could reach through to the machine is fresh or read-only.
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
# A /dev of its own: journald puts a link there.
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for node in null zero full random urandom tty; do
    touch "$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir "$root"/dev/{pts,shm}
mount -t devpts -o newinstance,mode=620,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"

for path in "$@"; do
    mkdir -p "$root$path"
    mount --bind "$path" "$root$path"
    mount -o remount,bind,ro "$root$path"
done
mkdir -p "$root$shared"
mount --bind "$shared" "$root$shared"

# Only what we put there is enabled, whatever this machine has enabled for itself.
units=$root/etc/systemd/system
mount -t tmpfs -o mode=755 tmpfs "$units"
for unit in kmod-static-nodes systemd-binfmt systemd-firstboot systemd-hwdb-update \
    systemd-journal-flush systemd-machine-id-commit systemd-modules-load systemd-random-seed \
    systemd-remount-fs systemd-sysctl systemd-sysusers systemd-tmpfiles-setup \
    systemd-tmpfiles-setup-dev systemd-udevd systemd-udev-trigger systemd-update-utmp; do
    ln -s /dev/null "$units/$unit.service"
done
ln -s /dev/null "$units/proc-sys-fs-binfmt_misc.automount"
printf '%s\n' '[Unit]' 'Description=What a service may rely on, and nothing else' \
    'DefaultDependencies=no' 'Requires=sysinit.target' 'Wants=dbus.socket' \
    'After=sysinit.target dbus.socket' > "$units/tests.target"
mkdir -p "$root/run/systemd/journald.conf.d"
printf '%s\n' '[Journal]' 'Storage=volatile' 'RateLimitIntervalSec=0' \
    > "$root/run/systemd/journald.conf.d/tests.conf"

# pivot_root and not chroot: in a chroot nobody may make a user namespace, outside of it they may.
cd "$root"
pivot_root . .
umount --lazy .
# As container managers leave it: systemd mounts credentials in a namespace of a child, to be seen.
mount --make-rshared /
exec /usr/bin/env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=tests.target --log-target=journal --show-status=no
