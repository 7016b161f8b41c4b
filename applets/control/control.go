package control

import (
	"slices"
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
	// Until, for what changes a message: when to give up waiting for whoever works on
	// it. Zero: deliver.AdminWait from now, and never later than that.
	Until time.Time `json:"until,omitzero"`

	Address string `json:"address,omitempty"` // Route: who is meant
	Sender  string `json:"sender,omitempty"`  // Route: the reverse-path

	Part  string   `json:"part,omitempty"`  // Page, Fetch and Exchange: of the store
	After []byte   `json:"after,omitempty"` // Page: the key behind which it begins
	Keys  [][]byte `json:"keys,omitempty"`  // Fetch: which ones
	Swaps []Swap   `json:"swaps,omitempty"` // Exchange: the changes
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

	Sessions   = "sessions" // the SMTP sessions of now
	EndSession = "end"      // the end of one
	Limits     = "limits"   // who comes too fast and is refused
	Filters    = "filters"  // the mail filters, and what they have done

	// These are about what the server keeps of strangers.
	Page     = "page"     // some records, in the order of their keys
	Fetch    = "fetch"    // what keys hold
	Exchange = "exchange" // values put in others' places, where those are still there

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
	Sender     string      `json:"sender"`                // "" is the null reverse-path
	State      string      `json:"state"`                 // Active, Deferred, Held, Waiting, Corrupt or Dropped
	Reason     string      `json:"reason,omitempty"`      // why it is held or corrupt, or waits longer than others for filters
	Files      int         `json:"files,omitempty"`       // Dropped: how many messages they are
	RequireTLS bool        `json:"require_tls,omitempty"` // it came with REQUIRETLS
	Recipients []Recipient `json:"recipients"`
	History    []Note      `json:"history,omitempty"` // Show only, oldest first
	Private    bool        `json:"private,omitempty"` // it isn't theirs who ask: no more is shown than ID, Size, Arrived and State
}

// Part is a piece of an answer that shows messages. Message begins one and has no
// recipients; Recipients and History go on with it.
type Part struct {
	Message    *Message
	Recipients []Recipient
	History    []Note
}

// The states of a message.
const (
	Active   = "active"   // due, or being delivered
	Deferred = "deferred" // waits for its next attempt
	Held     = "held"     // waits for an administrator
	Waiting  = "waiting"  // waits for filters to judge it
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
	TLS      string    `json:"tls,omitempty"`   // of the session with Relay: protocol and cipher
	Reply    string    `json:"reply,omitempty"` // of the last attempt
}

// Note is one thing that was tried for a Message, or happened to it.
type Note struct {
	Time    time.Time `json:"time"`
	For     []Range   `json:"for,omitempty"`     // the recipients that it speaks of; none: the whole message
	Address string    `json:"address,omitempty"` // for programs that read JSON, instead of For
	Event   string    `json:"event,omitempty"`   // "" is an attempt; "held": Err says why
	Attempt int       `json:"attempt,omitempty"`
	Relay   string    `json:"relay,omitempty"` // "name[address]:port" or "local"
	TLS     string    `json:"tls,omitempty"`   // of the session with Relay: protocol and cipher
	Reply   string    `json:"reply,omitempty"` // word for word
	Err     string    `json:"err,omitempty"`   // what failed here, where there was no reply
	Next    time.Time `json:"next,omitzero"`
}

// Range is recipients of a Message by their numbers, counted from 0: the first and
// the last.
type Range [2]int

// MaxRanges bounds the ranges of recipients of one Note.
const MaxRanges = 2000

// Extend adds the recipient n to ranges.
func Extend(ranges []Range, n int) []Range {
	if last := len(ranges) - 1; last >= 0 && ranges[last][1]+1 == n {
		ranges[last][1] = n
		return ranges
	}
	return append(ranges, Range{n, n})
}

// Speaks reports whether n is about recipient number i.
func (n Note) Speaks(i int) bool {
	return len(n.For) == 0 || slices.ContainsFunc(n.For, func(r Range) bool { return r[0] <= i && i <= r[1] })
}

// Error is a request's failure, told to the client.
type Error struct {
	Code int    `json:"code"` // exit code, sysexits(3)
	Text string `json:"text"` // for people
}

func (e *Error) Error() string { return e.Text }
