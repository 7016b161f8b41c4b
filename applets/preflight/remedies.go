package preflight

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
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

// QueueDirError is an error with the queue: it may be on a file system that is
// mounted soon, and who submits a message is to try again.
func QueueDirError(dir string, err error) error {
	return dirError("queue-dir", dir, sysexits.TempFail, err)
}

// RunDirError is an error with the run directory.
func RunDirError(dir string, err error) error {
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
		{spool.ErrForeign, sysexits.NoPerm, "it must be the server's alone: if it is a queue of ours, chmod 700 " + strings.Join(spool.Dirs(dir), " ") + ", and chown --reference=" + dir + " what is another's of these; else " + says},
		{disk.ErrNoSync, code, "a power cut could lose mail there: use a local file system that can sync directories, such as ext4, XFS or Btrfs; " + says},
		{service.ErrNoLocks, sysexits.Config, "it may be on a local file system or in memory, as /run is: " + says},
		{fs.ErrNotExist, code, "the directory above it must be there: mkdir -p " + filepath.Dir(dir) + "; or " + says},
		{syscall.EROFS, code, "its file system is read-only: mount it for writing; or " + says},
		{syscall.ENOTDIR, code, "something in its path is no directory; " + says},
		{fs.ErrPermission, sysexits.NoPerm, keptOut(dir, says)},
		{nil, code, says},
	})
}

// keptOut is what to do where a directory can't be reached or made.
func keptOut(dir, says string) string {
	if closed := closedDir(filepath.Dir(dir)); closed != "" {
		return closed + " lets not everybody through: chmod a+x " + closed + " does; or " + says
	}
	return notOurs(says)
}

// LogError is an error with a place for the log.
func LogError(sink string, err error) error {
	const says = "option log says where it goes"
	name, _ := strings.CutPrefix(sink, "file:")
	return withRemedy(err, []remedy{
		{fs.ErrNotExist, sysexits.CantCreate, "the directory above it must be there: mkdir -p " + filepath.Dir(name) + "; " + says},
		{syscall.EROFS, sysexits.CantCreate, "its file system is read-only: mount it for writing; " + says},
		{fs.ErrPermission, sysexits.CantCreate, notOurs(says)},
		{nil, sysexits.CantCreate, says},
	})
}

// notOurs is what to do where our user may not write.
func notOurs(says string) string {
	if os.Getuid() == 0 {
		return "something keeps even root from it, such as a security policy; " + says
	}
	return fmt.Sprintf("uid %d may not write there: start it as root, or with a configuration of your own, as the last example of postoffice.cf(5)", os.Getuid())
}

// PortError is an error with what option listen names.
func PortError(err error) error {
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

// QueueDir says why a queue directory that is there can't be the queue of an account.
func QueueDir(dir string, owner service.User) error {
	info, err := os.Stat(dir) // root may have put a link there
	switch {
	case err != nil:
		return QueueDirError(dir, fmt.Errorf("look at the queue directory: %w", err))
	case !info.IsDir():
		return cmdline.ExitWith(sysexits.Config, fmt.Errorf("queue directory %s is not a directory", dir), "option queue-dir says where it is")
	case ownerOf(info) != owner.UID:
		return cmdline.ExitWith(sysexits.NoPerm, fmt.Errorf("queue directory %s belongs to uid %d, not to %s", dir, ownerOf(info), owner.Name),
			giveBack(dir, owner.Name)...)
	}
	return nil
}

func ownerOf(info os.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

// giveBack is how a queue that a restore, or chown -R, has given to another
// becomes the server's again. What lies in maildrop/ keeps its owners, who are
// its senders. Users make files there: one with two names may be anything.
func giveBack(dir, user string) []string {
	drops := filepath.Join(dir, maildrop.Dir)
	return []string{
		"if it is a queue of ours: find -H " + dir + " -path '" + drops + "/*' -o -exec chown -h " + user + ": {} +",
		"and, where the group was changed too: find " + drops + " -type f -links 1 -exec chgrp " + user + " {} +",
		"else option queue-dir says where it is",
	}
}
