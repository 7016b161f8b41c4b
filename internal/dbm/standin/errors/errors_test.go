package errors

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/redact"
)

// TestText: what people read, and with %+v the notes behind it.
func TestText(t *testing.T) {
	base := New("base")
	for _, tt := range []struct {
		err         error
		short, long string
	}{
		{Newf("block %d of %s", redact.Safe(3), "x"), "block 3 of x", "block 3 of x"},
		{Errorf("open: %w", base), "open: base", "open: base"},
		{Wrap(base, "read"), "read: base", "read: base"},
		{Wrap(base, ""), "base", "base"},
		{Wrapf(base, "read %q", "f"), `read "f": base`, `read "f": base`},
		{WithStack(base), "base", "base"},
		{WithDetailf(base, "in %s", "f"), "base", "base (detail: in f)"},
		{WithHintf(WithDetailf(base, "d"), "mend it"), "base", "base (hint: mend it) (detail: d)"},
		{Wrap(WithDetailf(base, "d"), "x"), "x: base", "x: base (detail: d)"},
		{Mark(WithDetailf(base, "d"), io.EOF), "base", "base (detail: d)"},
		{CombineErrors(base, io.EOF), "base", "base (then: EOF)"},
		{CombineErrors(nil, io.EOF), "EOF", "EOF"},
		{AssertionFailedf("n is %d", 0), "n is 0", "n is 0"},
		{Join(base, io.EOF), "base\nEOF", "base\nEOF"},
	} {
		if got := tt.err.Error(); got != tt.short {
			t.Errorf("%q, want %q", got, tt.short)
		}
		if got := fmt.Sprintf("%+v", tt.err); tt.long != tt.short && got != tt.long {
			t.Errorf("%%+v: %q, want %q", got, tt.long)
		}
		if got := redact.Sprintf("%+v", tt.err).StripMarkers(); got != tt.long {
			t.Errorf("redact %%+v: %q, want %q", got, tt.long)
		}
		if got, want := fmt.Sprintf("%q %v %s", tt.err, tt.err, tt.err), fmt.Sprintf("%q %s %s", tt.short, tt.short, tt.short); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestNil: wrapping nothing is nothing.
func TestNil(t *testing.T) {
	for i, err := range []error{
		Wrap(nil, "x"), Wrapf(nil, "x"), WithStack(nil), WithDetailf(nil, "x"), WithHintf(nil, "x"),
		WithSafeDetails(nil, "x"), WithSecondaryError(nil, io.EOF), CombineErrors(nil, nil), Mark(nil, io.EOF), Join(nil),
	} {
		if err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// TestIs: what is found through every kind of wrapping, and what isn't.
func TestIs(t *testing.T) {
	base := &fs.PathError{Op: "open", Path: "f", Err: syscall.ENOSPC}
	all := Mark(WithHintf(Wrap(Errorf("%w", base), "x"), "h"), io.EOF)
	if !Is(all, syscall.ENOSPC) || !Is(all, io.EOF) || !IsAny(all, io.ErrNoProgress, io.EOF) {
		t.Errorf("%v is not what it wraps and is marked with", all)
	}
	if p := (*fs.PathError)(nil); !As(all, &p) || p != base {
		t.Errorf("As: %v", p)
	}
	if got := UnwrapAll(all); got != syscall.ENOSPC {
		t.Errorf("UnwrapAll: %v", got)
	}
	if Is(CombineErrors(New("a"), io.EOF), io.EOF) || Is(New("a"), New("b")) || Is(New("a"), Wrap(New("a"), "")) == false || Is(New("a"), Mark(New("a"), io.EOF)) || Is(nil, io.EOF) || Is(all, fs.ErrExist) || IsAny(all) {
		t.Error("found what isn't there")
	}
	if a := Wrap(AssertionFailedf("x"), "y"); !IsAssertionFailure(a) || IsAssertionFailure(all) {
		t.Error("IsAssertionFailure")
	}
	for _, err := range []error{New("a"), Wrap(New("a"), "x"), Mark(io.EOF, New("a")), Join(io.EOF, New("a"))} {
		if !Is(err, New("a")) {
			t.Errorf("%v is not an error with that text", err)
		}
	}
	if Unwrap(all) == nil || errors.Unwrap(New("x")) != nil {
		t.Error("Unwrap")
	}
}

// TestRedacted: the secrets in a text are known as such through all wrapping.
func TestRedacted(t *testing.T) {
	err := Wrapf(Mark(WithHintf(AssertionFailedf("block %d of %s", Safe(3), "secret"), "h"), io.EOF), "file %s", "name")
	if got := redact.Sprint(err).Redact(); got != "file ‹×›: block 3 of ‹×›" {
		t.Errorf("%q", got)
	}
	if got := redact.Sprint(Errorf("x: %w", New("plain"))).Redact(); got != "x: plain" {
		t.Errorf("%q", got)
	}
}

// TestSafeDetails: only what is marked as safe is shown.
func TestSafeDetails(t *testing.T) {
	err := Wrap(WithSafeDetails(New("x"), "octet %d of %s", Safe(7), "secret"), "y")
	got := GetAllSafeDetails(err)
	if len(got) != 1 || !strings.Contains(got[0].SafeDetails[0], "octet 7 of") || strings.Contains(got[0].SafeDetails[0], "secret") {
		t.Errorf("%q", got)
	}
}
