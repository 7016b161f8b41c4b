#!/.machine/busybox sh
# Process 1 of a machine: makes what a running system has, and becomes systemd where the
# machine is to have it. Then, as a unit of systemd's or by itself, it runs .machine/run
# with the output on the second console, and says there with what code that ended. busybox
# is the machine's own, whatever its root has.
busybox=/.machine/busybox
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8

start() {
	$busybox mkdir -p /proc /sys /run /tmp /dev/pts /dev/shm
	$busybox mount -t proc proc /proc
	$busybox mount -t sysfs sys /sys
	$busybox mount -t devpts -o ptmxmode=666 devpts /dev/pts
	$busybox mount -t tmpfs -o mode=1777 none /dev/shm
	$busybox mount -t tmpfs -o mode=755 none /run
	$busybox mount -t tmpfs -o mode=1777 none /tmp
	$busybox mount -t cgroup2 cgroup2 /sys/fs/cgroup
	$busybox mount -t securityfs securityfs /sys/kernel/security
	for module in /.machine/module*.ko; do
		[ ! -e "$module" ] || $busybox insmod "$module"
	done
	$busybox ip link set lo up
	[ "${role-}" = systemd ] || return
	$busybox mkdir -p /run/systemd/system
	cat >/run/systemd/system/machine.service <<-UNIT
		[Service]
		Type=oneshot
		ExecStart=/.machine/init run
		StandardOutput=null
		StandardError=null
	UNIT
	exec /lib/systemd/systemd --unit=machine.service --log-target=null --show-status=0
}

[ "${1-}" = run ] || start
exec >/dev/tty1 2>&1 </dev/null
$busybox stty -F /dev/tty1 -opost
/bin/sh /.machine/run
code=$?
echo
echo "exit $code"
$busybox stty -F /dev/tty1 opost # which waits until all has been written
echo o >/proc/sysrq-trigger
$busybox sleep 60
