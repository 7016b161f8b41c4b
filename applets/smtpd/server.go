package smtpd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postoffice/applets/smtpd/places"
	"postoffice/applets/smtpd/rates"
	"postoffice/applets/smtpd/wire"
	"postoffice/internal/peer"
)

// conn is the connection of a session, or of a client that gets none.
type conn struct {
	wire.Conn
	id   string // of the session: set once, when it is registered
	user *int   // who is at the other end, where the connection doesn't tell: ServeUser
	seen seen   // by others

	known bool         // the log has the reason why no session begins
	owner *int         // see refusal
	place places.Place // the zero one where sessions aren't counted
}

func newConn(c net.Conn) *conn {
	w := &conn{}
	w.Init(c, defaultTimeout)
	return w
}

// Server serves SMTP sessions on any number of listeners.
type Server struct {
	options  atomic.Pointer[Options]
	lastID   atomic.Int64 // microseconds of the last session's ID
	places   places.Table
	rates    rates.Table
	outages  outages               // of those who know passwords
	unasked  unasked               // who isn't asked for a certificate
	refusers [kinds]atomic.Int32   // refusals of connections beyond the limit being written, by their Kind
	headers  peer.Room[netip.Addr] // connections of which a proxy's header is still to come, by proxy
	verbs    []verb
	userOf   func(net.Conn) (uid int, err error) // who is at the other end of a unix socket
	ownerOf  func(net.Conn) (uid int, err error) // whose the other end of a connection on TCP is

	ctx    context.Context // of everything asked for a session
	cancel context.CancelFunc

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	wires     map[*conn]struct{} // of sessions and of refusals being written
	stopBy    time.Time          // when the last data must have come; zero until Shutdown
	ending    chan struct{}      // closed when Shutdown begins
	drained   chan struct{}      // closed when Shutdown has begun and wires is empty
	turns     int                // connections that have begun or ended since memory was given back
	looked    int                // what it was at the last look
	most      int                // of wires that there were at one time
	empty     chan struct{}      // closed when wires is, nil while nobody waits for it

	refusedLogin atomic.Int64 // when a login was refused last, in nanoseconds since 1970
}

// New returns a server with the settings o.
func New(o Options) *Server {
	s := &Server{
		verbs:     verbs,
		userOf:    programUser,
		ownerOf:   peer.OwnerOf,
		listeners: make(map[net.Listener]struct{}),
		wires:     make(map[*conn]struct{}),
		ending:    make(chan struct{}),
		drained:   make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.Reload(o)
	return s
}

// Reload puts new settings in place for the sessions that begin from now on.
func (s *Server) Reload(o Options) { s.options.Store(o.withDefaults()) }

// ListenerError is a listener that can't be mended by trying again. Its owner
// should bind it anew.
type ListenerError struct {
	Addr net.Addr
	Err  error
}

func (e *ListenerError) Error() string { return fmt.Sprintf("listen on %v: %v", e.Addr, e.Err) }

// Unwrap returns the cause.
func (e *ListenerError) Unwrap() error { return e.Err }

// ErrRefused is how a session ended that was not let in, or that we ended.
var ErrRefused = errors.New("session refused")

// Serve accepts sessions from l until ctx ends or Shutdown is called, and then
// returns nil; sessions that have begun go on. It closes l in any case. The
// error is a *ListenerError.
func (s *Server) Serve(ctx context.Context, l net.Listener, k Kind) error {
	defer l.Close()
	if !s.track(l) {
		return nil
	}
	defer s.untrack(l)
	defer context.AfterFunc(ctx, func() { l.Close() })()
	return s.accept(ctx, l, k)
}

// ServeConn serves one session on c, outside the limits on their number, and
// closes c. It returns nil after QUIT, else how the session ended: ErrRefused,
// wire.ErrTimeout, wire.ErrStopped for Shutdown or the end of ctx, io.EOF, or the
// connection's error. The end of ctx
// ends the session with 421.
func (s *Server) ServeConn(ctx context.Context, c net.Conn, k Kind) error {
	p := s.options.Load().passedOn(c, k)
	if p == nil {
		return s.serveWire(ctx, newConn(c), k)
	}
	w := newConn(p)
	defer context.AfterFunc(ctx, func() { w.Stop(time.Now()) })()
	if err := s.introduce(w, p); err != nil {
		return err
	}
	return s.serveWire(ctx, w, k)
}

// ServeUser is ServeConn for a Local session that this process itself
// holds for a user who isn't there: they left a message, and who they are the file
// system has told.
func (s *Server) ServeUser(ctx context.Context, c net.Conn, uid int) error {
	w := newConn(c)
	w.user = &uid
	return s.serveWire(ctx, w, Local)
}

func (s *Server) serveWire(ctx context.Context, w *conn, k Kind) error {
	if !s.register(w) {
		w.Cut()
		return wire.ErrStopped
	}
	defer s.unregister(w)
	defer context.AfterFunc(ctx, func() { w.Stop(time.Now().Add(shutdownGrace)) })()
	return s.session(w, k, false)
}

// Shutdown ends the server: listeners are closed, waiting sessions get 421,
// messages being received have ten seconds more, and one whose final dot has
// come is finished. It returns nil when all sessions have ended; after 20 s,
// or when ctx ends, it cuts the connections and returns the context's error.
func (s *Server) Shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, shutdownWait)
	defer cancel()
	by := time.Now().Add(shutdownGrace)
	s.stop(by)
	defer time.AfterFunc(time.Until(by), s.cancel).Stop()
	defer s.cancel()
	select {
	case <-s.drained:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.wires {
		w.Cut()
	}
	return ctx.Err()
}

