package server

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"postoffice/applets/cmdline"
	"postoffice/applets/service"
	"postoffice/applets/sysexits"
	"postoffice/internal/disk"
	"postoffice/spool"
	"postoffice/spool/maildrop"
)

// remedy is what to do about an error with a directory or a port of ours, and
// the exit code that it means.
type remedy struct {
	is   error
	code int
	hint string
}

// withRemedy gives err the code and hint of the first that fits; the last fits
// everything.
func withRemedy(err error, all []remedy) error {
	for _, r := range all {
		if r.is == nil || errors.Is(err, r.is) {
			return cmdline.ExitWith(r.code, err, r.hint)
		}
	}
	return err
}

// queueDirError is an error with the queue: it may be on a file system that is
// mounted soon, and who submits a message is to try again.
func queueDirError(dir string, err error) error {
	return dirError("queue-dir", dir, sysexits.TempFail, err)
}

// runDirError is an error with the run directory.
func runDirError(dir string, err error) error {
	return dirError("run-dir", dir, sysexits.CantCreate, err)
}

// dirError is an error with the directory that an option names, which ends with
// code where it is neither a matter of rights nor of another server.
func dirError(option, dir string, code int, err error) error {
	says := "option " + option + " says where it is"
	return withRemedy(err, []remedy{
		{service.ErrRunning, sysexits.TempFail, "end it first, as with kill $(cat " + filepath.Join(dir, "postoffice.pid") + "), or give this server another " + option + ", queue-dir and listen"},
		{spool.ErrFull, sysexits.TempFail, "make room there: df -h and df -i on " + dir + " show how much there is"},
		{maildrop.ErrForeign, sysexits.NoPerm, "give the directory itself to who owns the queue: chown --reference=" + dir + " " + filepath.Join(dir, maildrop.Dir)},
		{spool.ErrForeign, sysexits.NoPerm, "it must be the server's alone: chown and chmod it so if it is a queue of ours; else " + says},
		{disk.ErrNoSync, code, "a power cut could lose mail there: use a local file system that can sync directories, such as ext4, XFS or Btrfs; " + says},
		{fs.ErrNotExist, code, "the directory above it must be there: mkdir -p " + filepath.Dir(dir) + "; or " + says},
		{syscall.EROFS, code, "its file system is read-only: mount it for writing; or " + says},
		{syscall.ENOTDIR, code, "something in its path is no directory; " + says},
		{fs.ErrPermission, sysexits.NoPerm, notOurs(says)},
		{nil, code, says},
	})
}

// notOurs is what to do where our user may not write.
func notOurs(says string) string {
	if os.Getuid() == 0 {
		return "something keeps even root from it, such as a security policy; " + says
	}
	return fmt.Sprintf("uid %d may not write there: start it as root, or with a configuration of your own, as the last example of postoffice.cf(5)", os.Getuid())
}

// portError is an error with what option listen names.
func portError(err error) error {
	if unknown := (*net.DNSError)(nil); errors.As(err, &unknown) {
		if _, none := net.InterfaceByName(unknown.Name); none == nil {
			return cmdline.ExitWith(sysexits.OSErr, err, unknown.Name+" is an interface: give its address, which ip address shows, as in 192.0.2.1:25")
		}
		return cmdline.ExitWith(sysexits.OSErr, err, "the name must be in /etc/hosts or the DNS when the server starts; an address, such as 192.0.2.1:25, needs neither")
	}
	return withRemedy(err, []remedy{
		{syscall.EADDRINUSE, sysexits.OSErr, "ss -ltnp shows who holds a port; option listen changes ours"},
		{syscall.EADDRNOTAVAIL, sysexits.OSErr, "no interface has that address now (ip address shows those that are there); option listen=:25 takes all of them, also later ones"},
		{fs.ErrPermission, sysexits.OSErr, "ports below 1024 are root's: start it as root, or choose another, as with -o listen=127.0.0.1:2525"},
		{nil, sysexits.OSErr, "option listen says where the server listens"},
	})
}
