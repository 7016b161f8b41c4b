package applets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"postoffice/internal/config"
	"postoffice/internal/sysexits"
)

// errAnswered says that a flag was a question and its answer is printed.
var errAnswered = errors.New("answered")

// exitError is an error that knows its exit code and what to do about it.
type exitError struct {
	code int
	err  error
	hint string
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// exitWith gives err an exit code of its own, where the kind of error doesn't
// decide it. Each hint is a line that says what to do.
func exitWith(code int, err error, hints ...string) error {
	return &exitError{code, err, strings.Join(hints, "\n")}
}

// usageErrorf is a wrong command line.
func usageErrorf(format string, args ...any) error {
	return &exitError{code: sysexits.Usage, err: fmt.Errorf(format, args...)}
}

// statuses is the one table from errors to exit codes. The first that fits
// counts; what fits none is 75 if it may pass by itself.
// It is a function because errors of other packages are no constants, and so a
// variable would be filled at every start.
func statuses() []status {
	return []status{
		{errAnswered, sysexits.OK},
		{config.ErrInsecure, sysexits.OSFile},
		{config.ErrUnreadable, sysexits.NoInput},
		{config.ErrNotAllowed, sysexits.NoPerm},
		{config.ErrBad, sysexits.Config},
		{fs.ErrPermission, sysexits.NoPerm},
		{syscall.EADDRINUSE, sysexits.OSErr},
		{context.Canceled, sysexits.TempFail},
		{context.DeadlineExceeded, sysexits.TempFail},
	}
}

// status is a line of the table.
type status struct {
	is   error
	code int
}

// mayPass says whether err has an error of the machine in it that may be gone at
// the next try: what waited for a file then is later, whatever it means
// otherwise that the file can't be used (A36).
func mayPass(err error) bool {
	for _, errno := range []syscall.Errno{
		syscall.EIO, syscall.ENOSPC, syscall.EDQUOT, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS,
		syscall.EINTR, syscall.EAGAIN, syscall.ENOLCK, syscall.ESTALE, syscall.ETIMEDOUT, syscall.ECONNRESET,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// exitStatus is the exit code for what an applet returned.
func exitStatus(err error) int {
	switch {
	case err == nil:
		return sysexits.OK
	case mayPass(err):
		return sysexits.TempFail
	}
	if e := (*exitError)(nil); errors.As(err, &e) {
		return e.code
	}
	for _, s := range statuses() {
		if errors.Is(err, s.is) {
			return s.code
		}
	}
	return sysexits.TempFail
}

// end reports err on stderr and returns its exit code.
func (e *Env) end(err error) int {
	code := exitStatus(err)
	if err == nil || errors.Is(err, errAnswered) {
		return code
	}
	if unread(err) {
		return 128 + int(syscall.SIGPIPE) // as without steadfast
	}
	e.report(err)
	if code == sysexits.Usage && e.applet.Name != "" {
		fmt.Fprintf(e.Stderr, "usage: %s %s\n", e.Program, synopsis(e.applet))
		fmt.Fprintf(e.Stderr, "%s: hint: %s --help lists the flags\n", e.Program, e.Program)
	}
	return code
}

// unread says that nobody reads what is printed any more, as in
// "sendmail -bp | head".
func unread(err error) bool {
	file := (*os.PathError)(nil)
	return errors.Is(err, syscall.EPIPE) && errors.As(err, &file) && file.Path == os.Stdout.Name()
}

// report writes each error on a line of its own and behind it what to do.
func (e *Env) report(err error) {
	all := config.Errors(nil)
	if !errors.As(err, &all) {
		say(e.Stderr, e.Program, err.Error())
		if x := (*exitError)(nil); errors.As(err, &x) && x.hint != "" {
			for line := range strings.SplitSeq(x.hint, "\n") {
				say(e.Stderr, e.Program, "hint: "+line)
			}
		}
		return
	}
	last := ""
	for i, one := range all {
		say(e.Stderr, e.Program, one.Error())
		if i+1 < len(all) && all[i+1].Hint == one.Hint {
			continue // once behind the last that it helps
		}
		if one.Hint != last && one.Hint != "" {
			say(e.Stderr, e.Program, "hint: "+one.Hint)
			last = one.Hint
		}
	}
}

// say writes one line; control characters in it can't make more.
func say(w io.Writer, program, text string) {
	fmt.Fprintf(w, "%s: %s\n", program, printed(text))
}

// printed is text without control characters.
func printed(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, text)
}
