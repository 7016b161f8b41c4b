//go:build e2e

package lan

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Hung is a file system that does not answer, as a home directory on a dead file
// server. It is one of FUSE's whose server is the test itself: when that ends,
// however it does, every call that hangs ends with an error.
type Hung struct {
	device *os.File
	uid    int
	named  bool
}

// Hang mounts a Hung on a directory until the test ends, or until Close. With named it
// says that there is a file of the user's with any name, and hangs when one is
// opened; otherwise it answers nothing at all.
func (h *Host) Hang(dir string, uid int, named bool) *Hung {
	h.T.Helper()
	exec.Command("modprobe", "-q", "fuse").Run() // built in, perhaps
	const flags = unix.O_RDWR | unix.O_CLOEXEC | unix.O_NONBLOCK
	fd, err := unix.Open("/dev/fuse", flags, 0)
	if err == unix.ENOENT && unix.Mknod(h.Path("fuse"), unix.S_IFCHR|0o600, int(unix.Mkdev(10, 229))) == nil {
		fd, err = unix.Open(h.Path("fuse"), flags, 0)
	}
	if err != nil {
		h.T.Fatalf("a file system that hangs: /dev/fuse: %v: load the kernel's module fuse", err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=40755,user_id=0,group_id=0,allow_other", fd)
	if err := unix.Mount("hung", dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		unix.Close(fd)
		h.T.Fatalf("mount a file system that hangs on %s: %v", dir, err)
	}
	f := &Hung{device: os.NewFile(uintptr(fd), "fuse"), uid: uid, named: named} // it can be waited for only now
	h.T.Cleanup(func() {
		f.Close()
		unix.Unmount(dir, unix.MNT_DETACH)
	})
	go f.serve(h.T)
	return f
}

// Close lets every call that hangs fail, and all that come.
func (f *Hung) Close() { f.device.Close() }

// The operations of FUSE that are answered (include/uapi/linux/fuse.h).
const (
	fuseLookup  = 1
	fuseForget  = 2
	fuseGetattr = 3
	fuseOpen    = 14
	fuseInit    = 26
	fuseOpendir = 27
	fuseForgets = 42
	fuseRoot    = 1 // the node of the mount point
)

// fuseIn is the header of a request, fuseAttr what it is told of a file.
type fuseIn struct {
	Len, Op               uint32
	Unique, Node          uint64
	UID, GID, PID, Unused uint32
}

type fuseAttr struct {
	Inode, Size, Blocks, Atime, Mtime, Ctime                   uint64
	AtimeNS, MtimeNS, CtimeNS, Mode, Nlink, UID, GID, Dev, Bsz uint32
	Flags                                                      uint32
}

// serve reads requests and answers some. Reading takes them from the kernel, so that
// whoever waits can't be killed, as with many a file server.
func (f *Hung) serve(t *testing.T) {
	buf := make([]byte, 1<<20)
	for {
		n, err := f.device.Read(buf)
		if errors.Is(err, syscall.EINTR) || errors.Is(err, syscall.ENOENT) {
			continue
		}
		if err != nil {
			return // closed
		}
		var in fuseIn
		if err := binary.Read(bytes.NewReader(buf[:n]), binary.NativeEndian, &in); err != nil {
			t.Errorf("a request of FUSE of %d octets", n)
			return
		}
		f.answer(in)
	}
}

func (f *Hung) answer(in fuseIn) {
	attr := fuseAttr{Inode: in.Node, Mode: unix.S_IFDIR | 0o755, Nlink: 2, UID: uint32(f.uid), GID: uint32(f.uid), Bsz: 4096}
	if in.Node != fuseRoot {
		attr.Mode, attr.Nlink, attr.Size = unix.S_IFREG|0o644, 1, 10
	}
	switch {
	case in.Op == fuseInit:
		f.reply(in, 0, [2]uint32{7, 31}, [2]uint32{}, [2]uint16{64, 48}, uint32(1<<17), uint32(1), [2]uint16{32, 0}, [8]uint32{})
	case !f.named, in.Op == fuseOpen, in.Op == fuseForget, in.Op == fuseForgets:
	case in.Op == fuseGetattr:
		f.reply(in, 0, uint64(3600), [2]uint32{}, attr)
	case in.Op == fuseLookup:
		attr.Inode, attr.Mode, attr.Nlink, attr.Size = 2, unix.S_IFREG|0o644, 1, 10
		f.reply(in, 0, uint64(2), uint64(0), uint64(3600), uint64(3600), [2]uint32{}, attr)
	case in.Op == fuseOpendir:
		f.reply(in, 0, uint64(0), [2]uint32{})
	default:
		f.reply(in, syscall.ENOSYS)
	}
}

// reply writes one answer; an error of that is the end of the mount.
func (f *Hung) reply(in fuseIn, errno syscall.Errno, values ...any) {
	var body bytes.Buffer
	for _, v := range values {
		binary.Write(&body, binary.NativeEndian, v)
	}
	var out bytes.Buffer
	binary.Write(&out, binary.NativeEndian, struct {
		Len    uint32
		Err    int32
		Unique uint64
	}{uint32(16 + body.Len()), -int32(errno), in.Unique})
	out.Write(body.Bytes())
	f.device.Write(out.Bytes())
}
