package milter

import (
	"net/netip"

	"postoffice/internal/smtp"
)

// A Step is a place in a session at which a filter is asked.
type Step uint8

// The steps, in the order of a session. Header and Body come many times.
const (
	AtConnect Step = iota
	AtHelo
	AtMail
	AtRcpt
	AtData
	AtHeader
	AtEndOfHeader
	AtBody
	AtEnd
	AtUnknown // a command that the server doesn't know, anywhere
)

// String is the step's name in messages.
func (s Step) String() string { return table[s].name }

// An Action is what a filter wants done.
type Action uint8

// The actions. A filter can't say Discard of a connection.
const (
	Continue  Action = iota // go on
	Accept                  // go on, and don't ask again: of this message or, at AtConnect and AtHelo, session
	Reject                  // refuse for good, in the server's own words
	Tempfail                // refuse for now, in the server's own words
	ReplyCode               // refuse with Verdict.Reply
	Discard                 // say yes, and throw the message away
	Skip                    // go on, and leave out the rest of this kind: header fields, body, recipients
	Shutdown                // 421 and the end of the session; Verdict.Reply, if it isn't zero, is the 421
	ConnFail                // the end of the session without a word
)

// String is the action's name in messages.
func (a Action) String() string { return actionNames[a] }

var actionNames = [...]string{"continue", "accept", "reject", "tempfail", "reply", "discard", "skip", "shutdown", "connection failure"}

// A Verdict is what a filter says at one step.
type Verdict struct {
	Action Action
	// Reply is that of ReplyCode: 4xx or 5xx, an enhanced status code of its class
	// or none, and printable ASCII. A 421 makes the action Shutdown.
	Reply smtp.Reply
}

// A Macro is a value that goes to the filter beside a step, by the name that
// sendmail gives it: "j", "{daemon_name}".
type Macro struct{ Name, Value string }

// A Client is who has connected. Without an address and a path it is unknown.
type Client struct {
	Name string         // its host name, or the address in brackets
	Addr netip.AddrPort // its address and port
	Path string         // that of a socket of this machine
}

// A Kind is what an Edit does.
type Kind uint8

// The kinds of edits.
const (
	AddHeader    Kind = iota // Name, Value: behind the header's last field
	InsertHeader             // Index, Name, Value
	ChangeHeader             // Index, Name, Value
	DeleteHeader             // Index, Name
	AddRcpt                  // Path, Params
	DeleteRcpt               // Path
	ChangeFrom               // Path, which may be the null path, and Params
	ReplaceBody              // the octets are in the writer that End was given
	Quarantine               // Value is the reason, printable ASCII
)

// String is the kind's name in messages.
func (k Kind) String() string { return kindNames[k] }

var kindNames = [...]string{
	"add a header field", "insert a header field", "change a header field", "delete a header field",
	"add a recipient", "delete a recipient", "change the sender", "replace the body", "quarantine",
}

// An Edit is one change that a filter wants made to a message. They apply one after
// the other.
type Edit struct {
	Kind Kind
	// Index is, of InsertHeader, how many fields stand in front of the new one, those
	// counted that the filter wasn't shown, such as our own Received. Of ChangeHeader
	// and DeleteHeader it is which field of that name is meant, counted from 1, those
	// alone counted that the filter was shown.
	Index int
	Name  string // of the field
	// Value is what stands behind the field's colon, the blank included, at most 64
	// KiB. A line end in it is LF and a blank or tab follows.
	Value  string
	Path   smtp.Path // without a domain where the filter gave none
	Params []smtp.Param
}

// A Result is what comes of the end of a message. The edits count for nothing unless
// the verdict is Continue or Accept.
type Result struct {
	Verdict Verdict
	Edits   []Edit // at most one of them is ReplaceBody
	// Refused has a text for each edit that isn't among them, because it wasn't
	// agreed on or would break the message.
	Refused []string
	// BodyErr is the error of the writer that took the new body. The filter has no
	// part in it, and there is no ReplaceBody among the edits.
	BodyErr error
}
