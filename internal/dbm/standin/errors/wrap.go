package errors

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"

	"github.com/cockroachdb/redact"
)

// Wrap puts text and a colon before err's.
func Wrap(err error, text string) error {
	if err == nil || text == "" {
		return err
	}
	return &worded{leaf{redact.Sprintf("%s: %v", redact.Safe(text), public(err))}, err}
}

// Wrapf is Wrap with a formatted text.
func Wrapf(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &worded{leaf{redact.Sprintf("%s: %v", redact.Sprintf(format, args...), public(err))}, err}
}

// public marks the system's own errors as no secret.
func public(err error) any {
	switch err {
	case fs.ErrInvalid, fs.ErrPermission, fs.ErrExist, fs.ErrNotExist, fs.ErrClosed:
		return redact.Safe(err.Error())
	}
	return err
}

// WithStack returns err: there are no stack traces.
func WithStack(err error) error { return err }

// WithDetailf adds what an administrator may want to know.
func WithDetailf(err error, format string, args ...any) error {
	return annotate(err, note{"detail", sprintf(format, args)})
}

// WithHintf adds what to do about it.
func WithHintf(err error, format string, args ...any) error {
	return annotate(err, note{"hint", sprintf(format, args)})
}

// WithSafeDetails adds what may be shown to strangers: of args only those
// that are marked as safe appear in it.
func WithSafeDetails(err error, format string, args ...any) error {
	return annotate(err, note{safeDetail, redact.Sprintf(format, args...).Redact().StripMarkers()})
}

// WithSecondaryError adds an error that happened while err was handled. It is
// shown by %+v only and can't be found by Is or As.
func WithSecondaryError(err, second error) error {
	if err == nil || second == nil {
		return err
	}
	return annotate(err, note{"then", second.Error()})
}

// CombineErrors is WithSecondaryError that makes do with either of the two.
func CombineErrors(err, second error) error {
	if err == nil {
		return second
	}
	return WithSecondaryError(err, second)
}

// Mark makes err also be mark for Is; its text stays.
func Mark(err, mark error) error {
	if err == nil {
		return nil
	}
	return &marked{err, mark}
}

type marked struct {
	error
	mark error
}

func (e *marked) Unwrap() error                           { return e.error }
func (e *marked) Is(target error) bool                    { return errors.Is(e.mark, target) }
func (e *marked) SafeFormat(p redact.SafePrinter, r rune) { safeFormat(p, r, e, e.error) }
func (e *marked) Format(f fmt.State, r rune)              { format(f, r, e) }

// note is what an error carries beside its text.
type note struct{ kind, text string }

// safeDetail is the kind that GetAllSafeDetails looks for.
const safeDetail = "safe detail"

type annotated struct {
	error
	note
}

func annotate(err error, n note) error {
	if err == nil {
		return nil
	}
	return &annotated{err, n}
}

func (e *annotated) Unwrap() error                           { return e.error }
func (e *annotated) SafeFormat(p redact.SafePrinter, r rune) { safeFormat(p, r, e, e.error) }
func (e *annotated) Format(f fmt.State, r rune)              { format(f, r, e) }

func (e *worded) Format(f fmt.State, r rune)              { format(f, r, e) }
func (e *worded) SafeFormat(p redact.SafePrinter, r rune) { safeFormat(p, r, e, e.text) }

// format prints err's text, and with %+v the notes of its chain behind it,
// the outermost first.
func format(f fmt.State, verb rune, err error) {
	if verb == 'q' {
		fmt.Fprintf(f, "%q", err.Error())
		return
	}
	_, _ = io.WriteString(f, err.Error())
	if verb == 'v' && f.Flag('+') {
		for n := range notes(err) {
			fmt.Fprintf(f, " (%s: %s)", n.kind, n.text)
		}
	}
}

// safeFormat is format for redact, which knows what in text is a secret.
func safeFormat(p redact.SafePrinter, verb rune, err error, text any) {
	p.Print(text)
	if verb == 'v' && p.Flag('+') {
		for n := range notes(err) {
			p.Printf(" (%s: %s)", redact.Safe(n.kind), n.text)
		}
	}
}

// notes yields the notes of err's chain, the outermost first.
func notes(err error) iter.Seq[note] {
	return func(yield func(note) bool) {
		for ; err != nil; err = errors.Unwrap(err) {
			if a, ok := err.(*annotated); ok && !yield(a.note) {
				return
			}
		}
	}
}

// SafeDetailPayload is the details of one error of a chain that may be shown
// to strangers.
type SafeDetailPayload struct{ SafeDetails []string }

// GetAllSafeDetails returns the details in err's tree, the outermost first.
func GetAllSafeDetails(err error) []SafeDetailPayload {
	var all []SafeDetailPayload
	for ; err != nil; err = errors.Unwrap(err) {
		if a, ok := err.(*annotated); ok && a.kind == safeDetail {
			all = append(all, SafeDetailPayload{[]string{a.text}})
		}
	}
	return all
}
