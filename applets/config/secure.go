package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxPath is the longest path of the default file, as the original has it.
const maxPath = 200

const (
	groupWrite = 0o020
	otherWrite = 0o002
	otherRead  = 0o004
)

// openDefault opens the file that every program reads and trusts. Nobody but
// root may be able to change it or any directory above it. The error is
// os.ErrNotExist or an *Error.
func openDefault(name string, _ int) (*os.File, error) {
	if why := badPath(name); why != "" {
		return nil, insecure(name, why)
	}
	real, err := filepath.EvalSymlinks(name)
	if err != nil {
		if _, gone := os.Lstat(name); errors.Is(err, fs.ErrNotExist) && gone != nil {
			return nil, os.ErrNotExist
		}
		return nil, nowhere(name, err)
	}
	for _, way := range []string{name, real} {
		if err := secureDirs(way); err != nil {
			return nil, err
		}
	}
	f, info, err := open(real)
	if err != nil {
		return nil, closed(name, err)
	}
	if why := notRoots(info); why != "" {
		f.Close()
		return nil, insecure(name, why)
	}
	return f, nil
}

// nowhere is the error for a file of which there is the name, but nothing that it
// leads to: it is not known what it would have said.
func nowhere(name string, err error) *Error {
	e := insecure(name, "can't stat: "+reason(err).Error())
	if to, linkErr := os.Readlink(name); linkErr == nil && errors.Is(err, fs.ErrNotExist) {
		e.Text = fmt.Sprintf("is a link to %s, which leads to nothing", to)
		e.Hint = "make or mount the file that is meant; or, for an empty configuration, rm " + name
	}
	return e
}

// forFew says why users' programs can't read the file that they all need, "" if they
// can.
func forFew(name string, mode fs.FileMode) string {
	if mode&otherRead != 0 {
		return ""
	}
	return fmt.Sprintf("%s: its mode is %v, and sendmail ends with 72 for whoever may not read it: %s", unreadText, mode.Perm(), closed(name, fs.ErrPermission).Hint)
}

// notRegular is why a directory, a pipe or a device is no configuration.
const notRegular = "not a regular file"

func badPath(name string) string {
	switch {
	case !filepath.IsAbs(name):
		return "its path doesn't begin with /"
	case len(name) >= maxPath:
		return "its path is too long"
	}
	return ""
}

// notRoots says why a file is not root's alone to write, "" if it is.
func notRoots(info fs.FileInfo) string {
	uid, gid := owner(info)
	switch {
	case !info.Mode().IsRegular():
		return notRegular
	case uid != 0:
		return fmt.Sprintf("its owner is uid %d, not root", uid)
	case info.Mode()&otherWrite != 0:
		return "everybody may write it"
	case gid != 0 && info.Mode()&groupWrite != 0:
		return fmt.Sprintf("group %d may write it", gid)
	}
	return ""
}

// secureDirs checks every directory above name up to the root.
func secureDirs(name string) error {
	for dir := filepath.Dir(name); ; dir = filepath.Dir(dir) {
		if why := openToOthers(dir); why != "" {
			return &Error{
				Kind:  ErrInsecure,
				Where: "[" + dir + "]" + strings.TrimPrefix(name, dir),
				Text:  "is not a secure path: " + why,
				Hint:  "a directory above " + filepath.Base(name) + " must be root's, and no one else may write to it",
			}
		}
		if dir == "/" || dir == "." {
			return nil
		}
	}
}

// openToOthers says why a directory isn't root's alone to write, "" if it is.
func openToOthers(dir string) string {
	info, err := os.Stat(dir)
	if err != nil {
		return "can't stat: " + reason(err).Error()
	}
	uid, gid := owner(info)
	switch {
	case !info.IsDir():
		return "not a directory"
	case uid != 0:
		return fmt.Sprintf("its owner is uid %d, not root", uid)
	case info.Mode()&otherWrite != 0:
		return "everybody may write to it"
	case gid != 0 && info.Mode()&groupWrite != 0 && info.Mode()&fs.ModeSticky == 0:
		return fmt.Sprintf("group %d may write to it", gid)
	}
	return ""
}

// openNamed opens a -C file, with the caller's own rights: it must be root's
// or the caller's, and no one else may be able to write it. /dev/null stands
// for a file that says nothing. The error is an *Error.
func openNamed(name string, uid int) (*os.File, error) {
	if name == os.DevNull {
		return nil, nil
	}
	f, info, err := open(name)
	if err != nil {
		return nil, notOpened(name, err)
	}
	if why := notMine(info, uid); why != "" {
		f.Close()
		return nil, insecure(name, why)
	}
	return f, nil
}

func notMine(info fs.FileInfo, uid int) string {
	fileUID, gid := owner(info)
	switch {
	case !info.Mode().IsRegular():
		return notRegular
	case fileUID != 0 && fileUID != uid:
		return fmt.Sprintf("its owner is uid %d, neither root nor you", fileUID)
	case info.Mode()&otherWrite != 0:
		return "everybody may write it"
	case gid != 0 && info.Mode()&groupWrite != 0:
		return fmt.Sprintf("group %d may write it", gid)
	}
	return ""
}

// open opens a file that may turn out to be anything, without waiting, and
// says what it is.
func open(name string) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// owner is who a file belongs to. In a user namespace an outsider counts as
// root: the two look the same there, and nobody in it can be either.
func owner(info fs.FileInfo) (uid, gid int) {
	st := info.Sys().(*syscall.Stat_t)
	uid, gid = int(st.Uid), int(st.Gid)
	if Outsider(uid) {
		return 0, 0
	}
	return uid, gid
}

// unreadText is what is wrong with a default file that is not for everybody.
const unreadText = "can't be read by everybody, as every program that sends mail needs it"

// closed is the error for the default file where the caller can't open it.
func closed(name string, err error) *Error {
	e := insecure(name, "can't open: "+reason(err).Error())
	if errors.Is(err, fs.ErrPermission) {
		e.Text = unreadText + ": " + reason(err).Error()
		e.Hint = "chmod go+r " + name
	}
	return e
}

// notOpened is the error for a -C file that the caller can't open.
func notOpened(name string, err error) *Error {
	e := &Error{Kind: unreadable(err), Where: name, Text: reason(err).Error()}
	if errors.Is(err, fs.ErrPermission) {
		e.Hint = "chmod go+r " + name + ", and the directories above it must let others through"
	}
	return e
}

func insecure(name, why string) *Error {
	if why == notRegular {
		return &Error{Kind: ErrInsecure, Where: name, Text: "is " + why, Hint: "put a file with options in its place, or nothing: without it each has its default"}
	}
	return &Error{
		Kind:  ErrInsecure,
		Where: name,
		Text:  "is not secure: " + why,
		Hint:  "chmod go-w " + name + ", and give it to root with chown, or keep it in a file of your own and name that with -C",
	}
}

// overflowUID is what the kernel shows for an owner who has no number in a user
// namespace: its default in /proc/sys/kernel/overflowuid.
const overflowUID = 65534

// Outsider reports whether uid stands for somebody outside our user namespace
// (user_namespaces(7)). No process in the namespace can be that user; root of the
// machine is among those who may.
func Outsider(uid int) bool {
	if uid != overflowUID {
		return false
	}
	text, err := os.ReadFile("/proc/self/uid_map") // absent where there are no namespaces
	return err == nil && strings.Join(strings.Fields(string(text)), " ") != "0 0 4294967295"
}
