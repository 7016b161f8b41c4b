package errors

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/redact"
)

// New returns an error with this text, which is no secret.
func New(text string) error { return &leaf{redact.RedactableString(text)} }

// Newf formats a new error. What %w stands for is wrapped.
func Newf(format string, args ...any) error {
	text := redact.Sprintf(strings.ReplaceAll(format, "%w", "%v"), args...)
	if !strings.Contains(format, "%w") {
		return &leaf{text}
	}
	return &worded{leaf{text}, fmt.Errorf(format, args...)}
}

// Errorf is Newf.
func Errorf(format string, args ...any) error { return Newf(format, args...) }

// AssertionFailedf formats an error that means a fault in the program.
func AssertionFailedf(format string, args ...any) error {
	return &assertion{Newf(format, args...)}
}

// IsAssertionFailure reports whether err is of AssertionFailedf.
func IsAssertionFailure(err error) bool {
	var a *assertion
	return errors.As(err, &a)
}

// sprintf formats as redact does, which asks Pebble's types for their text in
// its own way, and takes the marks for secrets out again.
func sprintf(format string, args []any) string {
	return redact.Sprintf(format, args...).StripMarkers()
}

// leaf is an error that wraps nothing. Its text has marks around what may be
// secret; redact formats, which ask Pebble's types for their text in their own
// way, set them.
type leaf struct{ text redact.RedactableString }

func (e *leaf) Error() string                           { return e.text.StripMarkers() }
func (e *leaf) SafeFormat(p redact.SafePrinter, _ rune) { p.Print(e.text) }

// worded is an error whose text isn't made of the text of what it wraps.
type worded struct {
	leaf
	err error
}

func (e *worded) Unwrap() error { return e.err }

type assertion struct{ error }

func (e *assertion) Unwrap() error                           { return e.error }
func (e *assertion) SafeFormat(p redact.SafePrinter, _ rune) { p.Print(e.error) }
