package resolver

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

var (
	// ErrNotFound: a server said NXDOMAIN, or the text can't be a domain name.
	// The only permanent failure, next to ErrNullMX.
	ErrNotFound = errors.New("no such domain")

	// ErrNullMX: the domain says that it takes no mail (RFC 7505).
	ErrNullMX = errors.New("domain takes no mail (null MX)")

	// ErrTemporary: everything else. Ask again later.
	ErrTemporary = errors.New("temporary DNS failure")
)

// An Error says what was asked, of whom, and what came of it. It unwraps to
// one of the sentinels and to its cause.
type Error struct {
	Question string        // as "MX example.org"
	Kind     error         // ErrNotFound, ErrNullMX or ErrTemporary
	Words    string        // as "192.0.2.53:53 said SERVFAIL"
	Took     time.Duration // from the question to the failure; 0 unknown
	Cause    error         // nil, or the network's or the context's error
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %v", e.Question, e.Kind)
	if e.Words != "" {
		fmt.Fprintf(&b, ": %s", e.Words)
	}
	if e.Took > 0 {
		fmt.Fprintf(&b, " (in %v)", e.Took.Round(time.Millisecond))
	}
	return b.String()
}

// Unwrap gives the sentinel and, if there is one, the cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

func notFound(q question, words string) error {
	return &Error{Question: q.String(), Kind: ErrNotFound, Words: words}
}

func temporary(q question, words string, cause error) error {
	return &Error{Question: q.String(), Kind: ErrTemporary, Words: words, Cause: cause}
}
