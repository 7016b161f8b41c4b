package places

import (
	"net/netip"

	"postoffice/internal/peer"
)

// Limits are how many sessions there may be.
type Limits struct {
	Clients    int                // of strangers on TCP, and as many of trusted clients, and of this machine's whose user isn't known; negative: no limit
	PerAddress int                // of strangers from one address, see peer.StrangerPlaces; 0: no limit
	Programs   int                // of this machine's programs, at submission and by TCP
	Server     int                // uid of the server's user
	Nobody     func(uid int) bool // see peer.Places
}

const (
	ownShare    = 4 // root's places and those of the server's user: one in so many of Programs each
	barredShare = 4 // one in so many of the places for clients is for those that were refused
)

// Users are the places of this machine's programs.
func (l Limits) Users() peer.Places {
	return peer.Places{Shared: l.Programs, Own: max(l.Programs/ownShare, 1), Server: l.Server, Nobody: l.Nobody}
}

// crowded reports whether three of four places are taken.
func (l Limits) crowded(taken int) bool { return l.Clients > 0 && 4*taken >= 3*l.Clients }

// Class are the clients on TCP that have places of their own: nobody outside keeps
// out this machine, who is trusted, or a proxy that looks whether the server lives.
type Class uint8

const (
	Stranger Class = iota
	Trusted
	Here // of this machine, if the kernel doesn't tell whose it is: else see Program
	Proxy
)

// A Refusal says why there is no place. The zero Refusal is none.
type Refusal uint8

const (
	Granted    Refusal = iota
	Full               // there are too many clients
	AddressOut         // the client's address, or its network, has its share
	UserOut            // the program's user has theirs
)

// Table counts the sessions that are open, and the memory that they hold. The zero Table is
// empty.
type Table struct {
	clients   peer.Room[Class] // all but strangers
	strangers peer.Strangers
	programs  peer.Users
	barred    peer.Room[int] // who was refused and has not gone

	Lists Lists
	Load  Load
}

// Place is that of a session. The zero Place is one that is not counted.
type Place struct {
	leave   func()
	Crowded func() bool // whether few places of its kind are left; nil: never
	Turn    <-chan bool // nil: it is the client's turn; else see peer.Stranger
}

// Free gives the place back.
func (p Place) Free() {
	if p.leave != nil {
		p.leave()
	}
}

// Program takes a place for a program of uid's, whichever way it comes.
func (t *Table) Program(uid int, l Limits) (Place, Refusal) {
	users := l.Users()
	leave, own := t.programs.Enter(uid, users)
	switch {
	case leave == nil:
		return Place{}, UserOut
	case own:
		return Place{leave: leave}, Granted
	}
	return Place{leave: leave, Crowded: func() bool { return t.programs.Crowded(users) }}, Granted
}

// Client takes a place for a client on TCP.
func (t *Table) Client(a netip.Addr, c Class, l Limits) (Place, Refusal) {
	if c == Stranger {
		return t.stranger(a, l)
	}
	if !t.clients.Enter(c, -1, l.Clients) {
		return Place{}, Full
	}
	return Place{leave: func() { t.clients.Leave(c) }, Crowded: func() bool { return l.crowded(t.clients.InsideOf(c)) }}, Granted
}

// stranger is Client for one from elsewhere. Others of its address may have to
// go first.
func (t *Table) stranger(a netip.Addr, l Limits) (Place, Refusal) {
	st := t.strangers.Enter(a, peer.StrangerPlaces{All: l.Clients, Address: l.PerAddress})
	switch {
	case st != nil: // who waits is in nobody's way
		return Place{st.Leave, func() bool { return l.crowded(t.strangers.Served()) }, st.Turn()}, Granted
	case l.Clients > 0 && t.strangers.Inside() >= l.Clients:
		return Place{}, Full
	}
	return Place{}, AddressOut
}

// Crowded reports whether few places for strangers are left.
func (t *Table) Crowded(l Limits) bool { return l.crowded(t.strangers.Served()) }

// Waiting returns how many strangers wait for their turn.
func (t *Table) Waiting() int { return t.strangers.Inside() - t.strangers.Served() }

// Bar takes a place for a client that was refused and stays, if there is one.
func (t *Table) Bar(l Limits) bool {
	limit := -1
	if l.Clients > 0 {
		limit = max(l.Clients/barredShare, 1)
	}
	return t.barred.Enter(0, -1, limit)
}

// Unbar gives it back.
func (t *Table) Unbar() { t.barred.Leave(0) }
