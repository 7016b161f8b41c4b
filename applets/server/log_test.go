package server

import (
	"slices"
	"testing"

	"postoffice/applets/config"
)

// TestForegroundLog: smtpd -d and -bD log to standard error, and besides to
// where the configuration asks.
func TestForegroundLog(t *testing.T) {
	for _, tt := range []struct {
		sets []string
		want []string
	}{
		{nil, []string{"stderr"}},
		{[]string{"log=stderr"}, []string{"stderr"}},
		{[]string{"log=file:/x"}, []string{"stderr", "file:/x"}},
		{[]string{"log=syslog,stderr"}, []string{"syslog", "stderr"}},
	} {
		conf, err := config.Load(config.Options{File: "/dev/null", Sets: tt.sets})
		if err != nil {
			t.Fatal(err)
		}
		if logHere(conf); !slices.Equal(conf.Log, tt.want) {
			t.Errorf("%q: log goes to %q, want %q", tt.sets, conf.Log, tt.want)
		}
	}
}
