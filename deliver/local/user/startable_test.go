package user

import (
	"os"
	"strings"
	"testing"

	"postoffice/deliver/local"
)

// TestStartable: a program is looked at, and not started.
func TestStartable(t *testing.T) {
	if _, done := asUser(t, nil); done {
		return
	}
	p := newUser(t, nil)
	write(t, p.path("plain"), "no program\n")
	for text, want := range map[string]string{
		`"|/bin/sh -c exit"`:              "",
		`"|true; false"`:                  "", // the shell's affair
		`"|` + p.path("absent") + ` x"`:   "start " + p.path("absent") + " as alice: stat",
		`"|` + p.path("plain") + `"`:      "permission denied",
		`"|` + p.home + `"`:               "is no file",
		`"|touch ` + p.path("made") + `"`: "",
		p.path("box"):                     "", // a file is taken to be writable
	} {
		for _, g := range []local.Listing{{Item: p.alias(text)}, {Item: p.forwardText(text)}} {
			got, err := p.lines(g)
			if got != "" || (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s of %s: %q, %v, want %q", text, g.Item.Source, got, err, want)
			}
		}
	}
	if _, err := os.Stat(p.path("made")); err == nil {
		t.Error("a program was started")
	}

	p = newUser(t, func(o *Options) { o.Account.Shell, o.ProgramDir = "/sbin/nologin", "/nonexistent" })
	for _, tt := range []struct {
		item local.Item
		want string
	}{
		{p.alias(`"|/bin/true"`), "this program may not run: "},
		{p.forwardText(`"|/bin/true"`), "this user may run no programs: "},
	} {
		if _, err := p.lines(local.Listing{Item: tt.item}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.item.Source, err, tt.want)
		}
	}
}
