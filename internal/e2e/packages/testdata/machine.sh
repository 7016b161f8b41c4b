# machine.sh DIR: this machine's own root with what is written in memory, started by
# systemd, in namespaces that the caller has made. DIR/guest.sh is run there as a unit,
# with its output in DIR/out, and then systemd ends.
set -eu
dir=$1
mount --make-rprivate /
ip link set lo up
mkdir "$dir/memory"
mount -t tmpfs -o mode=755 none "$dir/memory"
cd "$dir/memory"
mkdir top work root
mount -t overlay -o lowerdir=/,upperdir=top,workdir=work none root
cd root
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 none run
mount -t tmpfs -o mode=1777 none tmp
mount -t tmpfs -o mode=755 none dev
for name in null zero full random urandom tty; do
	: >dev/$name
	mount --bind /dev/$name dev/$name
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mkdir -p ".$dir"
mount --bind "$dir" ".$dir"
rm -rf etc/systemd/system etc/rc?.d/S* etc/postoffice.cf etc/aliases usr/sbin/policy-rc.d
mkdir etc/systemd/system
cat >etc/systemd/system/guest.service <<UNIT
[Unit]
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=oneshot
ExecStart=/bin/sh -eu $dir/guest.sh
StandardOutput=file:$dir/out
StandardError=inherit
UNIT
echo 0123456789abcdef0123456789abcdef >etc/machine-id
hostname box.example
mkdir -p mnt
pivot_root . mnt
cd /
umount -l /mnt
container=other exec /lib/systemd/systemd --unit=guest.service --log-target=null --show-status=0 </dev/null
