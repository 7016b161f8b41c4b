package applets

import (
	"slices"
	"testing"
	"time"

	"postoffice/internal/config"
	"postoffice/internal/sysexits"
)

// TestQueueTime is the time of -q (S89, R68): a bare number is minutes.
func TestQueueTime(t *testing.T) {
	for _, tt := range []struct {
		text string
		want time.Duration // 0: refused
	}{
		{"15m", 15 * time.Minute}, {"45", 45 * time.Minute}, {"1h30m", 90 * time.Minute}, {"2d", 48 * time.Hour},
		{"1w", 7 * 24 * time.Hour}, {"30s", time.Minute}, {"90s", 2 * time.Minute},
		{"0", 0}, {"m", 0}, {"15x", 0}, {"-5m", 0}, {"99999999999999999999m", 0}, {"1000w", 0},
	} {
		got, err := queueTime(tt.text)
		if got != tt.want || (tt.want == 0) != (exitStatus(err) == sysexits.Usage) {
			t.Errorf("-q%s: %v, %v, want %v", tt.text, got, err, tt.want)
		}
	}
}

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
