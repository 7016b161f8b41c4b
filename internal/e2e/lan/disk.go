//go:build e2e

package lan

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Tmpfs mounts a small file system on a directory until the test ends.
func (h *Host) Tmpfs(dir, options string) {
	h.T.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		h.T.Fatal(err)
	}
	Sh(h.T, "mount", "-t", "tmpfs", "-o", options, "tmpfs", dir)
	h.T.Cleanup(func() { exec.Command("umount", "-l", dir).Run() })
}

// Fill fills the file system of dir to the last octet and returns what makes
// room again.
func (h *Host) Fill(dir string) (room func()) {
	h.T.Helper()
	name := filepath.Join(dir, "filler")
	f, err := os.Create(name)
	if err != nil {
		h.T.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 16; size > 0; size /= 2 {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			h.T.Fatal(err)
		}
	}
	return func() { os.Remove(name) }
}

// Btrfs mounts a btrfs of its own on a directory until the test ends. It copies
// on write, so that even an octet that is overwritten needs room; and it is the
// file system whose quota every kernel has that can mount it.
func (h *Host) Btrfs(dir string, mode os.FileMode, uid, gid int) {
	h.T.Helper()
	image := dir + ".img"
	Sh(h.T, "truncate", "-s", "128M", image)
	Sh(h.T, "mkfs.btrfs", "-q", "-f", image)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		h.T.Fatal(err)
	}
	Sh(h.T, "mount", "-o", "loop", image, dir)
	h.T.Cleanup(func() { exec.Command("umount", "-l", dir).Run() })
	os.Chown(dir, uid, gid)
	os.Chmod(dir, mode)
}

// Quota limits what a btrfs holds.
func (h *Host) Quota(dir, size string) {
	h.T.Helper()
	Sh(h.T, "btrfs", "quota", "enable", dir)
	Sh(h.T, "btrfs", "quota", "rescan", "-w", dir)
	Sh(h.T, "btrfs", "qgroup", "limit", size, "0/5", dir)
}

// Scratch is a directory of the host that belongs to a user.
func (h *Host) Scratch(name string, uid int) string {
	h.T.Helper()
	dir := h.Path(name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		h.T.Fatal(err)
	}
	if err := os.Chown(dir, uid, uid); err != nil {
		h.T.Fatal(err)
	}
	return dir
}

// Program writes a shell script that anybody may run.
func (h *Host) Program(name, text string) string {
	h.T.Helper()
	file := h.Path(name)
	WriteFile(h.T, file, "#!/bin/sh\n"+text)
	if err := os.Chmod(file, 0o755); err != nil {
		h.T.Fatal(err)
	}
	return file
}

// Script runs shell commands as an account of the host.
func (h *Host) Script(user, commands string) {
	h.T.Helper()
	if out, err := h.As(context.Background(), user, "sh", "-c", commands).CombinedOutput(); err != nil {
		h.T.Fatalf("as %s: %s: %v\n%s", user, commands, err, out)
	}
}
