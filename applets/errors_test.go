package applets

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

	"postoffice/internal/config"
	"postoffice/internal/sysexits"
)

func TestExitStatus(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want int
	}{
		{nil, sysexits.OK},
		{errAnswered, sysexits.OK},
		{usageErrorf("no flag -Z"), sysexits.Usage},
		{exitWith(sysexits.NoUser, errors.New("nobody")), sysexits.NoUser},
		{fmt.Errorf("send: %w", exitWith(sysexits.Unavailable, fs.ErrPermission)), sysexits.Unavailable},
		{config.Errors{{Kind: config.ErrBad}}, sysexits.Config},
		{config.Errors{{Kind: config.ErrBad}, {Kind: config.ErrNotAllowed}}, sysexits.NoPerm},
		{config.Errors{{Kind: config.ErrInsecure}}, sysexits.OSFile},
		{config.Errors{{Kind: config.ErrUnreadable}}, sysexits.NoInput},
		{config.Errors{{Kind: errors.Join(config.ErrUnreadable, syscall.EIO)}}, sysexits.TempFail},
		{exitWith(sysexits.CantCreate, fmt.Errorf("make the log: %w", syscall.EMFILE)), sysexits.TempFail},
		{&os.PathError{Op: "open", Path: "/x", Err: syscall.EACCES}, sysexits.NoPerm},
		{&os.PathError{Op: "write", Path: "/x", Err: syscall.ENOSPC}, sysexits.TempFail},
		{os.NewSyscallError("bind", syscall.EADDRINUSE), sysexits.OSErr},
		{context.DeadlineExceeded, sysexits.TempFail},
		{errors.New("no idea"), sysexits.TempFail},
	} {
		if got := exitStatus(tt.err); got != tt.want {
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
		{"with what to do", exitWith(75, errors.New("no server"), "start it with smtpd", "or run runq"),
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
		e.report(tt.err)
		if out.String() != tt.want {
			t.Errorf("%s:\ngot  %q\nwant %q", tt.name, out.String(), tt.want)
		}
	}
}

// TestFind: dispatch by argv[0] without case and by argv[1] after postoffice;
// a role needs the whole of argv[0].
func TestFind(t *testing.T) {
	for _, tt := range []struct {
		argv string // parted by |
		code int
		want string // on stdout
	}{
		{"/usr/sbin/SendMail|-V", 0, "SendMail: postoffice "},
		{"/usr/sbin/send-mail|-V", 0, "send-mail: postoffice "},
		{"-postoffice|-V", 0, "postoffice "},
		{"postoffice|MAILQ|-V", 0, "postoffice "},
		{"postoffice", 64, ""},
		{"postoffice|Postoffice: server", 64, ""},
		{"/tmp/postoffice: server", 64, ""},
		{"", 64, ""},
	} {
		var out, errs bytes.Buffer
		env := &Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs}
		code := run(t.Context(), env, strings.Split(tt.argv, "|"))
		if code != tt.code || !strings.HasPrefix(out.String(), tt.want) || tt.want == "" && out.Len() > 0 {
			t.Errorf("%q: exit code %d, %q, want %d, %q", tt.argv, code, out.String(), tt.code, tt.want)
		}
		if tt.code == 64 && !strings.Contains(errs.String(), "applets:\n") {
			t.Errorf("%q: no list of applets: %q", tt.argv, errs.String())
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
		code := e.end(fmt.Errorf("write the list: %w", &os.PathError{Op: "write", Path: tt.path, Err: syscall.EPIPE}))
		if code != tt.code || (said.Len() == 0) != (code == 141) {
			t.Errorf("%s: exit %d, said %q", tt.path, code, said.String())
		}
	}
}
