package applets

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"postoffice/applets/cmdline"
	"postoffice/applets/privsep"
)

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
		env := &cmdline.Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs}
		code := programs().Run(t.Context(), env, strings.Split(tt.argv, "|"))
		if code != tt.code || !strings.HasPrefix(out.String(), tt.want) || tt.want == "" && out.Len() > 0 {
			t.Errorf("%q: exit code %d, %q, want %d, %q", tt.argv, code, out.String(), tt.code, tt.want)
		}
		if tt.code == 64 && !strings.Contains(errs.String(), "applets:\n") {
			t.Errorf("%q: no list of applets: %q", tt.argv, errs.String())
		}
	}
}

// "sendmail -d0 | head -1" ends well and in silence: the reader has what it
// wants (R63).
func TestR63ReaderGone(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	var said strings.Builder
	if code := programs().Run(t.Context(), &cmdline.Env{Stdin: strings.NewReader(""), Stdout: w, Stderr: &said}, []string{"sendmail", "-d0.1", "-bt"}); code != 0 || said.Len() > 0 {
		t.Errorf("exit %d, said %q", code, said.String())
	}
}

// TestRoles: a role is known by the whole of argv[0], a user's process by how it
// begins.
func TestRoles(t *testing.T) {
	for argv0, want := range map[string]string{
		privsep.ServerRole: privsep.ServerRole, privsep.UserRole + "alice": privsep.UserRole, privsep.ServerRole + " x": "", "postoffice: user": "", "postoffice": "",
	} {
		if got, _ := programs().Role(argv0); got.Argv0 != want {
			t.Errorf("%q is %q, want %q", argv0, got.Argv0, want)
		}
	}
}

// TestHelp: flags are written as a manual page writes them, each value with a
// name, and in 80 columns.
func TestHelp(t *testing.T) {
	for _, a := range programs().Applets {
		var out strings.Builder
		env := &cmdline.Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: io.Discard}
		if code := programs().Run(t.Context(), env, []string{a.Name, "--help"}); code != 0 {
			t.Errorf("%s --help: exit code %d", a.Name, code)
		}
		_, flags, _ := strings.Cut(out.String(), "\nflags:\n")
		for line := range strings.Lines(flags) {
			for _, word := range []string{"=true", "=now", " string", "stringArray", "(default", "`"} {
				if strings.Contains(line, word) {
					t.Errorf("%s --help: %q in %q", a.Name, word, line)
				}
			}
			if len(line) > 80 {
				t.Errorf("%s --help: %d columns: %q", a.Name, len(line)-1, line)
			}
		}
		env.Flags.VisitAll(func(f *pflag.Flag) {
			if f.Value.Type() != "bool" && !f.Hidden && f.Usage[0] != '`' {
				t.Errorf("%s --help: the value of --%s has no name", a.Name, f.Name)
			}
		})
	}
}
