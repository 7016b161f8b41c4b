package authexpire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postoffice/applets/cmdline"
	"postoffice/applets/control"
	"postoffice/applets/smtpd/greylist"
	"postoffice/applets/state"
	"postoffice/internal/testenv"
)

// served is a server that answers with a handler, and what a program says to it.
func served(t *testing.T, h control.Handler) (ask func(a cmdline.Applet, args ...string) (code int, stdout, stderr string)) {
	t.Helper()
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "control"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- control.Serve(ctx, l, h) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return func(a cmdline.Applet, args ...string) (int, string, string) {
		var stdout, stderr strings.Builder
		env := &cmdline.Env{Program: a.Name, Stdout: &stdout, Stderr: &stderr}
		env.Prepare(a, append([]string{"-C", "/dev/null", "-o", "run-dir=" + dir, "-o", "db-dir=" + dir + "/db", "-o", "queue-dir=" + dir + "/q", "-o", "greylist=on"}, args...))
		code := env.Finish(a.Run(t.Context(), env))
		return code, stdout.String(), stderr.String()
	}
}

// TestCommands: each work of authexpire over the control socket, and its exit code.
func TestCommands(t *testing.T) {
	testenv.NeedsRoot(t, "asks as root may")
	parts := map[string]*greylist.Memory{state.Greylist: new(greylist.Memory), state.GreylistHours: new(greylist.Memory), state.GreylistWritten: new(greylist.Memory)}
	ask := served(t, control.Handler{Store: func(_ control.Peer, part string) (control.Store, error) { return parts[part], nil }})
	now := time.Now()
	for _, line := range []string{
		fmt.Sprintf("joe@[192.0.2.1]\t%d %d first=%[2]d tries=1", now.Add(time.Hour).Unix(), now.Unix()),
		"old@[192.0.2.1]\t1 2",
	} {
		key, value, _ := strings.Cut(line, "\t")
		if err := parts[state.Greylist].Update(t.Context(), key, func(string, bool) (string, bool) { return value, true }); err != nil {
			t.Fatal(err)
		}
	}
	var tally greylist.Tally
	tally.Delayed, tally.Never = 3, 1
	tally.AddWait(time.Hour)
	if err := parts[state.GreylistHours].Update(t.Context(), greylist.TallyKey(now), func(string, bool) (string, bool) { return tally.String(), true }); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		a    cmdline.Applet
		args string
		code int
		out  string // how it begins
	}{
		{AuthExpire, "-l", 0, "joe@[192.0.2.1]\t"},
		{AuthExpire, "-lw --json", 0, `{"key":"joe@[192.0.2.1]","state":"waiting","allowed":"`},
		{AuthExpire, "-e 192.0.2.1", 0, "joe@[192.0.2.1]: waits until "},
		{AuthExpire, "-e joe@[192.0.2.1] --json", 0, `{"asked":"joe@[192.0.2.1]","key":"joe@[192.0.2.1]","verdict":"wait","until":"`},
		{AuthExpire, "-e 192.0.2.2", 69, "192.0.2.2: nothing is known"},
		{AuthExpire, "-nv 2W", 0, "delete [old@[192.0.2.1]]\n2 records; expired 1.\n"},
		{AuthExpire, "", 0, ""},
		{AuthExpire, "-v", 0, "1 record; expired 0.\n"},
		{AuthExpire, "-a Joe@[192.0.2.1] -b eve@far.example --json", 0, `{"key":"joe@[192.0.2.1]","action":"allow"}` + "\n" + `{"key":"eve@far.example","action":"forbid"}`},
		{AuthExpire, "-e joe@[192.0.2.1]", 0, "joe@[192.0.2.1]: passes: it was allowed by hand."},
		{AuthExpire, "-e eve@far.example", 0, "eve@far.example: never passes: it was forbidden by hand."},
		{Greylist, "report", 0, "The greylist from "},
		{Greylist, "report --json", 0, `{"since":"`},
	} {
		code, out, errs := ask(tt.a, strings.Fields(tt.args)...)
		if code != tt.code || !strings.HasPrefix(out, tt.out) || tt.out == "" && out != "" || errs != "" {
			t.Errorf("%s %s: exit %d, printed\n%s\nand %q, want exit %d, %q", tt.a.Name, tt.args, code, out, errs, tt.code, tt.out)
		}
	}
	_, out, _ := ask(Greylist, "report")
	for _, want := range []string{"        3  first contacts had to wait\n", "        1  came again after their wait and passed: real senders, half of them within about 57m of the first try\n", "        1  never came again and were forgotten\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("the report\n%s\nlacks %q", out, want)
		}
	}
}

// TestServers: what a server says that can't answer, and what its user is told.
func TestServers(t *testing.T) {
	testenv.NeedsRoot(t, "asks as root may")
	refused := control.Handler{Store: func(control.Peer, string) (control.Store, error) {
		return nil, &control.Error{Code: 77, Text: "only root and the server-user"}
	}}
	broken := control.Handler{Store: func(control.Peer, string) (control.Store, error) {
		return failing{errors.New("disk on fire")}, nil
	}}
	older := control.Handler{Version: func() string { return "0.0.9" }}
	for _, tt := range []struct {
		name string
		h    control.Handler
		code int
		errs string
	}{
		{"not for this user", refused, 77, "authexpire: only root and the server-user\n"},
		{"a store that fails", broken, 75, "authexpire: disk on fire\n"},
		{"another version", older, 69, "it is version 0.0.9, this is " + cmdline.Version() + "\nauthexpire: hint: restart the server"},
	} {
		code, out, errs := served(t, tt.h)(AuthExpire, "-l")
		if code != tt.code || out != "" || !strings.Contains(errs, tt.errs) {
			t.Errorf("%s: exit %d, printed %q and %q, want exit %d and %q", tt.name, code, out, errs, tt.code, tt.errs)
		}
	}
}

// failing is a store that can't be read.
type failing struct{ err error }

func (f failing) Get(context.Context, string) (string, bool, error) { return "", false, f.err }
func (f failing) Update(context.Context, string, func(string, bool) (string, bool)) error {
	return f.err
}
func (f failing) Scan(context.Context, string, func(key, value string) bool) error { return f.err }
func (f failing) Delete(context.Context, []string, func(key, value string) bool) (int, error) {
	return 0, f.err
}
