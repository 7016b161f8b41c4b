package remote

import (
	"errors"
	"fmt"

	"postoffice/internal/smtp"
)

// Outcome is what came of one recipient. The zero value is Deferred.
type Outcome int

const (
	Deferred  Outcome = iota // try again later
	Delivered                // the peer took responsibility
	Bounced                  // never will be
)

func (o Outcome) String() string {
	switch o {
	case Delivered:
		return "sent"
	case Bounced:
		return "bounced"
	}
	return "deferred"
}

// A Result is the outcome for one recipient and its reason: the peer's reply
// word for word, or Err when the reason is none. Beside an Err, Reply is zero,
// a reply that makes no sense, or, if Bounced, our own words for a report.
type Result struct {
	Outcome Outcome
	Reply   smtp.Reply
	Err     error
	Relay   string // name[address]:port; "" before there was a connection
	TLS     string // protocol and cipher, "" in clear
}

// ErrStale: a session that had been used before was found closed before the
// peer read anything of this message. Nothing was tried: dial anew.
var ErrStale = errors.New("peer closed the idle session")

// ErrLimit: the session's total time ran out.
var ErrLimit = errors.New("session took too long")

// A Failure is an error of NextHops, RelayHops, Dial or DialAny with its
// outcome. ResultOf finds it.
type Failure struct {
	Result
}

func (f *Failure) Error() string {
	switch {
	case f.Err != nil && f.Relay != "":
		return fmt.Sprintf("%s: %v", f.Relay, f.Err)
	case f.Err != nil:
		return f.Err.Error()
	}
	return fmt.Sprintf("%s said %v", f.Relay, f.Reply)
}

// Unwrap gives the cause.
func (f *Failure) Unwrap() error { return f.Err }

// ResultOf turns an error of this package into the result of every recipient
// that it stopped. An error of another kind is a deferral.
func ResultOf(err error) Result {
	var f *Failure
	if errors.As(err, &f) {
		return f.Result
	}
	return Result{Err: err}
}

func deferral(err error) *Failure { return &Failure{Result{Err: err}} }

// bounce makes a permanent failure in our own words.
func bounce(code int, status, text string, err error) *Failure {
	if err == nil {
		err = errors.New(text)
	}
	return &Failure{Result{Outcome: Bounced, Reply: smtp.Reply{Code: code, Status: status, Text: text}, Err: err}}
}
