package control

import (
	"time"

	"postoffice/internal/peer"
)

// MaxLine bounds a line of a request or an answer, in octets.
const MaxLine = 64 << 10

// MaxOnly bounds the messages that one request names.
const MaxOnly = 200

// Request is what a client asks for.
type Request struct {
	Do     string `json:"do"`               // one of the verbs
	ID     string `json:"id,omitempty"`     // the message, for verbs about one
	Reason string `json:"reason,omitempty"` // Hold: why
	All    bool   `json:"all,omitempty"`    // Watch: messages of everybody
	Run    bool   `json:"run,omitempty"`    // Watch: try everything now
	// Only, for Watch with Run at a server for one pass: these messages alone,
	// at most MaxOnly.
	Only []string `json:"only,omitempty"`
	// Reroute, for Retry, and for Watch with Only: what is pending goes where
	// aliases, lists and .forward files lead by now.
	Reroute bool `json:"reroute,omitempty"`

	Address string `json:"address,omitempty"` // Route: who is meant
	Sender  string `json:"sender,omitempty"`  // Route: the reverse-path
}

// The verbs.
const (
	List    = "list"    // every message of the queue
	Show    = "show"    // one message, with its history
	Run     = "run"     // try everything now
	Version = "version" // of the running server
	Cat     = "cat"     // one message's header and body
	Watch   = "watch"   // what happens to messages from now on
	Route   = "route"   // where a message for an address would go

	// These change one message.
	Hold    = "hold"    // keep it in the queue untried
	Release = "release" // the end of Hold
	Retry   = "retry"   // try it now
	Bounce  = "bounce"  // return it to its sender
	Remove  = "remove"  // drop it
)

// Peer is who sits at the other end, by the kernel's word.
type Peer = peer.Peer

// Message is one queued message as mailq shows it, and its --json object.
type Message struct {
	ID         string      `json:"id"`
	Size       int64       `json:"size"` // octets of header and body
	Arrived    time.Time   `json:"arrived"`
	Sender     string      `json:"sender"`           // "" is the null reverse-path
	State      string      `json:"state"`            // Active, Deferred, Held, Corrupt or Dropped
	Reason     string      `json:"reason,omitempty"` // why it is held or corrupt
	Recipients []Recipient `json:"recipients"`
	History    []Event     `json:"history,omitempty"` // Show only, oldest first
}

// The states of a message.
const (
	Active   = "active"   // due, or being delivered
	Deferred = "deferred" // waits for its next attempt
	Held     = "held"     // waits for an administrator
	Corrupt  = "corrupt"  // can't be read and is kept aside
	Dropped  = "dropped"  // none yet: all that the user Sender has left in maildrop/, the oldest at Arrived
)

// Recipient is one recipient of a Message.
type Recipient struct {
	Address  string    `json:"address"`
	State    string    `json:"state"`
	Attempts int       `json:"attempts"`
	Next     time.Time `json:"next,omitzero"`   // the next attempt
	Relay    string    `json:"relay,omitempty"` // of the last attempt: "name[address]:port" or "local"
	Reply    string    `json:"reply,omitempty"` // of the last attempt
}

// Event is one thing that was tried for a Message, or happened to it.
type Event struct {
	Time    time.Time `json:"time"`
	Address string    `json:"address,omitempty"` // "" concerns the whole message
	Event   string    `json:"event,omitempty"`   // "" is an attempt; "held": Err says why
	Attempt int       `json:"attempt,omitempty"`
	Relay   string    `json:"relay,omitempty"` // "name[address]:port" or "local"
	Reply   string    `json:"reply,omitempty"` // word for word
	Err     string    `json:"err,omitempty"`   // what failed here, where there was no reply
	Next    time.Time `json:"next,omitzero"`
}

// Error is a request's failure, told to the client.
type Error struct {
	Code int    `json:"code"` // exit code, sysexits(3)
	Text string `json:"text"` // for people
}

func (e *Error) Error() string { return e.Text }
