package preflight

import (
	"os"
	"strings"
	"testing"

	"postoffice/applets/config"
	"postoffice/internal/testenv"
)

// TestPreflightOfGreylist: each option of the greylist that is odd is told, with what to do; none is
// where nobody waits, and none with what is usual.
func TestPreflightOfGreylist(t *testing.T) {
	testenv.NeedsRoot(t, "sets options that are root's")
	for _, tt := range []struct{ sets, option, says string }{
		{"greylist=on", "", ""},
		{"greylist=on delay=10m greylist-age=35d greylist-network=yes greylist-pools=shipped,_spf.example greylist-written=yes greylist-after=3", "", ""},
		{"greylist=shadow greylist-exempt-clients=192.0.2.0/24 greylist-exempt-senders=@far.example,joe@far.example greylist-exempt-recipients=abuse@us.example", "", ""},
		{"greylist=on delay=20h", "delay", "five times 20h, and servers give up after four or five days"},
		{"greylist=shadow greylist-age=1d", "greylist-age", "once a day is forgotten"},
		{"greylist=on greylist-null-window=10m", "greylist-null-window", "later than 10m after the wait"},
		{"greylist=on greylist-null-window=6h", "", ""},
		{"greylist=on greylist-from=yes greylist-network=24/64", "greylist-network", "counts for the null sender alone"},
		{"greylist=on greylist-from=yes greylist-pools=_spf.example", "greylist-pools", "pools count for the null sender alone"},
		{"greylist=on greylist-from=yes", "", ""},
		{"greylist=on greylist-exempt-clients=192.0.2.1,0.0.0.0/0", "greylist-exempt-clients", "everybody passes"},
		{"greylist=on greylist-exempt-senders=boss@us.example", "greylist-exempt-senders", "anybody can claim boss@us.example"},
		{"greylist=on greylist-exempt-senders=@us.example", "greylist-exempt-senders", "anybody can claim @us.example"},
		{"greylist=on greylist-exempt-recipients=@us.example", "greylist-exempt-recipients", "nobody waits"},
		{"greylist=off delay=20h greylist-age=1d greylist-null-window=10m", "", ""},
	} {
		conf, err := config.Load(config.Options{File: os.DevNull, UID: os.Getuid(), Sets: append(strings.Fields(tt.sets), "local-domains=us.example")})
		if err != nil {
			t.Fatalf("%s: %v", tt.sets, err)
		}
		all := Greylist(conf)
		if tt.option == "" {
			if len(all) > 0 {
				t.Errorf("%s: found %v", tt.sets, all[0].Err)
			}
			continue
		}
		if len(all) != 1 || all[0].Option != tt.option || !strings.Contains(all[0].Err.Error(), tt.says) || all[0].Hint() == "" || all[0].Gravity != Odd {
			t.Errorf("%s: found %v, want %s and %q", tt.sets, all, tt.option, tt.says)
		}
	}
}
