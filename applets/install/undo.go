package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"postoffice/applets/install/plan"
)

// keptError says that something stays, since it isn't as the installation left it.
type keptError struct{ why string }

func (e keptError) Error() string { return e.why }

// placed is what stands where a program was put.
type placed struct {
	path    string // as the installation knows it
	sum     string // of what was put there; "" where an older record doesn't say
	foreign bool   // somebody has put something else there since
}

// placed looks at the program that steps have put at its place.
func (r root) placed(steps []*plan.Step) (p placed) {
	i := slices.IndexFunc(steps, func(s *plan.Step) bool { return s.Do == plan.Copy })
	if i < 0 {
		return p
	}
	p.path, p.sum = steps[i].Path, steps[i].Sum
	at, err := r.at(p.path)
	if err != nil || p.sum == "" {
		return p
	}
	if self, err := os.Executable(); err == nil && isSame(self, at) {
		return p // whoever takes itself away may
	}
	sum, err := sumOf(at)
	p.foreign = err == nil && sum != p.sum
	return p
}

// undo takes a step back. What was never done, or is gone, is no error.
func (r root) undo(ctx context.Context, s *plan.Step, program placed) error {
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
		if program.foreign {
			return keptError{s.Path + " stays: it is not the program that was put there"}
		}
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
		switch own := s.Back[0] == program.path; {
		case filepath.IsAbs(s.Back[0]) && !r.has(s.Back[0]):
			return nil
		case own && program.foreign:
			return keptError{"not run, since it is not the program that was put there: " + strings.Join(s.Back, " ")}
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
func (r root) undoName(s *plan.Step, at string, program placed) error {
	info, err := os.Lstat(at)
	if err != nil {
		return ignoreMissing(err)
	}
	ours := false
	if info.Mode()&fs.ModeSymlink != 0 {
		target, err := os.Readlink(at)
		ours = err == nil && (target == s.To || target == program.path)
	} else if ours = !program.foreign && isProgram(r, info, program.path); !ours && program.sum != "" {
		sum, err := sumOf(at)
		ours = err == nil && sum == program.sum
	}
	if !ours {
		return keptError{fmt.Sprintf("%s stays: it is no name of postoffice's any more", s.Path)}
	}
	return os.Remove(at)
}
