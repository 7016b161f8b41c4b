package outcome

import (
	"errors"

	"postoffice/internal/smtp"
)

// An Action is what has become of a recipient in one attempt.
type Action int

const (
	Deferred  Action = iota // will be tried again
	Delivered               // done: whoever took the message is responsible for it
	Bounced                 // will never work: goes back to the sender
)

func (a Action) String() string {
	switch a {
	case Delivered:
		return "delivered"
	case Bounced:
		return "bounced"
	}
	return "deferred"
}

// An Outcome is the result of one attempt for one recipient.
type Outcome struct {
	Action Action
	Reply  smtp.Reply // what was said, word for word, or our own words
	Err    error      // the cause where nobody replied, or the reply makes no sense; of a refusal of ours what it rests on; an Advice; nil else
	Relay  string     // who said it: "host[address]:port", "local", "lmtp", or ""
	TLS    string     // protocol and cipher of the session with Relay; "" in clear and without one
}

// An Advice is the Err of a refusal by another server of which more is known than its words
// say: what whoever sent the message can do.
type Advice string

func (a Advice) Error() string { return string(a) }

// Advice is what there is to do, "" if no more is known of that than the reply.
func (o Outcome) Advice() string {
	var a Advice
	errors.As(o.Err, &a)
	return string(a)
}

// Cause returns the reason as an error.
func (o Outcome) Cause() error {
	if o.Err != nil {
		return o.Err
	}
	return errors.New(o.Reply.String())
}

// DSN returns the enhanced status code (RFC 3463): the reply's own, else the
// general one of the action, and 4.4.1 where nobody replied.
func (o Outcome) DSN() string {
	if o.Reply.Status != "" {
		return o.Reply.Status
	}
	switch o.Action {
	case Delivered:
		return "2.0.0"
	case Bounced:
		return "5.0.0"
	}
	if o.Reply.IsZero() && o.Err != nil {
		return "4.4.1"
	}
	return "4.0.0"
}
