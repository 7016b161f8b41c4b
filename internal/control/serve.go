package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"slices"
	"sync"
	"time"

	"postoffice/internal/peer"
)

// Limits of the server's side.
const (
	maxConns   = 64               // served at once
	maxPerUID  = 16               // of them for one uid other than 0
	readWait   = 10 * time.Second // for the request
	writeWait  = 30 * time.Second // for one line of the answer
	answerWait = 10 * time.Minute // for the whole
	acceptWait = 100 * time.Millisecond
)

// Exit codes, sysexits(3), of failures that arise here.
const (
	codeUsage       = 64
	codeUnavailable = 69
	codeTempFail    = 75
	codeProtocol    = 76
)

// Handler answers requests. A nil function is a request that is not offered.
// An *Error goes to the client as it is; any other error as code 75.
type Handler struct {
	List    func(ctx context.Context, p Peer) iter.Seq2[Message, error]
	Show    func(ctx context.Context, p Peer, id string) (Message, error)
	Run     func(ctx context.Context, p Peer) error
	Version func() string
	Cat     func(ctx context.Context, p Peer, id string) (io.ReadCloser, error)
	Act     func(ctx context.Context, p Peer, r Request) error // the verbs that change a message

	// Watch sends nothing, once, when it has begun, then sights until ctx ends
	// or it is over. An error of send ends it.
	Watch func(ctx context.Context, p Peer, r Request, send func([]Sight) error) error

	Route func(ctx context.Context, p Peer, r Request) iter.Seq2[Step, error]
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
	requests room
	watchers room
}

func newServer(h Handler) *server {
	return &server{handler: h, requests: newRoom(maxConns, maxPerUID), watchers: newRoom(maxWatchers, maxWatchersOfUID)}
}

// accept serves conn in a goroutine of its own if there is room.
func (s *server) accept(ctx context.Context, conn net.Conn) {
	unix, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return
	}
	who, err := peer.Of(unix)
	if err != nil || !s.requests.enter(who.UID) {
		a := &answer{conn: unix, until: time.Now().Add(time.Second)}
		_ = a.fail(&Error{codeTempFail, "too many requests at once, try again later"})
		conn.Close()
		return
	}
	leave := sync.OnceFunc(func() { s.requests.leave(who.UID) })
	s.all.Go(func() {
		defer leave()
		defer conn.Close()
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		defer stop()
		s.serve(ctx, unix, who, leave)
	})
}

// serve reads the request and writes the answer. An error of the connection
// ends it; there is nobody to tell.
func (s *server) serve(ctx context.Context, conn *net.UnixConn, peer Peer, leave func()) {
	a := &answer{conn: conn, until: time.Now().Add(answerWait), leave: leave}
	if conn.SetReadDeadline(time.Now().Add(readWait)) != nil {
		return
	}
	line, err := readLine(bufio.NewReaderSize(conn, maxRequest))
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
		for m, err := range h.List(ctx, peer) {
			if err != nil {
				return "", err
			}
			if err := a.message(m); err != nil {
				return "", err
			}
		}
		return "", nil
	case req.Do == Show && h.Show != nil:
		m, err := h.Show(ctx, peer, req.ID)
		if err != nil {
			return "", err
		}
		return "", a.message(m)
	case req.Do == Run && h.Run != nil:
		return "", h.Run(ctx, peer)
	case req.Do == Version && h.Version != nil:
		return h.Version(), nil
	case req.Do == Cat && h.Cat != nil:
		return "", s.cat(ctx, a, peer, req.ID)
	case req.Do == Watch && h.Watch != nil:
		return "", s.watch(ctx, a, peer, req)
	case req.Do == Route && h.Route != nil:
		return "", s.route(ctx, a, peer, req)
	case changes(req.Do) && h.Act != nil:
		return "", h.Act(ctx, peer, req)
	}
	return "", &Error{codeUnavailable, fmt.Sprintf("the server knows no request %q", req.Do)}
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
	conn  *net.UnixConn
	until time.Time
	leave func() // gives the connection's place to another one
	slow  bool   // a line may take until then
	buf   []byte // lines not written yet
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
	if err := a.conn.SetWriteDeadline(limit); err != nil {
		return err
	}
	_, err := a.conn.Write(a.buf)
	a.buf = a.buf[:0]
	return err
}

func (a *answer) message(m Message) error { return messageLines(m, a.line) }

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
