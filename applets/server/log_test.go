package server

import (
	"errors"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"postoffice/applets/config"
	"postoffice/applets/service"
)

// TestForegroundLog: smtpd -d and -bD log to standard error, and besides to
// where the configuration asks.
func TestForegroundLog(t *testing.T) {
	ours := int(os.Stderr.Fd())
	kept, err := unix.Dup(ours)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(service.Duplicate(kept, ours), unix.Close(kept)); err != nil {
			t.Error(err)
		}
	}()
	for _, tt := range []struct {
		sets []string
		want []string
	}{
		{nil, []string{"stderr"}},
		{[]string{"log=stderr"}, []string{"stderr"}},
		{[]string{"log=file:/x"}, []string{"stderr", "file:/x"}},
		{[]string{"log=syslog,stderr"}, []string{"syslog", "stderr"}},
		{[]string{"log=stdout,syslog"}, []string{"stderr", "syslog"}},
		{[]string{"log=stderr,syslog,stdout"}, []string{"syslog", "stderr"}},
	} {
		conf, err := config.Load(config.Options{File: "/dev/null", Sets: tt.sets})
		if err != nil {
			t.Fatal(err)
		}
		if err := logHere(conf); err != nil || !slices.Equal(conf.Log, tt.want) {
			t.Errorf("%q: log goes to %q, %v, want %q", tt.sets, conf.Log, err, tt.want)
		}
	}
}
