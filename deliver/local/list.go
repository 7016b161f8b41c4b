package local

import (
	"errors"
	"fmt"
	"strings"

	"postoffice/internal/alias"
)

// Listing asks what a .forward, the list in a file that an alias names with
// :include:, or a personal alias file stands for; or whether a program could be
// started.
type Listing struct {
	User      string // who reads the file
	Item      Item
	Extension string // a .forward+detail is looked for first
}

// Line is one target of a list and where it stands.
type Line struct {
	alias.Target
	File string
	Line int // counted from 1
}

// OwnerError says that a list belongs to another user, who alone may read it.
type OwnerError struct {
	File string
	User string // "" has no account
	UID  int
}

func (e *OwnerError) Error() string {
	if e.User == "" {
		return fmt.Sprintf("%s belongs to uid %d, which has no account", e.File, e.UID)
	}
	return fmt.Sprintf("%s belongs to %s and is to be read as that user", e.File, e.User)
}

// LineError says that a line of a list can't be understood. What is wrong quotes
// it: that is for root and the file's owner. Everybody else gets Public.
type LineError struct {
	File  string
	Line  int
	Quote string
}

func (e *LineError) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Quote) }

// Public returns err without what it quotes of a list.
func Public(err error) error {
	e, ok := errors.AsType[*LineError](err)
	if !ok {
		return err
	}
	at := fmt.Sprintf("%s:%d can't be understood; sendmail -bv tells its owner and root more", e.File, e.Line)
	return errors.New(strings.ReplaceAll(err.Error(), e.Error(), at))
}

// ErrChanged says, with errors.Is, that nothing with the item's hash stands
// where it stood when the message's recipients were made out.
var ErrChanged = errors.New("what was meant does not stand there any more")
