// Package errors stands in for github.com/cockroachdb/errors: it has what
// Pebble uses of it, over the standard library's errors.
//
// What differs: there is no stack trace and no encoding for a network. Hints
// and details are shown by %+v alone, as there.
//
// Every function that wraps returns nil for a nil error. Values that Pebble
// marks as safe for logs print as their text.
package errors

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/redact"
)

// Is reports whether target is err or something err wraps or is marked with.
// Two errors are also the same if their texts are, and the types of all that
// they wrap.
func Is(err, target error) bool {
	if err == nil || target == nil || errors.Is(err, target) {
		return errors.Is(err, target)
	}
	return holds(err, describe(target))
}

// holds reports whether an error so described is in err's tree.
func holds(err error, what string) bool {
	if err == nil {
		return false
	}
	if describe(err) == what {
		return true
	}
	switch e := err.(type) {
	case *marked:
		return holds(e.error, what) || holds(e.mark, what)
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(e.Unwrap(), func(err error) bool { return holds(err, what) })
	}
	return holds(errors.Unwrap(err), what)
}

// describe is err's text and the types of its chain.
func describe(err error) string {
	text := fmt.Sprintf("%s\x00", err.Error())
	for ; err != nil; err = errors.Unwrap(err) {
		text += fmt.Sprintf("%T ", err)
	}
	return text
}

// IsAny reports whether Is holds for one of targets.
func IsAny(err error, targets ...error) bool {
	for _, t := range targets {
		if Is(err, t) {
			return true
		}
	}
	return false
}

// As finds the first error in err's tree that target can hold.
func As(err error, target any) bool { return errors.As(err, target) }

// Unwrap returns what err wraps, nil if it wraps nothing or several.
func Unwrap(err error) error { return errors.Unwrap(err) }

// UnwrapAll returns the innermost error of a chain.
func UnwrapAll(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// Join makes one error of those that aren't nil, a line each.
func Join(errs ...error) error {
	errs = slices.DeleteFunc(slices.Clone(errs), func(err error) bool { return err == nil })
	if len(errs) == 0 {
		return nil
	}
	return &joined{errs}
}

type joined struct{ errs []error }

func (e *joined) Unwrap() []error { return e.errs }
func (e *joined) Error() string   { return redact.Sprint(e).StripMarkers() }

func (e *joined) SafeFormat(p redact.SafePrinter, _ rune) {
	for i, err := range e.errs {
		if i > 0 {
			p.SafeRune('\n')
		}
		p.Print(err)
	}
}

// Safe marks a value as fit for a log that strangers read.
func Safe(v any) redact.SafeValue { return redact.Safe(v) }
