//go:build e2e

package flow

import (
	"path/filepath"
	"strings"
	"testing"

	"postoffice/internal/e2e/lan"
)

// TestDemo: what README tells a newcomer to run first, as root does.
func TestDemo(t *testing.T) {
	script, err := filepath.Abs("../../../testdata/demo.sh")
	if err != nil {
		t.Fatal(err)
	}
	out, err := lan.New(t).Host("one.test").Try("bash", script, lan.Binary)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"Subject: by sendmail", "Subject: over SMTP", "Subject: from first", "delivery deferred"} {
		if !strings.Contains(out, want) {
			t.Errorf("the demo shows no %q:\n%s", want, out)
		}
	}
}
