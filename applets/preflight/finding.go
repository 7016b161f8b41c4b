package preflight

import (
	"errors"
	"strings"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/sysexits"
)

// Gravity is what follows from a finding.
type Gravity uint8

const (
	Odd   Gravity = iota // somebody may miss something
	Waits                // mail waits until it is mended
	Stops                // the server doesn't start
)

// A Finding is something that isn't as the configuration needs it.
type Finding struct {
	Gravity
	Option string
	Err    error // with its exit code and what to do
}

// Hint is what to do about it.
func (f Finding) Hint() string {
	if e := (*cmdline.ExitError)(nil); errors.As(f.Err, &e) {
		return strings.ReplaceAll(e.Hint, "\n", "; ")
	}
	return ""
}

// Found makes a finding about an option of an error that needs no exit code of its own.
func Found(g Gravity, p config.Path, err error, hints ...string) Finding {
	return Finding{g, p.Option, cmdline.ExitWith(sysexits.Config, &placed{p, err}, hints...)}
}

// found is Found for a look.
func found(g Gravity, p config.Path, err error, hints ...string) *Finding {
	f := Found(g, p, err, hints...)
	return &f
}

// placed is an error with the option that it is about, and where that stands.
type placed struct {
	config.Path
	err error
}

func (e *placed) Error() string {
	text := e.Option + ": " + e.err.Error()
	if e.Where != "default" {
		text = e.Where + ": " + text
	}
	return text
}

func (e *placed) Unwrap() error { return e.err }
