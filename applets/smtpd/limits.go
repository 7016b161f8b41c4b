package smtpd

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"postoffice/internal/peer"
	"postoffice/internal/smtp"
)

// limits counts the sessions that are open, and what they hold.
type limits struct {
	clients   peer.Room[class] // all but strangers
	strangers peer.Strangers
	programs  peer.Users
	barred    peer.Room[int] // who was refused and has not gone

	unfinished unfinished

	mu       sync.Mutex // guards what follows
	long     int        // octets held for lists of recipients that are longer than a stranger's
	load     float64
	loadErr  error
	loadTime time.Time
}

// class are the clients on TCP that have places of their own: nobody outside keeps
// out this machine, or who is trusted.
type class uint8

const (
	stranger class = iota
	trusted
	here
)

// place is that of a session. The zero place is one that is not counted.
type place struct {
	leave   func()
	crowded func() bool // whether few places of its kind are left
	turn    <-chan bool // nil: it is the client's turn; else see peer.Stranger
}

// free gives the place back.
func (p place) free() {
	if p.leave != nil {
		p.leave()
	}
}

// program takes a place for a program of uid's; else it is refused with what is
// returned.
func (l *limits) program(uid int, o *Options) (place, smtp.Reply) {
	places := o.places()
	leave, own := l.programs.Enter(uid, places)
	switch {
	case leave == nil:
		return place{}, smtp.Reply{Code: 421, Status: "4.7.0", Text: "your user has too many sessions, end one or try again later"} // a user has a quarter of what others leave at submission
	case own:
		return place{leave: leave}, smtp.Reply{}
	}
	return place{leave: leave, crowded: func() bool { return l.programs.Crowded(places) }}, smtp.Reply{}
}

// places are those of this machine's programs.
func (o *Options) places() peer.Places {
	return peer.Places{Shared: o.Programs, Own: max(o.Programs/ownShare, 1), Server: os.Geteuid(), Nobody: o.Nobody}
}

// client takes a place for a client on TCP; else it is refused with what is
// returned (R18): 421, since nothing follows it (RFC 5321 sections 3.1 and 4.3.2).
func (l *limits) client(a netip.Addr, o *Options) (place, smtp.Reply) {
	c := classOf(a, o)
	if c == stranger {
		return l.stranger(a, o)
	}
	if !l.clients.Enter(c, -1, o.Clients) {
		return place{}, tooManyClients(o)
	}
	return place{leave: func() { l.clients.Leave(c) }, crowded: func() bool { return crowded(l.clients.InsideOf(c), o) }}, smtp.Reply{}
}

// stranger is client for one from elsewhere. Others of its address may have to
// go first.
func (l *limits) stranger(a netip.Addr, o *Options) (place, smtp.Reply) {
	st := l.strangers.Enter(a, peer.StrangerPlaces{All: o.Clients, Address: o.ClientsPerAddress})
	switch {
	case st != nil: // who waits is in nobody's way
		return place{st.Leave, func() bool { return crowded(l.strangers.Served(), o) }, st.Turn()}, smtp.Reply{}
	case o.Clients > 0 && l.strangers.Inside() >= o.Clients:
		return place{}, tooManyClients(o)
	}
	return place{}, tooManyOfAddress()
}

func tooManyClients(o *Options) smtp.Reply {
	return smtp.Reply{Code: 421, Status: "4.3.2", Text: o.Hostname + " has too many clients now, try again later"} // option clients
}

func tooManyOfAddress() smtp.Reply {
	return smtp.Reply{Code: 421, Status: "4.7.0", Text: "too many connections from your address or its network, send over one of them or try again later"} // option clients-per-address, and the shares of networks
}

// crowded reports whether three of four places are taken.
func crowded(taken int, o *Options) bool { return o.Clients > 0 && 4*taken >= 3*o.Clients }

// classOf says which places a client on TCP takes.
func classOf(a netip.Addr, o *Options) class {
	switch ours, trust := o.Trusted(a.Unmap()); {
	case ours:
		return here
	case trust:
		return trusted
	}
	return stranger
}

// hold takes octets of the memory for long lists of recipients, if it is there.
func (l *limits) hold(octets int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.long+octets > maxLong {
		return false
	}
	l.long += octets
	return true
}

// drop gives back what hold took.
func (l *limits) drop(octets int) {
	if octets > 0 {
		l.mu.Lock()
		l.long -= octets
		l.mu.Unlock()
	}
}

// overloaded reports whether the load is above o.Load. The load is looked up
// once in five seconds; one that can't be read refuses nobody.
func (l *limits) overloaded(o *Options) (bool, error) {
	if o.Load <= 0 {
		return false, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); l.loadTime.IsZero() || now.Sub(l.loadTime) > 5*time.Second {
		l.load, l.loadErr = o.LoadAverage()
		l.loadTime = now
		if l.loadErr != nil {
			return false, l.loadErr
		}
	}
	return l.loadErr == nil && l.load > o.Load, nil
}

