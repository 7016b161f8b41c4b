package vhost

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"postoffice/internal/account"
	"postoffice/internal/disk"
)

const othersWrite = 0o022 // the mode's bits for group and others

// openDir goes to the directory of a domain. Nobody but root and the domain's owner
// may own what leads there, or write there.
func openDir(path string, owner account.Account) (*disk.Walk, error) {
	w, err := disk.WalkTo(path, nil)
	if err != nil {
		return nil, missing(err, path, owner)
	}
	if err := checkWay(w.Steps, owner); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// missing says what to do where a directory can't be opened.
func missing(err error, path string, owner account.Account) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: make it, with its files, by postoffice vdomain add, or for %s by hand as vhosts(7) says", err, owner.Name)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: the vhost-user must be able to read it: chgrp it to that user's group, and chmod 2750 %s", err, path)
	}
	return err
}

// checkWay says why a directory, or what leads there, may be somebody else's doing.
// Above it, where the sticky bit is set nobody takes away what others have.
func checkWay(way []disk.Step, owner account.Account) error {
	for i, s := range way {
		last := i == len(way)-1
		if s.Info.UID != 0 && s.Info.UID != owner.UID {
			return fmt.Errorf("%s belongs to uid %d, want %s, whom domains.cf names, or root: chown it", s.Path, s.Info.UID, owner.Name)
		}
		if s.Info.Mode&fs.ModeSymlink != 0 || !last && s.Info.Mode&fs.ModeSticky != 0 {
			continue
		}
		if may := s.Info.Mode.Perm() & othersWrite; may != 0 && !(may == 0o020 && s.Info.GID == 0) {
			return fmt.Errorf("others than %s may write in %s (%s): chmod go-w it", owner.Name, s.Path, disk.ModeText(s.Info.Mode))
		}
	}
	return nil
}

// openFile opens a file of a domain.
func openFile(dir *disk.Walk, path string, owner account.Account) (*os.File, disk.Info, error) {
	f, err := dir.OpenFile(filepath.Base(path))
	switch {
	case errors.Is(err, syscall.ELOOP):
		return nil, disk.Info{}, fmt.Errorf("%s is a symbolic link: put the file itself there", path)
	case errors.Is(err, syscall.ENXIO): // a socket
		return nil, disk.Info{}, fmt.Errorf("%s is no regular file: put one in its place", path)
	case err != nil:
		return nil, disk.Info{}, missing(err, path, owner)
	}
	fi, err := f.Stat()
	if err == nil {
		err = checkFile(disk.InfoOf(fi), path, owner)
	}
	if err != nil {
		f.Close()
		return nil, disk.Info{}, err
	}
	return f, disk.InfoOf(fi), nil
}

// checkFile says why a file of a domain does not count.
func checkFile(info disk.Info, path string, owner account.Account) error {
	switch {
	case !info.Mode.IsRegular():
		return fmt.Errorf("%s is no regular file: put one in its place", path)
	case info.UID != 0 && info.UID != owner.UID:
		return fmt.Errorf("%s belongs to uid %d, want %s, whom domains.cf names, or root: chown it", path, info.UID, owner.Name)
	case info.Mode.Perm()&othersWrite != 0:
		return fmt.Errorf("others than %s may write %s (%s): chmod go-w it", owner.Name, path, disk.ModeText(info.Mode))
	case info.Nlink != 1:
		return fmt.Errorf("%s has %d names, and may be meant for something else by another of them: put a file of its own there", path, info.Nlink)
	}
	return nil
}
