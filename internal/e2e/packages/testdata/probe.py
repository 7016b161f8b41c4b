#!/usr/bin/python3
"""What an ordinary user's program can do here: a line for each, with yes or no."""
import ctypes, errno, mmap, os, socket, subprocess

libc = ctypes.CDLL(None, use_errno=True)
AS_ROOT = ["/usr/local/bin/asroot", "setpriv", "--reuid=0", "--regid=0", "--clear-groups"]


def runs(*argv):
    return subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def as_root(*argv):
    return runs(*AS_ROOT, *argv)


def opens(*kind):
    try:
        socket.socket(*kind).close()
        return True
    except OSError:
        return False


def syscall(number, *args):
    """Whether a call that can't succeed fails for its arguments, not for a filter."""
    libc.syscall(number, *args)
    return ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS)


def child(code):
    return as_root("/usr/bin/python3", "-c", "import ctypes,sys; l=ctypes.CDLL(None,use_errno=True); " + code + "; sys.exit(ctypes.get_errno() in (1, 38))")


def jit():
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()
    return True


def local_net():
    socket.create_connection(("127.0.0.1", 25), 5).close()
    return True


def caps():
    out = subprocess.run(AS_ROOT + ["grep", "CapEff", "/proc/self/status"], stdout=subprocess.PIPE).stdout
    return out.split()[-1].decode() if out else "none"


def made_set_gid():
    name = os.path.expanduser("~/set-gid-%d" % os.getpid())
    open(name, "w").close()
    return runs("chmod", "2755", name)


PROBES = [
    ("be root by a set-id program", lambda: as_root("true")),
    ("all capabilities as root", caps),
    ("see /tmp", lambda: os.path.exists("/tmp/mark")),
    ("see its home", lambda: os.path.exists("/home/alice/mark")),
    ("write /usr as root", lambda: as_root("touch", "/usr/mark")),
    ("write /etc as root", lambda: as_root("touch", "/etc/mark")),
    ("use a device of its group", lambda: runs("sh", "-c", ": </dev/probe")),
    ("make code at run time", jit),
    ("choose a personality", lambda: runs("setarch", "-R", "true")),
    ("run a program for 32 bits", lambda: runs("/usr/local/bin/exit32")),
    ("make a set-gid file", made_set_gid),
    ("make a user namespace", lambda: runs("unshare", "-Ur", "true")),
    ("make a mount namespace", lambda: as_root("unshare", "-m", "true")),
    ("make a network namespace", lambda: as_root("unshare", "-n", "true")),
    ("make a process namespace", lambda: as_root("unshare", "-p", "true")),
    ("make an IPC namespace", lambda: as_root("unshare", "-i", "true")),
    ("make a host name namespace", lambda: as_root("unshare", "-u", "true")),
    ("make a cgroup namespace", lambda: as_root("unshare", "-C", "true")),
    ("see others' processes", lambda: os.access("/proc/1/stat", os.R_OK)),
    ("see the load", lambda: os.access("/proc/loadavg", os.R_OK)),
    ("see kernel modules", lambda: os.path.exists("/usr/lib/modules/mark")),
    ("name the machine as root", lambda: as_root("hostname", socket.gethostname())),
    ("mount where all see it", lambda: as_root("sh", "-c", '[ "$(readlink /proc/self/ns/mnt)" = "$(readlink /proc/1/ns/mnt)" ]')),
    ("see the clock's state", lambda: libc.adjtimex(ctypes.create_string_buffer(512)) >= 0),
    ("read the kernel's log as root", lambda: as_root("dmesg")),
    ("set a kernel parameter as root", lambda: as_root("sh", "-c", "cat /proc/sys/kernel/printk >/proc/sys/kernel/printk")),
    ("make a control group as root", lambda: as_root("sh", "-c", "mkdir /sys/fs/cgroup/mark$$ && rmdir /sys/fs/cgroup/mark$$")),
    ("run in real time as root", lambda: as_root("chrt", "-f", "1", "true")),
    ("open an IPv4 socket", lambda: opens(socket.AF_INET)),
    ("open an IPv6 socket", lambda: opens(socket.AF_INET6)),
    ("open a unix socket", lambda: opens(socket.AF_UNIX)),
    ("open a netlink socket", lambda: opens(socket.AF_NETLINK, socket.SOCK_RAW)),
    ("open a socket of the kernel's ciphers", lambda: opens(socket.AF_ALG, socket.SOCK_SEQPACKET)),
    ("open a packet socket as root", lambda: as_root("/usr/bin/python3", "-c", "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)")),
    ("reach this machine's network", local_net),
    ("see who owns files", lambda: os.stat("/etc/passwd").st_uid == 0),
    ("trace its own programs", lambda: runs("strace", "-o", "/dev/null", "true")),
    ("be nice", lambda: runs("nice", "-n", "19", "sh", "-c", "[ $(nice) = 19 ]")),
    ("limit itself", lambda: runs("prlimit", "--nofile=64", "true")),
    ("choose its processor", lambda: runs("taskset", "1", "true")),
    ("change the table of segments", lambda: libc.syscall(154, 0, ctypes.create_string_buffer(64), 64) >= 0),
    ("ask for file systems by number", lambda: libc.syscall(139, 3) > 0),
    ("swap as root", lambda: child("l.syscall(168, b'/nowhere')")),
    ("load a kernel module as root", lambda: child("l.syscall(313, -1, b'', 0)")),
    ("reboot as root", lambda: child("l.syscall(169, 1, 2, 3, 0)")),
    ("reach ports of devices as root", lambda: child("l.syscall(173, 0, 1, 0)")),
    ("change root as root", lambda: as_root("/usr/sbin/chroot", "/", "true")),
]

for name, can in PROBES:
    try:
        result = can()
    except Exception:
        result = False
    print(name + ":", {True: "yes", False: "no"}.get(result, result))
