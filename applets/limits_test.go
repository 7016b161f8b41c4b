package applets

import (
	"bytes"
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postoffice/applets/cmdline"
	"postoffice/applets/control"
)

// TestLimits: who is limited is shown in columns and as JSON, and who may not see it is
// told so.
func TestLimits(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "control"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	until := time.Now().Add(time.Hour)
	all := []control.Limit{
		{Network: "192.0.2.7", What: "messages", Option: "rate-messages", Most: 10, Seconds: 60, Refused: 3, Until: until},
		{Network: "2001:db8:1::/48", What: "connections", Option: "rate-connections", Most: 160, Seconds: 60, Refused: 1},
	}
	asked := 0
	go func() {
		served <- control.Serve(ctx, l, control.Handler{
			Limits: func(control.Peer) ([]control.Limit, error) {
				if asked++; asked > 2 {
					return nil, &control.Error{Code: 77, Text: "not you"}
				}
				return all, nil
			},
		})
	}()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	for _, tt := range []struct {
		args      string
		code      int
		out, errs string
	}{
		{"", 0, "Network               Refused     Wait  Why\n192.0.2.7                   3 ", ""},
		{"--json", 0, `{"network":"192.0.2.7","what":"messages","option":"rate-messages","most":10,"seconds":60,"refused":3,"until":`, ""},
		{"", 77, "", "limits: not you\n"},
		{"x", 64, "", "limits: limits takes no arguments"},
	} {
		var stdout, stderr bytes.Buffer
		env := &cmdline.Env{Program: "limits", Stdout: &stdout, Stderr: &stderr}
		env.Prepare(limitsApplet, append([]string{"-C", "/dev/null", "-o", "run-dir=" + dir}, strings.Fields(tt.args)...))
		code := env.Finish(limitsApplet.Run(t.Context(), env))
		if code != tt.code || !strings.HasPrefix(stdout.String(), tt.out) || !strings.HasPrefix(stderr.String(), tt.errs) || tt.errs == "" && stderr.Len() > 0 {
			t.Errorf("limits %s: exit %d, printed\n%s\nand %q, want exit %d,\n%s\nand %q", tt.args, code, &stdout, &stderr, tt.code, tt.out, tt.errs)
		}
		if tt.args == "" && code == 0 && !strings.HasSuffix(stdout.String(), "2001:db8:1::/48             1       0s  more than 160 connections in 1m0s (option rate-connections)\n") {
			t.Errorf("printed\n%s", &stdout)
		}
	}
}
