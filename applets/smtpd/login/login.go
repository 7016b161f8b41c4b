package login

import (
	"context"
	"net/netip"

	"postoffice/internal/sasl"
)

// Mechanisms of SASL that a Dialogue knows by itself, in the registry's spelling.
const (
	Plain = "PLAIN" // RFC 4616
	Login = "LOGIN" // two prompts; a Source sees it as PLAIN
)

// ClientFirst says whether the client speaks first in a mechanism.
func ClientFirst(mechanism string) bool { return mechanism != Login && mechanism != "CRAM-MD5" }

// Client is who wants to log in.
type Client struct {
	Addr, Server netip.AddrPort // the zero AddrPort is not known
	Session      string         // in the log
	TLS          bool           // what it says comes under TLS
	Bindings     sasl.Bindings  // of that; none where no mechanism with binding is offered
	Among        bool           // another Source is asked about a name that this one doesn't have
}

// Mechanism is one by which accounts of a Source can log in.
type Mechanism struct {
	Name string // as the registry of SASL spells it
	Some bool   // some accounts can't: it is offered only where Offer.Only names it
}

// A Source knows accounts. It is used by many sessions at once.
type Source interface {
	// Mechanisms are what it can do. It answers from what it knows already.
	Mechanisms() []Mechanism
	// Begin begins an exchange by one of them. It doesn't wait.
	Begin(c Client, mechanism string) Exchange
}

// An Exchange is one attempt. Its calls come one after the other.
type Exchange interface {
	// Step takes what the client said, nil if the exchange begins with what the server
	// says, and returns what the client is asked next, or how the exchange has
	// ended, if that isn't Asks.
	Step(ctx context.Context, response []byte) (challenge []byte, r Result)
	// Close ends it, if it has not ended.
	Close()
}

// Result is how an exchange stands.
type Result struct {
	Answer Answer
	User   string // of Yes: the account
	Err    error  // of Later, and of a No that wants a word in the log; for the log alone

	Refused bool // of Later: another source has said no, so that it may be a guess at what that has
}

// Answer is what a Source says.
type Answer uint8

const (
	Asks    Answer = iota // the client is to say more
	Yes                   // it is User
	No                    // it is not, or may not
	Later                 // that isn't known now
	Unknown               // no account of this Source has that name
)
