package config

import (
	"errors"
	"strings"
)

// The kinds of things that can be wrong. Exit codes hang on them, so they are
// to be told apart with errors.Is.
var (
	ErrBad        = errors.New("bad configuration")
	ErrNotAllowed = errors.New("not allowed")
	ErrInsecure   = errors.New("insecure file")
	ErrUnreadable = errors.New("unreadable file")
)

// Error is one thing that is wrong.
type Error struct {
	Kind  error  // one of the above
	Where string // "FILE:LINE", "FILE" or "-o NAME=VALUE"
	Text  string // what is wrong
	Hint  string // what to do, "" where the text says it

	Option string // which option it is about, or is the nearest to an unknown name; "" if that can't be said
}

func (e *Error) Error() string { return e.Where + ": " + e.Text }
func (e *Error) Unwrap() error { return e.Kind }

// unreadable is the kind of a file that can't be read, with the system's error
// in it: some may pass.
func unreadable(err error) error { return errors.Join(ErrUnreadable, err) }

// Errors is everything that is wrong, in the order of the files.
type Errors []*Error

func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.Is and errors.As see each.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, one := range e {
		all[i] = one
	}
	return all
}
