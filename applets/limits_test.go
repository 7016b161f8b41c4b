package applets

import (
	"strings"
	"testing"
	"time"

	"postoffice/applets/control"
	"postoffice/internal/testenv"
)

// TestLimitsApplet: who is limited is shown in columns and as JSON, and who may not see it is
// told so.
func TestLimitsApplet(t *testing.T) {
	testenv.NeedsRoot(t, "sets options that are root's")
	until := time.Now().Add(time.Hour)
	all := []control.Limit{
		{Network: "192.0.2.7", What: "messages", Option: "rate-messages", Most: 10, Seconds: 60, Refused: 3, Until: until},
		{Network: "2001:db8:1::/48", What: "connections", Option: "rate-connections", Most: 160, Seconds: 60, Refused: 1},
	}
	asked := 0
	ask := controlled(t, limitsApplet, control.Handler{
		Limits: func(control.Peer) ([]control.Limit, error) {
			if asked++; asked > 2 {
				return nil, &control.Error{Code: 77, Text: "not you"}
			}
			return all, nil
		},
	})
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
		code, out, errs := ask(tt.args)
		if code != tt.code || !strings.HasPrefix(out, tt.out) || !strings.HasPrefix(errs, tt.errs) || tt.errs == "" && errs != "" {
			t.Errorf("limits %s: exit %d, printed\n%s\nand %q, want exit %d,\n%s\nand %q", tt.args, code, out, errs, tt.code, tt.out, tt.errs)
		}
		if tt.args == "" && code == 0 && !strings.HasSuffix(out, "2001:db8:1::/48             1       0s  more than 160 connections in 1m0s (option rate-connections)\n") {
			t.Errorf("printed\n%s", out)
		}
	}
}
