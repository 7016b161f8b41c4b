package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestErrorOption: an error names the option that it is about, or none.
func TestErrorOption(t *testing.T) {
	for line, want := range map[string]string{
		"qreturn=3x":       "qreturn",
		"qretrun=3d":       "qreturn",
		"queue-dri=/q":     "queue-dir",
		"queue-dir=q":      "queue-dir",
		"queue-dir":        "queue-dir",
		"completely=other": "",
		"size=\x01":        "",
	} {
		name := filepath.Join(t.TempDir(), "cf")
		if err := os.WriteFile(name, []byte(line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(Options{File: name, UID: os.Getuid()})
		all := Errors(nil)
		if !errors.As(err, &all) || len(all) != 1 || all[0].Option != want {
			t.Errorf("%q: %v, want one error about option %q", line, err, want)
		}
	}
}

// TestHintIsNoProgram: no hint about a line sends to one of our programs, each of
// which ends with the same error.
func TestHintIsNoProgram(t *testing.T) {
	for _, line := range []string{"qreturn=3x", "hostname", "completely=other"} {
		name := filepath.Join(t.TempDir(), "cf")
		if err := os.WriteFile(name, []byte(line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(Options{File: name, UID: os.Getuid()})
		all := Errors(nil)
		if !errors.As(err, &all) || !strings.HasPrefix(all[0].Hint, "postoffice.cf(5) ") {
			t.Errorf("%q: %v, want a hint that names the manual page", line, err)
		}
	}
}
