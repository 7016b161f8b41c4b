package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"postoffice/internal/peer"
)

// Limits of the server's side.
const (
	maxConns   = 64                     // served at once, beside those of root and the server's user: a quarter of what others leave for one user
	readWait   = 10 * time.Second       // for the request
	writeWait  = 30 * time.Second       // for one line of the answer
	answerWait = 10 * time.Minute       // for the whole
	acceptWait = 100 * time.Millisecond // until accept is tried again after an error
	crowdWait  = 10 * time.Second       // for who doesn't read, while few places are left
)

// Exit codes, sysexits(3), of failures that arise here.
const (
	codeUsage       = 64
	codeUnavailable = 69
	codeTempFail    = 75
	codeProtocol    = 76
)

// unknownRequest begins the answer to a verb that is not known.
const unknownRequest = "the server knows no request"

// Handler answers requests. A nil function is a request that is not offered.
// An *Error goes to the client as it is; any other error as code 75.
type Handler struct {
	List    func(ctx context.Context, p Peer) iter.Seq2[Part, error]
	Show    func(ctx context.Context, p Peer, id string) iter.Seq2[Part, error] // one message
	Run     func(ctx context.Context, p Peer) error
	Version func() string
	Cat     func(ctx context.Context, p Peer, id string) (io.ReadCloser, error)
	Act     func(ctx context.Context, p Peer, r Request) error // the verbs that change a message

	// Watch sends nothing, once, when it has begun, then events until ctx ends
	// or it is over. An error of send ends it.
	Watch func(ctx context.Context, p Peer, r Request, send func([]Event) error) error

	Route func(ctx context.Context, p Peer, r Request) iter.Seq2[Step, error]

	Sessions   func(p Peer) iter.Seq[Session] // that p may see
	EndSession func(p Peer, id string) error
	Limits     func(p Peer) ([]Limit, error)
	Filters    func(p Peer) []Filter // that p may see

	// Store returns a part of the store for p, who may see and change what is in it.
	Store func(p Peer, part string) (Store, error)

	// Nobody says whether no account has a uid. nil: each is somebody's.
	Nobody func(uid int) bool
}

// Serve answers requests from l, a unix socket, until ctx ends; then it closes
// l and the connections and waits for the handlers. It returns nil when ctx
// ended, else why l broke, or that it was closed, when all that had begun is
// over.
func Serve(ctx context.Context, l net.Listener, h Handler) error {
	s := newServer(h)
	defer s.all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	defer l.Close()
	for {
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			s.all.Wait() // what has begun goes on
			return err
		case err != nil: // out of descriptors, most likely: it passes
			select {
			case <-time.After(acceptWait):
			case <-ctx.Done():
			}
			continue
		}
		s.accept(ctx, conn)
	}
}

// ServeConn answers the one request of conn, for a server that listens to
// nobody, and closes conn.
func ServeConn(ctx context.Context, conn *net.UnixConn, h Handler) {
	s := newServer(h)
	s.accept(ctx, conn)
	s.all.Wait()
}

// server is one run of Serve.
type server struct {
	handler  Handler
	all      sync.WaitGroup
	requests peer.Users
	watchers peer.Users
	asked    questions
}

func newServer(h Handler) *server { return &server{handler: h} }

// places are so many for all users. Root, who could stop the server anyway, is never
// turned away, nor is the server's user.
func (s *server) places(n int) peer.Places {
	return peer.Places{Shared: n, Own: -1, Server: os.Geteuid(), Nobody: s.handler.Nobody}
}

// enter takes one of n places in a room for a uid; crowded says whether few are
// left, of which root and the server's user hear nothing. leave is nil where there
// is no place.
func (s *server) enter(room *peer.Users, uid, n int) (leave func(), crowded func() bool) {
	places := s.places(n)
	leave, own := room.Enter(uid, places)
	return leave, func() bool { return !own && room.Crowded(places) }
}

// accept serves conn in a goroutine of its own if there is room.
func (s *server) accept(ctx context.Context, conn net.Conn) {
	unix, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return
	}
	who, err := peer.Of(unix)
	var leave func()
	var crowded func() bool
	if err == nil {
		leave, crowded = s.enter(&s.requests, who.UID, maxConns)
	}
	if leave == nil {
		a := &answer{conn: unix, until: time.Now().Add(time.Second)}
		_ = a.fail(&Error{codeTempFail, "too many requests at once, try again later"})
		conn.Close()
		return
	}
	leave = sync.OnceFunc(leave)
	s.all.Go(func() {
		defer leave()
		defer conn.Close()
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		defer stop()
		s.serve(ctx, unix, who, &answer{conn: unix, until: time.Now().Add(answerWait), leave: leave, crowded: crowded})
	})
}

// serve reads the request and writes the answer. An error of the connection
// ends it; there is nobody to tell.
func (s *server) serve(ctx context.Context, conn *net.UnixConn, peer Peer, a *answer) {
	if conn.SetReadDeadline(time.Now().Add(readWait)) != nil {
		return
	}
	most := maxRequest
	if _, counted := s.places(0).Key(peer.UID); !counted {
		most = MaxLine
	}
	line, err := readLine(bufio.NewReaderSize(conn, most))
	if err != nil {
		return
	}
	req, err := decodeRequest(line)
	if err != nil {
		_ = a.fail(&Error{codeProtocol, fmt.Sprintf("request not understood: %v", err)})
		return
	}
	if req.Do == Watch {
		a.until, a.slow = time.Now().Add(watchWait), true // it may be looked at with a pager, or be stopped
	}
	ctx, cancel := context.WithDeadline(ctx, a.until)
	defer cancel()
	if text, err := s.do(ctx, a, peer, req); err != nil {
		_ = a.fail(err)
	} else {
		_ = a.finish(text)
	}
}

