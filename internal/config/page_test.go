package config

import (
	"os"
	"strings"
	"testing"
)

// TestManualPage: the option list of postoffice.cf(5) is the table's.
func TestManualPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/man/postoffice.cf.5")
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = ".\\\" options: begin\n", ".\\\" options: end\n"
	_, text, ok := strings.Cut(string(page), begin)
	text, _, ok2 := strings.Cut(text, end)
	if !ok || !ok2 || text != Mdoc() {
		t.Error("the option list is not that of the code: run `make man`")
	}
}
