package client

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"postoffice/applets/cmdline"
	"postoffice/internal/testenv"
)

// TestMain lets the test binary be the role that waits for its configuration.
func TestMain(m *testing.M) {
	os.Exit(testenv.Main(m.Run, func(argv0 string) func() int {
		if argv0 != OwnerRole {
			return nil
		}
		return func() int {
			io.Copy(io.Discard, os.Stdin)
			return 0
		}
	}))
}

// "mailq | head" ends in silence, also where a child lists the queue.
func TestChildEnd(t *testing.T) {
	for _, tt := range []struct {
		script string
		code   int
		silent bool
	}{{"exit 0", 0, true}, {"exit 69", 69, true}, {"kill -PIPE $$", 141, true}, {"kill -KILL $$", 75, false}} {
		var said strings.Builder
		env := &cmdline.Env{Program: "mailq", Stderr: &said}
		if code := env.Finish(childEnd(exec.Command("/bin/sh", "-c", tt.script).Run())); code != tt.code || (said.Len() == 0) != tt.silent {
			t.Errorf("%s: exit %d, said %q", tt.script, code, said.String())
		}
	}
}