// do is the table of verbs.
func (s *server) do(ctx context.Context, a *answer, peer Peer, req Request) (text string, err error) {
	h := s.handler
	switch {
	case req.Do == List && h.List != nil:
		return "", s.question(ctx, a, peer, func() error { return a.parts(h.List(ctx, peer)) })
	case req.Do == Show && h.Show != nil:
		return "", s.question(ctx, a, peer, func() error { return a.parts(h.Show(ctx, peer, req.ID)) })
	case req.Do == Run && h.Run != nil:
		return "", h.Run(ctx, peer)
	case req.Do == Version && h.Version != nil:
		return h.Version(), nil
	case req.Do == Cat && h.Cat != nil:
		return "", s.cat(ctx, a, peer, req.ID)
	case req.Do == Watch && h.Watch != nil:
		return "", s.watch(ctx, a, peer, req)
	case req.Do == Route && h.Route != nil:
		return "", s.question(ctx, a, peer, func() error { return s.route(ctx, a, peer, req) })
	case req.Do == Sessions && h.Sessions != nil:
		return "", s.question(ctx, a, peer, func() error { return a.sessions(h.Sessions(peer)) })
	case req.Do == Limits && h.Limits != nil:
		return "", s.question(ctx, a, peer, func() error {
			all, err := h.Limits(peer)
			if err != nil {
				return err
			}
			return inBatches(all, func(l Limit) Limit { return l }, a.line, func(some []Limit) frame { return frame{Limits: some} })
		})
	case req.Do == Filters && h.Filters != nil:
		return "", s.question(ctx, a, peer, func() error {
			return inBatches(h.Filters(peer), clipFilter, a.line, func(some []Filter) frame { return frame{Filters: some} })
		})
	case req.Do == EndSession && h.EndSession != nil:
		return "", h.EndSession(peer, req.ID)
	case (req.Do == Page || req.Do == Fetch || req.Do == Exchange) && h.Store != nil:
		return s.records(ctx, a, peer, req)
	case changes(req.Do) && h.Act != nil:
		return "", h.Act(ctx, peer, req)
	}
	return "", &Error{codeUnavailable, fmt.Sprintf(unknownRequest+" %q", req.Do)}
}

// changes says whether a verb changes a message.
func changes(verb string) bool {
	return slices.Contains([]string{Hold, Release, Retry, Bounce, Remove}, verb)
}

// cat sends the octets of a message. Who reads them with a pager may take all
// the time of the answer for a line.
func (s *server) cat(ctx context.Context, a *answer, peer Peer, id string) error {
	r, err := s.handler.Cat(ctx, peer, id)
	if err != nil {
		return err
	}
	defer r.Close() // only read
	a.slow = true
	piece := make([]byte, maxPiece)
	for {
		n, err := io.ReadFull(r, piece)
		if n > 0 {
			if err := writeLine(frame{Data: piece[:n]}, a.line); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// answer writes lines to a client, each within its deadline.
type answer struct {
	conn    net.Conn
	until   time.Time
	leave   func()      // gives the connection's place to another one
	crowded func() bool // whether others may want it soon; nil: never
	slow    bool        // a line may take until then
	buf     []byte      // lines not written yet
}

// flushAt is how much is gathered before it is written.
const flushAt = 32 << 10

func (a *answer) line(line []byte) error {
	a.buf = append(a.buf, line...)
	if len(a.buf) < flushAt {
		return nil
	}
	return a.flush()
}

func (a *answer) flush() error {
	limit := time.Now().Add(writeWait)
	if a.slow || a.until.Before(limit) {
		limit = a.until
	}
	rest := a.buf
	a.buf = a.buf[:0]
	for {
		now := time.Now()
		step := limit
		if look := now.Add(crowdWait); a.crowded != nil && look.Before(limit) {
			step = look
		}
		if err := a.conn.SetWriteDeadline(step); err != nil {
			return err
		}
		n, err := a.conn.Write(rest)
		rest = rest[n:]
		if !errors.Is(err, os.ErrDeadlineExceeded) || !time.Now().Before(limit) || a.crowded == nil || a.crowded() {
			return err
		}
	}
}

// parts sends messages as they are read.
func (a *answer) parts(all iter.Seq2[Part, error]) error {
	for p, err := range all {
		if err != nil {
			return err
		}
		if err := partLines(p, a.line); err != nil {
			return err
		}
	}
	return nil
}

func (a *answer) finish(text string) error {
	return a.last(frame{Done: &done{Text: clip(text)}})
}

func (a *answer) fail(err error) error {
	e := (*Error)(nil)
	if !errors.As(err, &e) {
		e = &Error{codeTempFail, err.Error()}
	}
	return a.last(frame{Error: &Error{e.Code, clip(e.Text)}})
}

func (a *answer) last(f frame) error {
	if err := writeLine(f, a.line); err != nil {
		return err
	}
	return a.flush()
}
