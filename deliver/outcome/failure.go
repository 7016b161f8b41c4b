package outcome

import (
	"errors"
	"fmt"
)

// A Failure is an error with the outcome of every recipient that it stopped.
type Failure struct {
	Outcome
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

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Of returns the outcome of an error: that of the Failure in it, else a
// deferral without a reply.
func Of(err error) Outcome {
	if f := (*Failure)(nil); errors.As(err, &f) {
		return f.Outcome
	}
	return Outcome{Err: err}
}
