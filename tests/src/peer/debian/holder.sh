#!/bin/sh
# Holds a Debian root: holder.sh ROOT NAME boot|chroot [QEMU]. Everything is mounted in namespaces of its own and
# gone with them. `boot` starts its systemd as PID 1, below control groups of the name; `chroot` waits. A foreign
# root has QEMU, which is registered in a user namespace of its own: the kernel keeps one list of formats for each.
set -e
export root=$1 mode=$3 qemu=$4

if [ -n "$qemu" ]; then
	# All users of the root are those of this machine; only from outside more than one may be named.
	outside=$(readlink "/proc/$$/ns/user")
	(
		while [ "$(readlink "/proc/$$/ns/user")" = "$outside" ]; do sleep 0.1; done
		echo 0 0 65536 >"/proc/$$/uid_map"
		echo 0 0 65536 >"/proc/$$/gid_map"
	) &
elif [ "$mode" = boot ]; then
	for tree in /sys/fs/cgroup /sys/fs/cgroup/*; do
		[ -e "$tree/cgroup.procs" ] || continue
		mkdir -p "$tree/$2"
		echo $$ >"$tree/$2/cgroup.procs" 2>/dev/null || true
	done
fi

export inside='
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
ip link set lo up || true
if [ -n "$qemu" ]; then
	mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
	cat "$qemu" >/proc/sys/fs/binfmt_misc/register
else
	mount --bind "$root/proc/sys" "$root/proc/sys"
	mount -o remount,bind,ro "$root/proc/sys"
	# Read-only: a second udev would set up the devices of this machine.
	mount -t sysfs -o ro sysfs "$root/sys"
	if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
		mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
	elif [ "$mode" = boot ]; then
		mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs/cgroup"
		for tree in /sys/fs/cgroup/*; do
			name=${tree##*/}
			mkdir "$root/sys/fs/cgroup/$name"
			case $name in
			unified) mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup/$name" ;;
			systemd) mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/$name" ;;
			*) mount -t cgroup -o "$name" cgroup "$root/sys/fs/cgroup/$name" ;;
			esac
		done
	fi
fi
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
	: >"$root/dev/$device"
	mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
: >"$root/run/held"
if [ "$mode" = boot ]; then
	exec env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin unshare --root="$root" /lib/systemd/systemd --system --unit=multi-user.target
fi
# What loses its parent is buried here.
exec unshare --root="$root" sh -c "while :; do sleep 1; done"
'
set -- unshare --mount --pid --net --ipc --uts --cgroup --fork --kill-child sh -ec "$inside"
if [ -n "$qemu" ]; then
	set -- unshare --user sh -ec 'while ! grep -q . /proc/self/gid_map; do sleep 0.1; done; exec "$@"' sh "$@"
fi
exec "$@"
