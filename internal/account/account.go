package account

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"postoffice/internal/smtp"
)

// Account is a local user as passwd(5) has them.
type Account struct {
	Name        string // as the passwd file spells it; names the mailbox
	UID, GID    int
	Home, Shell string
	Quota       int64 // octets that the mailbox of a user of a virtual domain may have; 0: there is no bound
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

// LockSuffix is what the name of a dot lock has behind the mailbox's.
const LockSuffix = ".lock"

// MaxName is the longest account name in octets: with LockSuffix behind it it is
// still a file name.
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
	case strings.HasSuffix(name, LockSuffix):
		return fmt.Errorf("name ends in %q, which is kept for locks", LockSuffix)
	}
	for _, c := range []byte(name) {
		if c == '/' || c == ':' || c < ' ' || c == 0x7f {
			return fmt.Errorf("name has the octet %q", c)
		}
	}
	return nil
}

// CheckMailbox says why the account can have no mailbox here, or nil: its name
// can't be that of one, or it has uid 0 and is not root (A43).
func (a Account) CheckMailbox() error {
	if err := CheckName(a.Name); err != nil {
		return fmt.Errorf("account %q: %w", a.Name, err)
	}
	if _, _, ok := SplitVirtual(a.Name); ok {
		return fmt.Errorf("account %s has an @ in its name, which users of virtual domains have: give it an alias", a.Name)
	}
	if a.UID == 0 && a.Name != "root" {
		return fmt.Errorf("account %s has uid 0 and is not root: give it an alias", a.Name)
	}
	return nil
}

// SplitVirtual parts the address of a user of a virtual domain, which stands where
// the name of an account stands for others. No account with an @ in its name has a
// mailbox, so that the two are never taken for each other.
func SplitVirtual(name string) (user, domain string, ok bool) {
	i := strings.LastIndexByte(name, '@')
	if i < 0 {
		return name, "", false
	}
	return name[:i], name[i+1:], true
}

// Only has one account: what an ordinary user's postoffice may deliver to.
func Only(a Account) Accounts { return only{a} }

type only struct{ a Account }

func (o only) Lookup(_ context.Context, name string) (Account, error) {
	if smtp.EqualFold(name, o.a.Name) {
		return o.a, nil
	}
	return Account{}, OnlyError{o.a.Name}
}

// OnlyError is the ErrNoUser of Only: whoever submits mail is to know why.
type OnlyError struct{ User string }

// Error says who the one user is.
func (e OnlyError) Error() string {
	return fmt.Sprintf("no such user: this postoffice runs as %s, not as root, and delivers to %[1]s alone", e.User)
}

// Unwrap says that it is an ErrNoUser.
func (OnlyError) Unwrap() error { return ErrNoUser }
