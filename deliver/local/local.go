package local

import (
	"io"

	"postoffice/deliver/outcome"
)

// A Result is what became of a delivery or a job: an outcome or, as Answer
// says, something else.
type Result struct {
	outcome.Outcome
	Answer Answer
}

// An Answer says what a Result is.
type Answer byte

const (
	Settled   Answer = iota // Outcome says what became of it
	Forwarded               // nothing was written: the account has a .forward, which is to be listed
	Changed                 // nothing was done: the item does not stand there any more; Outcome is a deferral
)

// String returns one word: "forwarded", "changed", or the outcome's action.
func (r Result) String() string {
	switch r.Answer {
	case Forwarded:
		return "forwarded"
	case Changed:
		return "changed"
	}
	return r.Action.String()
}

// Settle returns the result that is an outcome.
func Settle(o outcome.Outcome) Result { return Result{Outcome: o} }

// Delivery is one message for one account.
type Delivery struct {
	User string    // the account
	Body io.Reader // the finished octets (see Format), read once to its end
	Size int64     // octets in Body at most, -1 if unknown: room that is asked for first

	Quota int64 // octets that the mailbox may have with it; 0: there is no bound

	Final     bool   // into the mailbox whatever .forward says: \user, and a copy kept by one's own name
	Extension string // the detail of user+detail: also a .forward+detail counts; "" none
	Folder    string // "": the mailbox; "~/path" in the home directory; else the mailbox USER:Folder beside it
}

// RoomInFront is what a message grows by at most in a mailbox, but for the ">" of option
// escape-from: From_ line and fields with their addresses.
const RoomInFront = 2 << 10
