package cmdline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"

	"postoffice/applets/config"
	"postoffice/applets/sysexits"
)

func TestExitStatus(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want int
	}{
		{nil, sysexits.OK},
		{ErrAnswered, sysexits.OK},
		{Usagef("no flag -Z"), sysexits.Usage},
		{ExitWith(sysexits.NoUser, errors.New("nobody")), sysexits.NoUser},
		{fmt.Errorf("send: %w", ExitWith(sysexits.Unavailable, fs.ErrPermission)), sysexits.Unavailable},
		{config.Errors{{Kind: config.ErrBad}}, sysexits.Config},
		{config.Errors{{Kind: config.ErrBad}, {Kind: config.ErrNotAllowed}}, sysexits.NoPerm},
		{config.Errors{{Kind: config.ErrInsecure}}, sysexits.OSFile},
		{config.Errors{{Kind: config.ErrUnreadable}}, sysexits.NoInput},
		{config.Errors{{Kind: errors.Join(config.ErrUnreadable, syscall.EIO)}}, sysexits.TempFail},
		{ExitWith(sysexits.CantCreate, fmt.Errorf("make the log: %w", syscall.EMFILE)), sysexits.TempFail},
		{&os.PathError{Op: "open", Path: "/x", Err: syscall.EACCES}, sysexits.NoPerm},
		{&os.PathError{Op: "write", Path: "/x", Err: syscall.ENOSPC}, sysexits.TempFail},
		{os.NewSyscallError("bind", syscall.EADDRINUSE), sysexits.OSErr},
		{context.DeadlineExceeded, sysexits.TempFail},
		{errors.New("no idea"), sysexits.TempFail},
	} {
		if got := ExitStatus(tt.err); got != tt.want {
			t.Errorf("exitStatus(%v) = %d, want %d", tt.err, got, tt.want)
		}
	}
}

// TestReport: each error on a line, the same hint once behind the last that it
// helps, and no line that an error's text makes up.
func TestReport(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"one", errors.New("open the queue: no room"), "mailq: open the queue: no room\n"},
		{"with what to do", ExitWith(75, errors.New("no server"), "start it with smtpd", "or run runq"),
			"mailq: no server\nmailq: hint: start it with smtpd\nmailq: hint: or run runq\n"},
		{"foreign octets", errors.New("x\nmailq: forged\x1b[2J"), "mailq: x?mailq: forged?[2J\n"},
		{"several", config.Errors{
			{Kind: config.ErrBad, Where: "cf:1", Text: "a", Hint: "do A"},
			{Kind: config.ErrBad, Where: "cf:2", Text: "b", Hint: "do A"},
			{Kind: config.ErrBad, Where: "cf:3", Text: "c"},
			{Kind: config.ErrBad, Where: "cf:4", Text: "d", Hint: "do D"},
		}, "mailq: cf:1: a\nmailq: cf:2: b\nmailq: hint: do A\nmailq: cf:3: c\nmailq: cf:4: d\nmailq: hint: do D\n"},
	} {
		var out bytes.Buffer
		e := &Env{Program: "mailq", Stderr: &out}
		e.Report(tt.err)
		if out.String() != tt.want {
			t.Errorf("%s:\ngot  %q\nwant %q", tt.name, out.String(), tt.want)
		}
	}
}

// "sendmail -bp | head" ends in silence, as programs do whose reader is gone;
// a socket that breaks is told.
func TestNobodyReads(t *testing.T) {
	for _, tt := range []struct {
		path string
		code int
	}{{"/dev/stdout", 141}, {"socket", sysexits.TempFail}} {
		var said strings.Builder
		e := &Env{Program: "sendmail", Stderr: &said}
		code := e.Finish(fmt.Errorf("write the list: %w", &os.PathError{Op: "write", Path: tt.path, Err: syscall.EPIPE}))
		if code != tt.code || (said.Len() == 0) != (code == 141) {
			t.Errorf("%s: exit %d, said %q", tt.path, code, said.String())
		}
	}
}
