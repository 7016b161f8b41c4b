package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"postoffice/applets/install/plan"
)

// carry does a step. What a program of it says though it has not failed goes to told.
func (r root) carry(ctx context.Context, s *plan.Step, told io.Writer) error {
	switch s.Do {
	case plan.Group:
		return r.addGroup(ctx, s.Path)
	case plan.User:
		return r.addUser(ctx, person{name: s.Path, group: s.Group, home: s.To, shell: s.Argv[0]})
	case plan.Dir:
		return r.mkdir(ctx, s)
	case plan.Copy:
		return r.copyProgram(s)
	case plan.Write:
		return r.write(s.Path, []byte(s.Text), s.Mode)
	case plan.Link:
		return r.name(s.Path, func(at string) error { return os.Symlink(s.To, at) })
	case plan.Hard:
		return r.name(s.Path, func(at string) error { return r.hardLink(s.To, at) })
	case plan.Move:
		return r.rename(s.Path, s.To)
	case plan.Divert:
		return r.divertAway(ctx, s)
	case plan.Run:
		return r.tell(ctx, s.Argv, told)
	}
	return nil // words
}

// mkdir makes a directory of an owner and a mode, whatever the umask is.
func (r root) mkdir(ctx context.Context, s *plan.Step) error {
	at, err := r.at(s.Path)
	if err != nil {
		return err
	}
	uid, gid, err := r.ids(ctx, s.Owner, s.Group)
	if err != nil {
		return err
	}
	if err := os.Mkdir(at, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if uid != os.Geteuid() || gid != os.Getegid() {
		if err := os.Lchown(at, uid, gid); err != nil && os.Geteuid() == 0 {
			return err
		}
	}
	return os.Chmod(at, s.Mode)
}

// copyProgram puts the program that runs at its place. One that is there already stays, since
// a small device may have no room for it twice.
func (r root) copyProgram(s *plan.Step) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the program that runs: %w", err)
	}
	if at, err := r.at(s.Path); err == nil && isOurs(self, at) {
		return os.Chmod(at, s.Mode)
	}
	in, err := os.Open(self)
	if err != nil {
		return err
	}
	defer in.Close()
	return r.appear(s.Path, in, s.Mode)
}

// selfSum is the Sum of the program that runs.
func selfSum() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find the program that runs: %w", err)
	}
	return sumOf(self)
}

// isSame reports whether at is the file self itself.
func isSame(self, at string) bool {
	a, err := os.Stat(self)
	if err != nil {
		return false
	}
	b, err := os.Lstat(at)
	return err == nil && os.SameFile(a, b)
}

// isOurs reports whether at is the file self itself, and the caller's.
func isOurs(self, at string) bool {
	info, err := os.Lstat(at)
	if err != nil || !isSame(self, at) {
		return false
	}
	st := info.Sys().(*syscall.Stat_t)
	return int(st.Uid) == os.Geteuid() && int(st.Gid) == os.Getegid()
}

// write makes a file of a text.
func (r root) write(name string, text []byte, mode fs.FileMode) error {
	return r.appear(name, bytes.NewReader(text), mode)
}

// appear makes a file, which is there whole or not at all, in the place of one that is.
func (r root) appear(name string, in io.Reader, mode fs.FileMode) error {
	return r.appearAs(name, in, mode, os.Geteuid(), os.Getegid())
}

// appearAs is appear for an owner.
func (r root) appearAs(name string, in io.Reader, mode fs.FileMode, uid, gid int) error {
	return r.name(name, func(at string) error {
		f, err := os.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, in)
		if uid != os.Geteuid() || gid != os.Getegid() {
			err = errors.Join(err, f.Chown(uid, gid))
		}
		return errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	})
}

// name has make make something beside a name, and then gives it that name.
func (r root) name(name string, make func(at string) error) error {
	at, err := r.at(name)
	if err != nil {
		return err
	}
	beside := at + ".postoffice-new"
	if err := os.Remove(beside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := make(beside); err != nil {
		return errors.Join(err, ignoreMissing(os.Remove(beside)))
	}
	if err := os.Rename(beside, at); err != nil {
		return errors.Join(err, os.Remove(beside))
	}
	// Two names of one file: rename(2) does nothing then.
	return ignoreMissing(os.Remove(beside))
}

// hardLink makes a name the file to, or one that leads there, where it can't.
func (r root) hardLink(to, at string) error {
	from, err := r.followed(to)
	if err != nil {
		return err
	}
	err = os.Link(from, at)
	if errors.Is(err, syscall.EXDEV) || errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EMLINK) {
		return os.Symlink(to, at)
	}
	return err
}

// rename moves what stands at a name, where nothing stands at the other.
func (r root) rename(from, to string) error {
	old, err := r.at(from)
	if err != nil {
		return err
	}
	other, err := r.at(to)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(other); err == nil {
		return fmt.Errorf("%s is there already: see what it is, and move it away", to)
	}
	return os.Rename(old, other)
}

// divertAway has dpkg-divert(1) keep what stands at a name. It notes the diversion before it
// renames the file, and renames nothing where it finds the note: killed between the two, or
// with a note of somebody else's, the file is still at its place.
func (r root) divertAway(ctx context.Context, s *plan.Step) error {
	if err := r.divert(ctx, "--rename", "--divert", s.To, "--add", s.Path); err != nil {
		return err
	}
	at, err := r.at(s.Path)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(at); err != nil {
		return ignoreMissing(err)
	}
	return r.rename(s.Path, s.To)
}

// divert runs dpkg-divert(1), this machine's for another root too where it has one.
func (r root) divert(ctx context.Context, args ...string) error {
	if r != "" {
		if _, err := exec.LookPath("dpkg-divert"); err == nil {
			return root("").run(ctx, append([]string{"dpkg-divert", "--root", string(r), "--local"}, args...))
		}
	}
	return r.run(ctx, append([]string{"dpkg-divert", "--local"}, args...))
}

// run runs a program, in another root as one of that root's.
func (r root) run(ctx context.Context, argv []string) error { return r.tell(ctx, argv, io.Discard) }

// tell is run, where what the program says is told to somebody. If it fails that is in the
// error.
func (r root) tell(ctx context.Context, argv []string, told io.Writer) error {
	path := argv[0]
	if r == "" && !filepath.IsAbs(path) {
		found, err := exec.LookPath(path)
		if err != nil {
			return err
		}
		path = found
	} else if !filepath.IsAbs(path) {
		path = "/usr/bin/" + path
	}
	var out bytes.Buffer
	cmd := &exec.Cmd{Path: path, Args: argv, Dir: "/", Stdout: &out, Stderr: &out, Env: append(os.Environ(), "LC_ALL=C")}
	if r != "" {
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: string(r)}
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run %s: %w", argv[0], err)
	}
	defer context.AfterFunc(ctx, func() { cmd.Process.Kill() })()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.Join(strings.Fields(out.String()), " "))
	}
	_, err := out.WriteTo(told)
	return err
}