// loadAverage returns the load of the last minute, where the system is one that
// has it in a file.
func loadAverage() (float64, error) {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0, err
	}
	one, _, _ := strings.Cut(string(b), " ")
	return strconv.ParseFloat(one, 64)
}

// roomStep is how many octets of a message come between two looks at the room.
const roomStep = 256 << 10

// errNoRoom is the end of a message for which there is no room any more.
var errNoRoom = errors.New("no room for what is being received")

// unfinished counts the octets of messages that are being received: they are on the
// disk, and nobody can say how long they stay there. The zero value is empty.
type unfinished struct {
	mu  sync.Mutex
	all int64 // strangers', in all and for each network
	of  map[netip.Prefix]int64
	by  map[int]int64 // of this machine's programs, for each user
}

// take counts n octets of an address, if with them all have at most half of what is
// free, the octets that they have included, and the networks that it belongs to
// half of what the others leave of that: so there is room for whoever comes next.
func (u *unfinished) take(from netip.Addr, n, spare int64) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	half := u.all/2 + spare/2
	for _, network := range networksOf(from) {
		if has := u.of[network]; has+n > (half-u.all+has)/2 {
			return false
		}
	}
	u.add(from, n)
	return true
}

// drop takes back what take counted.
func (u *unfinished) drop(from netip.Addr, n int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.add(from, -n)
}

// add counts. The caller holds mu.
func (u *unfinished) add(from netip.Addr, n int64) {
	if u.of == nil {
		u.of = map[netip.Prefix]int64{}
	}
	u.all += n
	for _, network := range networksOf(from) {
		if u.of[network] += n; u.of[network] <= 0 {
			delete(u.of, network)
		}
	}
}

// takeBy counts n octets of a user of this machine, who has no more than what is
// free: whoever comes next finds as much as each of those before.
func (u *unfinished) takeBy(user int, n, spare int64) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.by[user]+n > spare {
		return false
	}
	if u.by == nil {
		u.by = map[int]int64{}
	}
	u.by[user] += n
	return true
}

// dropBy takes back what takeBy counted.
func (u *unfinished) dropBy(user int, n int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.by[user] -= n; u.by[user] <= 0 {
		delete(u.by, user)
	}
}

// networksOf are the networks for which a stranger counts: the address or its /64,
// and the sites around that.
func networksOf(a netip.Addr) []netip.Prefix {
	return append([]netip.Prefix{peer.Network(a)}, peer.Site(a)...)
}

// claim asks for the room for n more octets of the session's message, step by
// step.
func (s *session) claim(n int) error {
	s.coming += int64(n)
	for s.coming-s.claimed >= roomStep {
		spare, err := s.o.Queue.Room(s.server.ctx)
		if err != nil {
			return fmt.Errorf("%w: %w", errNoRoom, err)
		}
		if s.claimed == 0 {
			s.holder = s.holderOf()
		}
		u, ok := &s.server.limits.unfinished, true
		switch s.holder.kind {
		case network:
			ok = u.take(s.holder.addr, roomStep, spare)
		case program:
			ok = u.takeBy(s.holder.user, roomStep, spare)
		}
		if !ok {
			return errNoRoom
		}
		s.claimed += roomStep
	}
	return nil
}

// unclaim gives back what the session's message has of the room for messages that
// are being received.
func (s *session) unclaim() {
	if u := &s.server.limits.unfinished; s.claimed > 0 {
		switch s.holder.kind {
		case network:
			u.drop(s.holder.addr, s.claimed)
		case program:
			u.dropBy(s.holder.user, s.claimed)
		}
	}
	s.coming, s.claimed = 0, 0
}

// holder is for whom an unfinished message counts.
type holder struct {
	kind holderKind
	addr netip.Addr
	user int
}

type holderKind uint8

const (
	uncounted holderKind = iota // root, the server's user, and what was in maildrop/, which has its room already
	network
	program
)

// somebody is who comes from this machine by TCP: the kernel doesn't say who that is.
const somebody = -2

// holderOf says for whom the session's message counts.
func (s *session) holderOf() holder {
	c := &s.client
	switch {
	case c.Kind == Relay && !c.Local:
		return holder{kind: network, addr: c.Addr.Addr()}
	case c.Kind == Relay:
		return holder{kind: program, user: somebody}
	case c.Absent:
		return holder{}
	}
	user, shares := s.o.places().Key(c.UID)
	if !shares {
		return holder{}
	}
	return holder{kind: program, user: user}
}
