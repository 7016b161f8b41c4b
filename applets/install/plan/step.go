package plan

import (
	"fmt"
	"io/fs"
	"strings"
)

// Verb is what a Step does.
type Verb string

// The verbs. Each can be undone but Group, User and Say.
const (
	Group  Verb = "group"  // make the group Path
	User   Verb = "user"   // make the account Path in the group Group, with the home directory To
	Dir    Verb = "dir"    // make a directory
	Copy   Verb = "copy"   // put this program there
	Write  Verb = "write"  // write a file of Text
	Link   Verb = "link"   // make a name that leads to To
	Hard   Verb = "hard"   // make a name that is the file To
	Move   Verb = "move"   // rename it to To
	Divert Verb = "divert" // have dpkg keep it as To, now and in every upgrade
	Run    Verb = "run"    // run Argv
	Say    Verb = "say"    // nothing: Why is something to know
)

// Step is one thing that is done to a machine. Its paths are those of the root that is
// installed in.
type Step struct {
	Do    Verb        `json:"do"`
	Path  string      `json:"path,omitempty"`
	To    string      `json:"to,omitempty"`
	Text  string      `json:"-"`
	Sum   string      `json:"sum,omitempty"` // Sum of what Write and Copy have written
	Mode  fs.FileMode `json:"mode,omitempty"`
	Owner string      `json:"owner,omitempty"` // "" is root
	Group string      `json:"group,omitempty"` // "" is root
	Argv  []string    `json:"argv,omitempty"`
	Back  []string    `json:"back,omitempty"` // Run: what takes it back; nil: nothing does
	Why   string      `json:"-"`
}

// String is the step in words.
func (s *Step) String() string {
	switch s.Do {
	case Group:
		return "make the group " + s.Path
	case User:
		return fmt.Sprintf("make the account %s, in the group %s", s.Path, s.Group)
	case Dir:
		return fmt.Sprintf("make the directory %s, mode %04o, of %s", s.Path, octal(s.Mode), s.owners())
	case Copy:
		return "put the program at " + s.Path
	case Write:
		return "write " + s.Path + s.because()
	case Link, Hard:
		return fmt.Sprintf("make %s a name of %s%s", s.Path, s.To, s.because())
	case Move:
		return fmt.Sprintf("rename %s to %s%s", s.Path, s.To, s.because())
	case Divert:
		return fmt.Sprintf("have dpkg keep %s as %s%s", s.Path, s.To, s.because())
	case Run:
		return "run " + strings.Join(s.Argv, " ") + s.because()
	}
	return s.Why
}

// Undoing is in words what takes the step back.
func (s *Step) Undoing() string {
	switch s.Do {
	case Dir:
		return "remove the directory " + s.Path + " if it is empty"
	case Move:
		return fmt.Sprintf("rename %s to %s", s.To, s.Path)
	case Divert:
		return fmt.Sprintf("have dpkg put %s back to %s", s.To, s.Path)
	case Run:
		return "run " + strings.Join(s.Back, " ")
	}
	return "remove " + s.Path
}

func (s *Step) because() string {
	if s.Why == "" {
		return ""
	}
	return ": " + s.Why
}

func (s *Step) owners() string {
	owner, group := "root", "root"
	if s.Owner != "" {
		owner = s.Owner
	}
	if s.Group != "" {
		group = s.Group
	}
	return owner + ":" + group
}

// octal is a mode as chmod(1) writes it.
func octal(m fs.FileMode) uint32 {
	n := uint32(m.Perm())
	if m&fs.ModeSetgid != 0 {
		n |= 0o2000
	}
	if m&fs.ModeSticky != 0 {
		n |= 0o1000
	}
	return n
}

// same reports whether two steps are about the same thing.
func same(a, b *Step) bool {
	return a.Do == b.Do && a.Path == b.Path && len(a.Back) == len(b.Back) && strings.Join(a.Argv, "\x00") == strings.Join(b.Argv, "\x00")
}
