package cmdline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"postoffice/applets/config"
	"postoffice/applets/sysexits"
)

// ErrAnswered ends a program in silence: a flag was a question and its answer
// is printed, or what failed has been told. Inside an ExitError it keeps that
// exit code.
var ErrAnswered = errors.New("answered")

// ExitError is an error that knows its exit code and what to do about it.
type ExitError struct {
	Code int    // sysexits(3)
	Err  error  // what happened
	Hint string // lines that say what to do; "": there is nothing
}

// Error implements error: it is what happened, without the hint.
func (e *ExitError) Error() string { return e.Err.Error() }

// Unwrap returns what happened, for errors.Is and errors.As.
func (e *ExitError) Unwrap() error { return e.Err }

// ExitWith gives err an exit code of its own, where the kind of error doesn't
// decide it. Each hint is a line that says what to do.
func ExitWith(code int, err error, hints ...string) error {
	return &ExitError{code, err, strings.Join(hints, "\n")}
}

// Usagef returns the error for a wrong command line. Its text is formatted as
// fmt.Errorf formats it, its exit code is 64, and usage is shown behind it.
func Usagef(format string, args ...any) error {
	return &ExitError{Code: sysexits.Usage, Err: fmt.Errorf(format, args...)}
}

// statuses is the one table from errors to exit codes. The first that fits
// counts; what fits none is 75 if it may pass by itself.
// It is a function because errors of other packages are no constants, and so a
// variable would be filled at every start.
func statuses() []status {
	return []status{
		{ErrAnswered, sysexits.OK},
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

// ExitStatus returns the exit code for what an applet returned: that of the
// machine's errors which may pass (75), else an ExitError's own, else what the
// table statuses says.
func ExitStatus(err error) int {
	switch {
	case err == nil:
		return sysexits.OK
	case mayPass(err):
		return sysexits.TempFail
	}
	if e := (*ExitError)(nil); errors.As(err, &e) {
		return e.Code
	}
	for _, s := range statuses() {
		if errors.Is(err, s.is) {
			return s.code
		}
	}
	return sysexits.TempFail
}

// Finish reports err on Stderr, with the usage behind a wrong command line, and
// returns its exit code.
func (e *Env) Finish(err error) int {
	code := ExitStatus(err)
	if err == nil || errors.Is(err, ErrAnswered) {
		return code
	}
	if unread(err) {
		return 128 + int(syscall.SIGPIPE) // as without steadfast
	}
	e.Report(err)
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

// Report writes each error on a line of its own and behind it what to do.
func (e *Env) Report(err error) {
	all := config.Errors(nil)
	if !errors.As(err, &all) {
		Say(e.Stderr, e.Program, err.Error())
		if x := (*ExitError)(nil); errors.As(err, &x) && x.Hint != "" {
			for line := range strings.SplitSeq(x.Hint, "\n") {
				Say(e.Stderr, e.Program, "hint: "+line)
			}
		}
		return
	}
	last := ""
	for i, one := range all {
		Say(e.Stderr, e.Program, one.Error())
		if i+1 < len(all) && all[i+1].Hint == one.Hint {
			continue // once behind the last that it helps
		}
		if one.Hint != last && one.Hint != "" {
			Say(e.Stderr, e.Program, "hint: "+one.Hint)
			last = one.Hint
		}
	}
}

// say writes one line; control characters in it can't make more.
func Say(w io.Writer, program, text string) {
	fmt.Fprintf(w, "%s: %s\n", program, Printed(text))
}
