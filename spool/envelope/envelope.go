package envelope

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"postoffice/internal/smtp"
)

// MaxRecipients bounds the recipients of one message, those of its expansions
// included; the reader refuses more.
const MaxRecipients = 100_000

// Envelope is what a message arrives with. It never changes.
type Envelope struct {
	Arrived     time.Time // kept in UTC and to the microsecond
	Client      string    // where from: "name[address]:port" or "uid 1000"
	Session     string    // the log's name of the SMTP session
	Folder      string    // where local recipients' copies go instead of their mailbox; "": nowhere else
	ReversePath smtp.Path
	Params      []smtp.Param     // of MAIL: BODY, RET, ENVID …
	Recipients  []smtp.Recipient // at least one; Params of RCPT: NOTIFY, ORCPT …
}

// State is a recipient's slot, as the octet on disk.
type State byte

// The states. Every one but Pending is final: the recipient is not handed out
// again.
const (
	Pending   State = '-' // to be delivered, or to be expanded
	Delivered State = 'D'
	Bounced   State = 'B' // refused or too old, and its report, if one is due, is durable
	Expanded  State = 'E' // its targets are in an expansion block
	Cancelled State = 'C' // taken out by a person: neither delivered nor reported
)

// Known reports whether a slot may hold s.
func (s State) Known() bool { return strings.IndexByte("-DBEC", byte(s)) >= 0 }

// String is the state in words, for people.
func (s State) String() string {
	switch s {
	case Pending:
		return "pending"
	case Delivered:
		return "delivered"
	case Bounced:
		return "bounced"
	case Expanded:
		return "expanded"
	case Cancelled:
		return "cancelled"
	}
	return fmt.Sprintf("state %q", byte(s))
}

// Kind says what a recipient is.
type Kind byte

const (
	Address Kind = iota // an address, to be expanded if it has an alias or a .forward
	Mailbox             // the mailbox of the local user that Path names: expanded no further
	Program             // an item of the alias file or of a .forward, which Agent names
)

// Target is a recipient without its place in the message.
type Target struct {
	Kind   Kind
	Path   smtp.Path    // of an Address or a Mailbox
	Params []smtp.Param // of RCPT
	Agent  *Agent       // of a Program, else nil
}

// String names t for people: an item by where it stands, since its text is not
// known here.
func (t Target) String() string {
	switch {
	case t.Agent == nil:
		return t.Path.String()
	case t.Agent.Source == FromForward:
		return "program or file in the .forward of " + t.Agent.Name
	}
	return "program, file or list of " + string(t.Agent.Source) + " " + t.Agent.Name
}

// Original is t as the envelope has it.
func (t Target) Original() smtp.Recipient { return smtp.Recipient{Path: t.Path, Params: t.Params} }

// Agent names a program, a file or a list without holding its text: whoever
// runs or reads it looks it up where it stands and takes the item with that
// hash (A18). A command or a path is never in the spool.
type Agent struct {
	Source AgentSource
	Name   string            // the alias, the user whose .forward it is, or the name that usermap was asked for
	Hash   [sha256.Size]byte // SHA-256 of the item's text
}

// AgentSource is the kind of file an Agent or a target stands in, as the word
// on disk.
type AgentSource string

const (
	FromAlias   AgentSource = "alias"
	FromForward AgentSource = "forward"
	FromUsermap AgentSource = "usermap"
	FromList    AgentSource = "list" // a Via alone: the list that an alias names
)

// Via says what a recipient was expanded by. It is zero in the envelope, and in
// expansions that do not say it.
type Via struct {
	Source AgentSource
	Name   string // as an Agent's; of a list the alias that names it
}

// Key is a recipient's place: the envelope is block 0, expansions count from 1.
type Key struct{ Block, Index int }

// NoKey is the Parent of the envelope's recipients.
var NoKey = Key{-1, -1}

// Compare orders keys as the recipients stand in the file.
func (k Key) Compare(l Key) int {
	return cmp.Or(cmp.Compare(k.Block, l.Block), cmp.Compare(k.Index, l.Index))
}

func (k Key) String() string { return fmt.Sprintf("%d.%d", k.Block, k.Index) }

// Recipient is one recipient of a message and how far it is.
type Recipient struct {
	Target
	State       State
	Key         Key
	Parent      Key       // whose expansion it comes from; NoKey in the envelope
	Via         Via       // what that was expanded by
	Owner       string    // whose file said so, where that is not Via's own name
	ReversePath smtp.Path // where failures are reported: its expansion's, else its parent's
}

// Expansion is what a recipient was found to stand for.
type Expansion struct {
	Via         Via        // what was looked up; zero: it is not said
	Owner       string     // of a list or usermap: the user whose file it is; "" nobody's, or it is not said
	ReversePath *smtp.Path // nil: the parent's
	Targets     []Target   // at least one
}

// Note is a hint about an attempt or an event. Notes are not synced: a crash
// may take the last ones, which costs an early retry and nothing else.
type Note struct {
	Time    time.Time // kept to the microsecond
	Event   string    // one word; "" is an attempt
	Keys    []Key     // the recipients it speaks of; none: the whole message
	Attempt int       // counted from 1; 0: not given
	Relay   string    // "name[address]:port" or "local"
	TLS     string    // protocol and cipher of the session with Relay; "" in clear
	Reply   smtp.Reply
	Err     string    // a failure of ours or of the network
	Next    time.Time // when the next attempt is due; zero: not given
}
