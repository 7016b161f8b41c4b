package remote

import (
	"errors"

	"postoffice/deliver/outcome"
)

// ErrStale: a session that had been used before was found closed before the
// peer read anything of this message. Nothing was tried: dial anew.
var ErrStale = errors.New("peer closed the idle session")

// ErrLimit: the session's total time ran out.
var ErrLimit = errors.New("session took too long")

func deferral(err error) *outcome.Failure {
	return &outcome.Failure{Outcome: outcome.Outcome{Err: err}}
}

// bounce makes a permanent failure in our own words.
func bounce(code int, status, text string, err error) *outcome.Failure {
	if err == nil {
		err = errors.New(text)
	}
	o := outcome.Refusal(status, text, err)
	o.Reply.Code = code
	return &outcome.Failure{Outcome: o}
}
