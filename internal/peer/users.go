package peer

// Users counts what programs of this machine have open, by the users whose they
// are. The zero Users is empty.
type Users struct {
	own    Room[int] // of root and of the server's user
	shared Room[int]
}

// Places are how many there are.
type Places struct {
	Shared int                // for all users together
	Own    int                // further ones for root, and as many for the server's user; negative: no limit
	Server int                // uid of the server's user
	Nobody func(uid int) bool // whether a uid is no account's; nil: each is one
}

// userShare is what one user gets of the places that the others leave: one of so
// many.
const userShare = 4

// nobody is the key of all uids without an account: one person may have any number
// of them, as those inside a container.
const nobody = -1

// Key returns what a uid counts as. shares is false for root and the server's user,
// who have places of their own.
func (p Places) Key(uid int) (key int, shares bool) {
	switch {
	case uid == 0 || uid == p.Server:
		return uid, false
	case p.Nobody != nil && p.Nobody(uid):
		return nobody, true
	}
	return uid, true
}

// Enter takes a place for a program of uid's, if there is one, and returns what
// gives it back, else nil. own says that it is none of the shared ones.
func (u *Users) Enter(uid int, p Places) (leave func(), own bool) {
	uid, shares := p.Key(uid)
	if !shares && u.own.Enter(uid, -1, p.Own) {
		return func() { u.own.Leave(uid) }, true
	}
	if u.shared.EnterShare(uid, p.Shared, userShare) {
		return func() { u.shared.Leave(uid) }, false
	}
	return nil, false
}

// Crowded reports whether three of four of the shared places are taken.
func (u *Users) Crowded(p Places) bool { return 4*u.shared.Inside() >= 3*p.Shared }
