package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"postoffice/applets/install/plan"
)

// keptError says that something stays, since it isn't as the installation left it.
type keptError struct{ why string }

func (e keptError) Error() string { return e.why }

// undo takes a step back. What was never done, or is gone, is no error.
func (r root) undo(ctx context.Context, s *plan.Step, program string) error {
	at, err := r.at(s.Path)
	if err != nil {
		return err
	}
	switch s.Do {
	case plan.Dir:
		err := os.Remove(at)
		if errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EEXIST) {
			return keptError{s.Path + " stays: there is something in it"}
		}
		return ignoreMissing(err)
	case plan.Copy:
		return ignoreMissing(os.Remove(at))
	case plan.Write:
		return r.undoText(s, at)
	case plan.Link, plan.Hard:
		return r.undoName(s, at, program)
	case plan.Move:
		other, err := r.at(s.To)
		if err != nil {
			return err
		}
		if _, err := os.Lstat(other); err != nil {
			return ignoreMissing(err)
		}
		return r.rename(s.To, s.Path)
	case plan.Divert:
		return r.divert(ctx, "--rename", "--remove", s.Path)
	case plan.Run:
		if filepath.IsAbs(s.Back[0]) && !r.has(s.Back[0]) {
			return nil
		}
		return r.run(ctx, s.Back)
	}
	return nil
}

// undoText removes a file that nobody has changed.
func (r root) undoText(s *plan.Step, at string) error {
	text, err := os.ReadFile(at)
	if err != nil {
		return ignoreMissing(err)
	}
	if plan.Sum(string(text)) != s.Sum {
		return keptError{s.Path + " stays: it was changed since"}
	}
	return os.Remove(at)
}

// undoName removes a name of the program's.
func (r root) undoName(s *plan.Step, at, program string) error {
	info, err := os.Lstat(at)
	if err != nil {
		return ignoreMissing(err)
	}
	ours := false
	if info.Mode()&fs.ModeSymlink != 0 {
		target, err := os.Readlink(at)
		ours = err == nil && (target == s.To || target == program)
	} else {
		ours = isProgram(r, info, program)
	}
	if !ours {
		return keptError{fmt.Sprintf("%s stays: it is no name of postoffice's any more", s.Path)}
	}
	return os.Remove(at)
}
