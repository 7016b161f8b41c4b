package control

import (
	"context"
	"iter"
	"time"
)

// Session is an SMTP session as postoffice sessions shows it, and its --json object.
type Session struct {
	ID       string    `json:"id"`
	Client   string    `json:"client"` // "name[address]:port", or "login[uid N]" of a program
	Helo     string    `json:"helo,omitempty"`
	TLS      string    `json:"tls,omitempty"` // version and cipher
	State    string    `json:"state"`
	QueueID  string    `json:"qid,omitempty"` // of the message that is being submitted
	Begun    time.Time `json:"begun"`
	Since    time.Time `json:"since"`    // of State
	Received int64     `json:"received"` // octets that the client has sent
}

// sessions sends them as they are looked at.
func (a *answer) sessions(all iter.Seq[Session]) error {
	for one := range all {
		if err := sessionLines([]Session{one}, a.line); err != nil {
			return err
		}
	}
	return nil
}

func sessionLines(some []Session, write func(line []byte) error) error {
	return inBatches(some, clipSession, write, func(some []Session) frame { return frame{Sessions: some} })
}

func clipSession(s Session) Session {
	s.ID, s.Client, s.Helo, s.State, s.QueueID = clip(s.ID), clip(s.Client), clip(s.Helo), clip(s.State), clip(s.QueueID)
	return s
}

// Sessions calls show with each SMTP session of now that the caller may see, until it
// returns false.
func (c *Client) Sessions(ctx context.Context, show func(Session) bool) error {
	_, err := c.ask(ctx, Request{Do: Sessions}, collector{each: show})
	if err == errEnough {
		return nil
	}
	return err
}

// EndSession ends an SMTP session. Unknown to the server, or another's, it is an
// *Error with code 69.
func (c *Client) EndSession(ctx context.Context, id string) error {
	_, err := c.ask(ctx, Request{Do: EndSession, ID: id}, collector{})
	return err
}

// Limit is a network that comes too fast and is refused something, as postoffice limits
// shows it, and its --json object.
type Limit struct {
	Network string    `json:"network"` // an address, or a network with its length
	What    string    `json:"what"`    // connections, messages, recipients or unknown recipients
	Option  string    `json:"option"`  // that says so
	Most    int       `json:"most"`    // that the network may have
	Seconds int       `json:"seconds"` // in so many
	Refused int       `json:"refused"` // since it was let on the last time
	Until   time.Time `json:"until"`   // when one more is allowed
}

// Limits calls show with each network that is refused something now, until it returns
// false. Who may not see them gets an *Error with code 77.
func (c *Client) Limits(ctx context.Context, show func(Limit) bool) error {
	_, err := c.ask(ctx, Request{Do: Limits}, collector{limit: show})
	if err == errEnough {
		return nil
	}
	return err
}

// The states of a mail filter.
const (
	FilterWorks  = "ok"     // or it was not asked yet
	FilterFailed = "failed" // when it was asked last
)

// Filter is a mail filter as postoffice sessions shows it, and its --json object. What it
// has done counts from the start of the server on, or from the reload that added it.
type Filter struct {
	Name        string    `json:"filter"`
	State       string    `json:"state"`
	Reason      string    `json:"reason,omitempty"` // it failed
	Until       time.Time `json:"until,omitzero"`   // it is left alone
	Messages    int64     `json:"messages"`         // that it was asked about
	Refused     int64     `json:"refused"`          // what it refused: clients, recipients or messages
	Edited      int64     `json:"edited"`           // messages that it changed
	Failures    int64     `json:"failures"`
	Connections int       `json:"connections"` // that are open
}

func clipFilter(f Filter) Filter {
	f.Name, f.Reason = clip(f.Name), clip(f.Reason)
	return f
}

// Filters calls show with each mail filter that the caller may see, until it returns
// false.
func (c *Client) Filters(ctx context.Context, show func(Filter) bool) error {
	_, err := c.ask(ctx, Request{Do: Filters}, collector{filter: show})
	if err == errEnough {
		return nil
	}
	return err
}
