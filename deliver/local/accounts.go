package local

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Account is a local user as passwd(5) knows him.
type Account struct {
	Name        string // as the passwd file spells it; names the mailbox
	UID, GID    int
	Home, Shell string
}

// Accounts finds local users.
type Accounts interface {
	// Lookup returns the account called name, as given or else without regard
	// to the case of ASCII letters. ErrNoUser (wrapped) is a definite answer;
	// any other error means that the answer is not known now.
	Lookup(ctx context.Context, name string) (Account, error)
}

// ErrNoUser says that there is certainly no such local user.
var ErrNoUser = errors.New("no such user")

// MaxName is the longest account name in octets: with ".lock" behind it and a
// dot in front it is still a file name.
const MaxName = 249

// CheckName says why name can't be an account with a mailbox, or nil. A name
// that passes is one path element, no option of any program, and never the
// name of another mailbox's dot lock (A19, A20).
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("empty name")
	case len(name) > MaxName:
		return fmt.Errorf("name of %d octets, at most %d are possible", len(name), MaxName)
	case name[0] == '.' || name[0] == '-':
		return fmt.Errorf("name begins with %q", name[0])
	case strings.HasSuffix(name, lockSuffix):
		return fmt.Errorf("name ends in %q, which is kept for locks", lockSuffix)
	}
	for _, c := range []byte(name) {
		if c == '/' || c == ':' || c < ' ' || c == 0x7f {
			return fmt.Errorf("name has the octet %q", c)
		}
	}
	return nil
}

// Only has one account: what an ordinary user's postoffice may deliver to.
func Only(a Account) Accounts { return only{a} }

type only struct{ a Account }

func (o only) Lookup(_ context.Context, name string) (Account, error) {
	if equalFold(name, o.a.Name) {
		return o.a, nil
	}
	return Account{}, fmt.Errorf("%w: this postoffice runs as %s, not as root, and delivers to %[2]s alone", ErrNoUser, o.a.Name)
}

// fold returns s with its ASCII capital letters made small. Other letters are
// left as they are: no look-alike ever matches an account (A15).
func fold(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for j := i; j < len(b); j++ {
				if 'A' <= b[j] && b[j] <= 'Z' {
					b[j] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

func equalFold(a, b string) bool { return len(a) == len(b) && fold(a) == fold(b) }
