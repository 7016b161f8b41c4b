package control

import (
	"context"
	"errors"
	"time"
)

// Limits of watching.
const (
	maxWatchers = 64             // at one time, shared as maxConns
	watchWait   = 25 * time.Hour // a watch as a whole
)

// Event is one thing that a watcher sees, about one message: one of Line,
// Outcome, End and Lost.
type Event struct {
	ID      string   `json:"id,omitempty"`
	Line    *Line    `json:"line,omitempty"`
	Outcome *Outcome `json:"outcome,omitempty"`
	End     *End     `json:"end,omitempty"`
	Lost    int      `json:"lost,omitempty"` // lines that this watcher was too slow for
}

// Line is a line of a conversation with another server.
type Line struct {
	Relay string `json:"relay"` // "name[address]:port"
	Dir   string `json:"dir"`   // one of the directions
	Text  string `json:"text,omitempty"`
}

// The directions of a Line.
const (
	Opened   = "+" // a connection
	Sent     = ">"
	Received = "<"
	Closed   = "-" // or not to be had; the text is the reason, where there is one
)

// Outcome is what has become of a recipient.
type Outcome struct {
	Address  string    `json:"address"`
	Original string    `json:"original"` // the recipient of the envelope that led to it
	Status   string    `json:"status"`   // sent, deferred, bounced or expired
	Relay    string    `json:"relay,omitempty"`
	DSN      string    `json:"dsn,omitempty"`   // the reply's enhanced status code
	Reply    string    `json:"reply,omitempty"` // word for word
	Err      string    `json:"err,omitempty"`
	Next     time.Time `json:"next,omitzero"` // the next attempt
}

// End says that an attempt at a message is over.
type End struct {
	Pending int  `json:"pending"`         // recipients that are still to get the message
	Again   bool `json:"again,omitempty"` // some had no turn, and will have one soon
	Kept    bool `json:"kept,omitempty"`  // there was no attempt: the message waits for the next run of the queue
}

// watch lets the handler send until it returns or the client closes its end.
// A watcher has a place of its own and gives back that of a request.
func (s *server) watch(ctx context.Context, a *answer, peer Peer, req Request) error {
	leave, crowded := s.enter(&s.watchers, peer.UID, maxWatchers)
	if leave == nil {
		return &Error{codeTempFail, "too many watch at once, try again later"}
	}
	defer leave()
	a.leave()
	a.crowded = crowded
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := a.conn.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		a.conn.Read(make([]byte, 1)) // whatever comes, it ends the watch
		cancel()
	}()
	err := s.handler.Watch(ctx, peer, req, func(some []Event) error {
		if err := eventLines(some, a.line); err != nil {
			return err
		}
		return a.flush()
	})
	a.conn.SetReadDeadline(time.Unix(1, 0))
	<-closed
	return err
}

// eventLines writes events in as many lines as they need, an empty one for
// none.
func eventLines(some []Event, write func(line []byte) error) error {
	if len(some) == 0 {
		return writeLine(frame{Watched: []Event{}}, write)
	}
	return inBatches(some, clipEvent, write, func(some []Event) frame { return frame{Watched: some} })
}

func clipEvent(e Event) Event {
	if e.Line != nil {
		e.Line = &Line{clip(e.Line.Relay), e.Line.Dir, clip(e.Line.Text)}
	}
	if e.Outcome != nil {
		o := *e.Outcome
		o.Address, o.Original, o.Relay, o.Reply, o.Err = clip(o.Address), clip(o.Original), clip(o.Relay), clip(o.Reply), clip(o.Err)
		e.Outcome = &o
	}
	return e
}

// Watch shows what happens to messages while they are delivered: those that the
// caller has submitted, or with r.All, for root and the queue's owner, all.
// With r.Run everything is tried now, and the watch ends when that is done. event
// is called once, without events, when the watch has begun, and then for each
// piece of it; false ends it. The error is nil if event or the server has ended
// the watch.
func (c *Client) Watch(ctx context.Context, r Request, event func([]Event) bool) error {
	r.Do = Watch
	_, err := c.ask(ctx, r, collector{event: event})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}
