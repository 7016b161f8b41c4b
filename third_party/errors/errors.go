// Package errors stands in for github.com/cockroachdb/errors: it has what
// Pebble uses of it, over the standard library's errors.
//
// What differs: there is no stack trace, no encoding for a network, and two
// errors are the same only if they are one value or one is marked with the
// other, never because their texts are equal. Hints and details are shown by
// %+v alone, as there.
//
// Every function that wraps returns nil for a nil error. Values that Pebble
// marks as safe for logs print as their text.
package errors

import (
	"errors"

	"github.com/cockroachdb/redact"
)

// Is reports whether target is err or something err wraps or is marked with.
func Is(err, target error) bool { return errors.Is(err, target) }

// IsAny reports whether Is holds for one of targets.
func IsAny(err error, targets ...error) bool {
	for _, t := range targets {
		if errors.Is(err, t) {
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

// Join makes one error of those that aren't nil.
func Join(errs ...error) error { return errors.Join(errs...) }

// Safe marks a value as fit for a log that strangers read.
func Safe(v any) redact.SafeValue { return redact.Safe(v) }
