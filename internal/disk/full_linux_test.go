package disk_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"postoffice/internal/disk"
)

// TestFullDisk runs TestInSmallDisk in a mount namespace of its own, where it
// may mount a tmpfs of 64 KiB and 8 inodes without being root.
func TestFullDisk(t *testing.T) {
	small := t.TempDir()
	run := func(a *syscall.SysProcAttr) ([]byte, error) {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestInSmallDisk$", "-test.v")
		cmd.Env = append(os.Environ(), "SMALL_DISK="+small)
		cmd.SysProcAttr = a
		return cmd.CombinedOutput()
	}
	out, err := run(&syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	})
	if err != nil && len(out) == 0 { // no user namespaces here: only root can
		out, err = run(&syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS})
	}
	if err != nil || !bytes.Contains(out, []byte("PASS: TestInSmallDisk/portable")) {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestInSmallDisk does nothing unless TestFullDisk has started it.
func TestInSmallDisk(t *testing.T) {
	at := os.Getenv("SMALL_DISK")
	if at == "" {
		return
	}
	for name, real := range map[string]disk.FS{"OS": disk.OS(), "portable": disk.Portable()} {
		t.Run(name, func(t *testing.T) {
			if err := unix.Mount("tmpfs", at, "tmpfs", 0, "size=64k,nr_inodes=8"); err != nil {
				t.Fatal(err)
			}
			defer unix.Unmount(at, 0)
			d := must[disk.Dir](t)(real.OpenDir(at))
			defer d.Close()
			smallDisk(t, d)
		})
	}
}

func smallDisk(t *testing.T, d disk.Dir) {
	s := must[disk.Space](t)(d.Space())
	if s.Octets != 64<<10 || s.Inodes != 7 {
		t.Errorf("an empty disk of 64 KiB and 8 inodes, one used: %+v", s)
	}
	f := create(t, d, "a", "start")
	defer f.Close()
	n, err := f.Write(make([]byte, 100<<10)) // A29, A45
	wantErr(t, "write more than there is", err, syscall.ENOSPC)
	if i := must[disk.Info](t)(f.Stat()); i.Size != int64(5+n) || n == 0 || !disk.Full(err) {
		t.Errorf("%d octets written, the file has %d", n, i.Size)
	}
	must[int](t)(f.WriteAt([]byte("S"), 0)) // A31: overwriting needs no room
	wantErr(t, "sync", f.Sync(), nil)
	if s := must[disk.Space](t)(d.Space()); s.Octets != 0 {
		t.Errorf("a full disk: %+v", s)
	}
	wantErr(t, "cut back", f.Truncate(5), nil)
	if got := read(t, f); got != "Start" {
		t.Errorf("after cutting back: %q", got)
	}
	for i := range 6 {
		create(t, d, fmt.Sprint(i), "").Close()
	}
	_, err = d.Create("one more", 0o600)
	wantErr(t, "create without inodes", err, syscall.ENOSPC)
	if s := must[disk.Space](t)(d.Space()); s.Inodes != 0 {
		t.Errorf("no inodes: %+v", s)
	}
}

// TestFileLimit: RLIMIT_FSIZE cuts a write short, and the error has its errno.
func TestFileLimit(t *testing.T) {
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	for _, p := range places(t)[1:] {
		t.Run(p.name, func(t *testing.T) {
			d := must[disk.Dir](t)(p.fs.OpenDir(p.path))
			defer d.Close()
			f := create(t, d, "a", "12345")
			defer f.Close()
			if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 8, Max: old.Max}); err != nil {
				t.Fatal(err)
			}
			n, err := f.Write([]byte("6789"))
			m, errAt := f.WriteAt([]byte("789"), 6)
			if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
				t.Fatal(err)
			}
			wantErr(t, "write over the limit", err, syscall.EFBIG)
			wantErr(t, "overwrite over the limit", errAt, syscall.EFBIG)
			if got := read(t, f); n != 3 || m != 2 || got != "12345678" {
				t.Errorf("wrote %d and %d, the file has %q", n, m, got)
			}
		})
	}
}

// TestDescriptors: every open file is one descriptor, none outlives a failed
// call or an Exec.
func TestDescriptors(t *testing.T) {
	count := func() int { return len(must[[]os.DirEntry](t)(os.ReadDir("/proc/self/fd"))) }
	for _, p := range places(t)[1:] {
		before := count()
		d := must[disk.Dir](t)(p.fs.OpenDir(p.path))
		f := create(t, d, "a", "")
		if got := count() - before; got != 2 {
			t.Errorf("%s: a directory and a file are %d descriptors", p.name, got)
		}
		_, err := d.Create("a", 0o600)
		wantErr(t, "create again", err, fs.ErrExist)
		wantErr(t, "mkdir", d.Mkdir("sub", 0o700), nil)
		_, err = d.Open("sub", disk.ReadOnly)
		wantErr(t, "open a directory", err, disk.ErrNotRegular)
		names(t, d)
		for _, entry := range must[[]os.DirEntry](t)(os.ReadDir("/proc/self/fd")) {
			var fd int
			target, _ := os.Readlink("/proc/self/fd/" + entry.Name())
			if _, err := fmt.Sscan(entry.Name(), &fd); err != nil || (target != p.path && target != p.path+"/a") {
				continue
			}
			if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
				t.Errorf("%s stays open over exec: %v", target, err)
			}
		}
		wantErr(t, "close", errors.Join(f.Close(), d.Close()), nil)
		if got := count(); got != before {
			t.Errorf("%s: %d descriptors before, %d after", p.name, before, got)
		}
	}
}
