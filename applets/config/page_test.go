package config

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// TestManualPage: the option list of postoffice.cf(5) is the table's, and so is the
// list of what smtpd(8) says is read at the start alone.
func TestManualPage(t *testing.T) {
	for _, tt := range []struct{ name, mark, want string }{
		{"postoffice.cf.5", "options", Mdoc()},
		{"smtpd.8", "once", MdocOnce()},
	} {
		page, err := os.ReadFile("../../docs/man/" + tt.name)
		if err != nil {
			t.Fatal(err)
		}
		_, text, ok := strings.Cut(string(page), ".\\\" "+tt.mark+": begin\n")
		text, _, ok2 := strings.Cut(text, ".\\\" "+tt.mark+": end\n")
		if !ok || !ok2 || text != tt.want {
			t.Errorf("the list in %s is not that of the code: run `make man`", tt.name)
		}
	}
}

// TestIdle: what nothing uses is accepted, and shown nowhere.
func TestIdle(t *testing.T) {
	c, err := Load(Options{File: "/dev/null", Sets: []string{"greylist-from=yes"}, UID: 0})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range c.Shown() {
		if s.Name == "greylist-from" {
			t.Errorf("shown: %+v", s)
		}
	}
	if all := c.Settings(); all[Index("greylist-from")].Value != "yes" {
		t.Errorf("set to %+v", all[Index("greylist-from")])
	}
	if strings.Contains(Mdoc(), "greylist-from") || slices.ContainsFunc(c.Shown(), func(s Setting) bool { return options[Index(s.Name)].idle }) {
		t.Error("it is in the manual, or more than it is left out")
	}
}
