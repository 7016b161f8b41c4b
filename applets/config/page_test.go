package config

import (
	"os"
	"strings"
	"testing"
)

// TestManualPage: the option list of postoffice.cf(5) is the table's (S106), and so
// is the list of what smtpd(8) says is read at the start alone.
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

// TestIdle: every option is used.
func TestIdle(t *testing.T) {
	for _, o := range options {
		if o.idle {
			t.Errorf("nothing uses %s", o.name)
		}
	}
}