// stop tells everybody that by is the end.
func (s *Server) stop(by time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopBy.IsZero() {
		return
	}
	s.stopBy = by
	close(s.ending)
	for l := range s.listeners {
		l.Close()
	}
	for w := range s.wires {
		w.Stop(by)
	}
	if len(s.wires) == 0 {
		close(s.drained)
	}
}

// stopping reports whether Shutdown was called.
func (s *Server) stopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.stopBy.IsZero()
}

// track takes l into the listeners that Shutdown closes; false is too late.
func (s *Server) track(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopBy.IsZero() {
		return false
	}
	s.listeners[l] = struct{}{}
	return true
}

func (s *Server) untrack(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
}

// register takes w into the connections that Shutdown ends; false is too late.
func (s *Server) register(w *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopBy.IsZero() {
		return false
	}
	s.wires[w] = struct{}{}
	s.most = max(s.most, len(s.wires))
	s.turned()
	w.id = s.newID()
	return true
}

func (s *Server) unregister(w *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.wires, w)
	s.turned()
	if len(s.wires) > 0 {
		return
	}
	if !s.stopBy.IsZero() {
		close(s.drained)
	}
	if s.empty != nil {
		close(s.empty)
		s.empty = nil
	}
}

// Spent reports whether what there is of the server is what a crowd left of it: no
// session, the memory that Go keeps for as many as there were, and nothing that another
// server would have to know, as whose logins were refused in the last hour.
func (s *Server) Spent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.wires) == 0 && s.most >= crowd && time.Now().UnixNano()-s.refusedLogin.Load() > int64(time.Hour)
}

// Settle waits until there is no session, or ctx ends.
func (s *Server) Settle(ctx context.Context) {
	s.mu.Lock()
	if len(s.wires) == 0 {
		s.mu.Unlock()
		return
	}
	if s.empty == nil {
		s.empty = make(chan struct{})
	}
	empty := s.empty
	s.mu.Unlock()
	select {
	case <-empty:
	case <-ctx.Done():
	}
}

const (
	crowd = 1000            // connections that begin or end, after which memory is given back; at once, and Go keeps megabytes of them
	calm  = 5 * time.Second // between two looks whether it is over
	still = crowd / 20      // connections that may begin or end between them then
)

// turned counts a connection that has begun or ended. The caller holds mu.
func (s *Server) turned() {
	if s.turns++; s.turns == crowd {
		time.AfterFunc(calm, s.tidy)
	}
}

// tidy gives memory back when a crowd has come or gone. Without it the stacks of those
// who came keep what their greeting took, and what those had who left stays with the
// process, for minutes: the runtime collects when memory is wanted, and nobody wants
// any.
func (s *Server) tidy() {
	s.mu.Lock()
	lately := s.turns - s.looked
	s.looked = s.turns
	over := lately <= still
	if over {
		s.turns, s.looked = 0, 0
	}
	s.mu.Unlock()
	switch {
	case s.ctx.Err() != nil:
	case over:
		runtime.GC() // what pools hold goes with the second collection
		debug.FreeOSMemory()
	default:
		time.AfterFunc(calm, s.tidy)
	}
}

// newID returns a session's name in the log: it sorts by time and is this
// server's only one.
func (s *Server) newID() string {
	for {
		last := s.lastID.Load()
		id := max(time.Now().UnixMicro(), last+1)
		if s.lastID.CompareAndSwap(last, id) {
			return strings.ToUpper(strconv.FormatInt(id, 36))
		}
	}
}
